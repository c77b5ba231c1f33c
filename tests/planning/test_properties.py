"""What must hold for any machine: more memory is never worse, fewer constraints are never worse, nothing overflows."""

from __future__ import annotations

from itertools import pairwise

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import NoFeasiblePlan
from planner.hardware.facts import Hardware
from planner.hardware.what_if import what_if
from planner.planning.constraints import Constraints, constraints_from
from planner.planning.machine import site_of
from planner.planning.question import list_triples
from planner.planning.rank import ORDERS, key_of
from planner.planning.recommend import case_of
from planner.planning.role_questions import Chosen
from planner.planning.roles import find_services
from planner.planning.search import RUNNERS_UP, evaluate


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def best(catalog: Catalog, machine: Hardware, workload: str = "chat", **given: object) -> Chosen | None:
    asked: Constraints = constraints_from(catalog, given)
    case = case_of(machine, catalog, catalog.workload(workload), asked)
    try:
        return find_services(case, site_of(machine, asked)).chosen[0]
    except NoFeasiblePlan:
        return None


def not_worse(better: Chosen | None, worse: Chosen | None) -> bool:
    """Compared by the levels down to speed: a tighter cap may leave more free, which is no better plan."""
    if worse is None:
        return True
    if better is None:
        return False
    ranking = worse.question.ranking
    levels = [level.name for level in ORDERS[ranking.prefer]].index("headroom")
    return key_of(better.candidate, ranking)[:levels] <= key_of(worse.candidate, ranking)[:levels]


def gpu(catalog: Catalog, ram: str, name: str = "RTX 4060") -> Hardware:
    return what_if(catalog, gpus=[name], ram=ram, ram_bandwidth="60GB/s", cores=8)


def cpu(catalog: Catalog, ram: str) -> Hardware:
    return what_if(catalog, ram=ram, ram_bandwidth="60GB/s", cores=8)


@pytest.mark.parametrize("machine", [gpu, cpu])
@pytest.mark.parametrize("workload", ["chat", "code", "long-context"])
def test_more_ram_is_never_worse(catalog: Catalog, machine: object, workload: str) -> None:
    found = [best(catalog, machine(catalog, size), workload) for size in ("8GiB", "16GiB", "32GiB", "64GiB", "128GiB")]  # type: ignore[operator]
    assert all(not_worse(larger, smaller) for smaller, larger in pairwise(found))


def test_more_vram_is_never_worse(catalog: Catalog) -> None:
    def machine(vram: str) -> Hardware:
        return what_if(catalog, gpus=["RTX 4090"], vram=vram, ram="32GiB", ram_bandwidth="60GB/s", cores=8)

    found = [best(catalog, machine(size)) for size in ("6GiB", "8GiB", "12GiB", "16GiB", "24GiB", "32GiB")]
    assert all(not_worse(larger, smaller) for smaller, larger in pairwise(found))


@pytest.mark.parametrize(
    "constraint",
    [
        {"gpu_only": True},
        {"license": "mit"},
        {"family": "qwen3"},
        {"server": "ollama"},
        {"exclude": "qwen3.8"},
        {"headroom": "30%"},
        {"max_memory": "vram=6GiB"},
        {"min_quant": "Q8_0"},
        {"quant": "Q8_0"},
        {"model": "phi-4"},
    ],
)
def test_a_constraint_never_makes_the_answer_better(catalog: Catalog, constraint: dict[str, object]) -> None:
    machine = gpu(catalog, "32GiB")
    assert not_worse(best(catalog, machine), best(catalog, machine, **constraint))


@pytest.mark.parametrize("prefer", [None, "quality", "speed", "headroom"])
def test_what_the_search_did_not_try_could_not_have_won(catalog: Catalog, prefer: str | None) -> None:
    chosen = best(catalog, gpu(catalog, "16GiB"), "code", family="qwen2.5-coder", prefer=prefer)
    assert chosen is not None
    question = chosen.question
    every = [
        candidate
        for triple in list_triples(question)[0]
        for candidate in evaluate(triple, question, type(chosen.found)([], [], [], []))
    ]
    keys = sorted(key_of(candidate, question.ranking) for candidate in every)
    assert key_of(chosen.candidate, question.ranking) == keys[0]
    assert len(chosen.found.candidates) >= min(RUNNERS_UP, len(every))


@pytest.mark.parametrize("workload", ["chat", "team", "reasoning"])
def test_a_candidate_never_beats_the_bound_that_let_it_in(catalog: Catalog, workload: str) -> None:
    chosen = best(catalog, gpu(catalog, "32GiB"), workload)
    assert chosen is not None
    question = chosen.question
    bounds = {(t.model.id, t.quant.id, t.server): t.bound for t in list_triples(question)[0]}
    for candidate in chosen.found.candidates:
        bound = bounds[candidate.model.id, candidate.quant.id, candidate.server]
        assert key_of(candidate, question.ranking)[: len(bound)] >= bound
