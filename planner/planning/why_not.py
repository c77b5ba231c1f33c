"""Why one model is not the plan: every server, quant and placement of it, without the short cuts of the search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from planner.catalog.records import Model, Workload
from planner.hardware.facts import Hardware
from planner.planning.constraints import Constraints
from planner.planning.eligibility import KINDS, Refusal, refuse_model, rejected
from planner.planning.losers import losers_of
from planner.planning.machine import site_of
from planner.planning.plan import Rejected
from planner.planning.question import Question, list_triples
from planner.planning.rank import best_first
from planner.planning.recommend import DEFAULT, case_of, decide
from planner.planning.role_questions import Chosen
from planner.planning.roles import Services
from planner.planning.search import Found, evaluate

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog


def why_not(
    hardware: Hardware, catalog: Catalog, workload: Workload, model_id: str, constraints: Constraints = DEFAULT
) -> tuple[Rejected, ...]:
    """What became of each way to run a model; empty when it is in the plan. The best way that fits comes first, with
    the level at which it loses to the plan. Raises UnknownName, UsageError, NoFeasiblePlan as `recommend`."""
    model = catalog.model(model_id)
    case = case_of(hardware, catalog, workload, constraints)
    services = decide(case, site_of(hardware, constraints))
    if any(one.candidate.model.id == model.id for one in services.chosen):
        return ()
    service = _service_for(model, services)
    if service.role == "image":
        return (_later_image(model, service),)
    losers = _of_service(model, service)
    return losers or (rejected(model, Refusal(reason_id="no-source", text="no server offers a file of it")),)


def _service_for(model: Model, services: Services) -> Chosen:
    """The service that the model would be: the first one of its kind, else the first one."""
    return next((one for one in services.chosen if KINDS[one.role] == model.kind), services.chosen[0])


def _of_service(model: Model, service: Chosen) -> tuple[Rejected, ...]:
    question = _alone(model, service.question)
    triples, refused = list_triples(question)
    found = Found()
    candidates = [candidate for triple in triples for candidate in evaluate(triple, question, found)]
    # What was tried says more than what may not be tried, and of that the memory says most.
    tried = sorted(found.rejected, key=lambda loser: loser.reason_id != "memory")
    own = [*tried, *(loser for loser in refused if loser.model == model.id)]
    ranked = best_first(candidates, question.ranking)
    return losers_of(service.candidate, ranked, own, question.ranking, one_model=True)


def _alone(model: Model, question: Question) -> Question:
    """The question for this model only, unless the person named the models: then those are the reason."""
    asked = question.constraints
    return question if asked.models else question._replace(constraints=replace(asked, models=(model.id,)))


def _later_image(model: Model, service: Chosen) -> Rejected:
    """Image models are told apart by the row's order alone."""
    refusal = refuse_model(model, "image", (), 0, service.question.constraints)
    text = f"{service.candidate.model.name} comes first in row {service.question.ranking.row.id}, and it fits"
    return rejected(model, refusal or Refusal(reason_id="shortlist", text=text))
