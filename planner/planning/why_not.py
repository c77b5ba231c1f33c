"""Why one model is not the plan: every server, quant and placement of it, without the short cuts of the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from planner.catalog.records import Workload
from planner.hardware.facts import Hardware
from planner.planning.constraints import Constraints
from planner.planning.losers import losers_of
from planner.planning.machine import site_of
from planner.planning.plan import Rejected
from planner.planning.question import list_triples
from planner.planning.rank import best_first
from planner.planning.recommend import DEFAULT, case_of, decide
from planner.planning.search import Found, evaluate

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog


def why_not(
    hardware: Hardware, catalog: Catalog, workload: Workload, model_id: str, constraints: Constraints = DEFAULT
) -> tuple[Rejected, ...]:
    """What became of each way to run a model; empty when it is the plan. The best way that fits comes first, with the
    level at which it loses to the plan. Raises UnknownName, UsageError, NoFeasiblePlan as `recommend`."""
    catalog.model(model_id)
    case = case_of(hardware, catalog, workload, constraints)
    main = decide(case, site_of(hardware, constraints)).chosen[0]
    if main.candidate.model.id == model_id:
        return ()
    asked = replace(constraints, model=model_id) if constraints.model is None else constraints
    question = main.question._replace(constraints=asked)
    triples, losers = list_triples(question)
    found = Found([], losers, [], [])
    candidates = [candidate for triple in triples for candidate in evaluate(triple, question, found)]
    own = [loser for loser in found.rejected if loser.model == model_id]
    ranked = best_first(candidates, question.ranking)
    return losers_of(main.candidate, ranked, own, question.ranking, one_model=True)
