"""On random machines the search finds what the long way finds, and more of anything never gives a worse plan."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.hardware.facts import Hardware
from planner.hardware.what_if import what_if
from planner.planning.constraints import Constraints, Prefer
from planner.planning.machine import site_of
from planner.planning.question import Question
from planner.planning.rank import ORDERS, Candidate, Value, key_of
from planner.planning.recommend import case_of
from planner.planning.role_questions import language_question
from planner.planning.search import search
from planner.servers import SERVERS
from planner.servers.origin import made_by
from planner.sizing.footprint import size_model
from planner.sizing.tensors import expand

from .brute_force import every_candidate, machine_of, machine_parts, smaller, upgrades

MACHINES = 200
BATCHES = 10
PREFERENCES: tuple[Prefer | None, ...] = (None, None, "quality", "speed", "context", "headroom")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def asked(catalog: Catalog, machine: Hardware, chance: Random, constraints: Constraints) -> Question:
    """A question about text models, with a few models of the catalog to choose from."""
    language = [work for work in catalog.workloads.values() if work.roles[0] in {"interactive", "batch"}]
    case = case_of(machine, catalog, chance.choice(language), constraints)
    question = language_question(case.workload.roles[0], case, site_of(machine, constraints))
    return question._replace(catalog=smaller(catalog, chance, 3))


def best_key(question: Question, names: int = 1) -> tuple[Value, ...] | None:
    """The key of the search's best, without the name of its placement."""
    found = search(question).candidates
    return key_of(found[0], question.ranking)[:-names] if found else None


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_search_equals_brute_force(catalog: Catalog, batch: int) -> None:
    for seed in range(batch, MACHINES, BATCHES):
        chance = Random(seed)
        machine = machine_of(catalog, chance)
        question = asked(catalog, machine, chance, Constraints(prefer=chance.choice(PREFERENCES)))
        every = [key_of(candidate, question.ranking)[:-1] for candidate in every_candidate(question)]
        assert best_key(question) == min(every, default=None), f"machine {seed}"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_plan_fits_with_headroom_by_exact_sizes(catalog: Catalog, batch: int) -> None:
    for seed in range(batch, MACHINES, BATCHES):
        chance = Random(seed)
        question = asked(catalog, machine_of(catalog, chance), chance, Constraints())
        for candidate in search(question).candidates[:3]:
            assert_fits(candidate, question)


def assert_fits(candidate: Candidate, question: Question) -> None:
    """Sized again from the model alone, and compared with what each pool may hold."""
    site, placement = question.site, candidate.placement
    room = SERVERS[candidate.server]
    slots = -(-question.demand.users // placement.instances)
    footprint = size_model(
        expand(candidate.model),
        candidate.quant,
        replace(question.demand.runtime, parallel=slots),
        room.allocation(candidate.model, candidate.quant, site.hardware, placement),
        server=candidate.server,
        made=made_by(room.source(candidate.model, candidate.quant), candidate.model, candidate.quant),
        placement=placement,
        pools=site.pools,
    )
    assert footprint.pools == candidate.footprint.pools
    room_bytes = {pool.id: pool.usable_bytes - site.kept_free[pool.id] for pool in site.pools}
    for use in footprint.pools:
        if use.pool in room_bytes:
            assert use.total_bytes <= room_bytes[use.pool], (candidate.label, use.pool)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_constraint_dropped_never_gives_a_worse_plan(catalog: Catalog, batch: int) -> None:
    for seed in range(batch, MACHINES, BATCHES):
        chance = Random(seed)
        machine = machine_of(catalog, chance)
        question = asked(catalog, machine, chance, Constraints())
        model = chance.choice(list(question.catalog.models.values()))
        for constraint in (
            Constraints(server=chance.choice(list(SERVERS))),
            Constraints(license="open"),
            Constraints(family=model.family),
            Constraints(min_quant="Q6_K"),
            Constraints(exclude=(model.id,)),
        ):
            bound, free = best_key(question._replace(constraints=constraint)), best_key(question)
            assert bound is None or (free is not None and free <= bound), f"machine {seed}: {constraint}"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_more_memory_or_bandwidth_never_gives_a_worse_plan(catalog: Catalog, batch: int) -> None:
    """Compared down to speed: a better plan may take a larger share of the memory."""
    for seed in range(batch, MACHINES, BATCHES):
        chance = Random(seed)
        parts = machine_parts(chance)
        question = asked(catalog, what_if(catalog, **parts), chance, Constraints())
        levels = [level.name for level in ORDERS[None]].index("headroom")
        plain = best_key(question)
        for more in upgrades(parts):
            site = site_of(what_if(catalog, **more), Constraints())
            upgraded = best_key(question._replace(site=site))
            assert plain is None or (upgraded is not None and upgraded[:levels] <= plain[:levels]), (seed, more)
