"""The Pareto view: what the long way finds, nothing dominated on it, and everything dominated off it."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import UsageError
from planner.planning.constraints import Constraints, Prefer
from planner.planning.machine import site_of
from planner.planning.pareto import Point, pareto, pareto_front, point_of
from planner.planning.question import Question
from planner.planning.rank import Value, key_of
from planner.planning.recommend import case_of
from planner.planning.role_questions import language_question

from .brute_force import every_candidate, machine_of, smaller
from .machines import mac, rtx4090

MACHINES = 60
BATCHES = 6
PREFERENCES: tuple[Prefer | None, ...] = (None, "quality", "speed", "headroom")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def asked(catalog: Catalog, seed: int, models: int = 4) -> Question:
    """A question about text models on a machine drawn at random."""
    chance = Random(seed)
    machine = machine_of(catalog, chance)
    constraints = Constraints(prefer=chance.choice(PREFERENCES))
    language = [work for work in catalog.workloads.values() if work.roles[0] in {"interactive", "batch"}]
    case = case_of(machine, catalog, chance.choice(language), constraints)
    question = language_question(case.workload.roles[0], case, site_of(machine, constraints))
    return question._replace(catalog=smaller(catalog, chance, models))


def the_long_way(question: Question) -> dict[Point, tuple[tuple[Value, ...], str]]:
    """At every point that something reaches: the first in rank, and its label."""
    far = question._replace(ranking=replace(question.ranking, prefer="context"))
    best: dict[Point, tuple[tuple[Value, ...], str]] = {}
    for candidate in every_candidate(far):
        point, key = point_of(candidate, question.ranking), key_of(candidate, question.ranking)[:-1]
        if point not in best or key < best[point][0]:
            best[point] = key, candidate.label
    return best


def dominates(one: Point, other: Point) -> bool:
    return one != other and one.quality >= other.quality and one.speed >= other.speed and one.context >= other.context


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_front_equals_brute_force(catalog: Catalog, batch: int) -> None:
    """Whatever was passed over, the front holds the same options, each the first in rank at its point."""
    for seed in range(batch, MACHINES, BATCHES):
        question = asked(catalog, seed)
        every = the_long_way(question)
        front = sorted((p for p in every if not any(dominates(other, p) for other in every)), reverse=True)
        assert [option.label for option in pareto_front(question).options] == [every[point][1] for point in front], seed


@pytest.mark.parametrize("seed", range(MACHINES, MACHINES + 4))
def test_dominated_options_are_hidden_unless_asked_for_and_name_what_dominates_them(
    catalog: Catalog, seed: int
) -> None:
    question = asked(catalog, seed)
    hidden, shown = pareto_front(question), pareto_front(question, everything=True)
    assert hidden.dominated == ()
    assert shown.options == hidden.options
    assert len(shown.options) + len(shown.dominated) == len(the_long_way(question))
    names = {option.label for option in shown.options}
    assert all(option.dominated_by is None for option in shown.options)
    assert all(option.dominated_by in names for option in shown.dominated)


def test_the_whole_catalog_with_and_without_passing_over_gives_one_front(catalog: Catalog) -> None:
    hidden = pareto(rtx4090(catalog), catalog, catalog.workload("chat"), Constraints())
    shown = pareto(rtx4090(catalog), catalog, catalog.workload("chat"), Constraints(), everything=True)
    assert hidden.options == shown.options
    assert hidden.plan == shown.plan


def test_the_plan_s_place_is_told(catalog: Catalog) -> None:
    front = pareto(mac(catalog), catalog, catalog.workload("chat"), Constraints())
    assert front.plan is not None
    on_front = front.plan.label in {option.label for option in front.options}
    assert on_front or front.plan.dominated_by in {option.label for option in front.options}
    assert front.plan.context > 0


def test_constraints_hold_in_the_view_too(catalog: Catalog) -> None:
    asked_for = Constraints(min_decode_tokens_per_s=100.0, license="open", server="llama-server")
    front = pareto(rtx4090(catalog), catalog, catalog.workload("chat"), asked_for)
    for option in front.options:
        assert option.server == "llama-server"
        assert option.decode_tokens_per_s is not None
        assert option.decode_tokens_per_s.expected >= 100
        assert catalog.model(option.model).license in {"apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "isc"}


def test_no_context_is_beyond_what_the_model_was_trained_for(catalog: Catalog) -> None:
    for option in pareto(mac(catalog), catalog, catalog.workload("long-context"), Constraints()).options:
        context = catalog.model(option.model).context
        assert context is not None
        assert 0 < option.context <= context.native_tokens


def test_models_that_write_no_text_have_no_such_view(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="--pareto compares models that write text"):
        pareto(rtx4090(catalog), catalog, catalog.workload("embedding"), Constraints())
