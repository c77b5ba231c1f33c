"""The decision: a workload on a machine becomes a plan, its runners-up, and the reasons of the losers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from planner.catalog.records import Model, Workload
from planner.errors import NoFeasiblePlan, UsageError
from planner.hardware.facts import Hardware
from planner.planning.ability import abilities
from planner.planning.constraints import Constraints
from planner.planning.decision import decision_of
from planner.planning.facts import Situation, true_facts
from planner.planning.losers import losers_of
from planner.planning.machine import pool_plans, site_of
from planner.planning.matrix import choose_row, validate_row
from planner.planning.pitfalls.planned import warnings_of
from planner.planning.placement import Site
from planner.planning.plan import Answer, Plan, Rejected
from planner.planning.rank import Candidate
from planner.planning.reasons import alternatives_of, reasons_of, runners_up
from planner.planning.reference import quote_row
from planner.planning.role_questions import Case, Chosen
from planner.planning.roles import Services, find_services
from planner.planning.services import router_of, services_of
from planner.sizing.records import ModelShape
from planner.sizing.shapes import shape_in
from planner.sizing.tensors import expand

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

DEFAULT = Constraints()


def recommend(hardware: Hardware, catalog: Catalog, workload: Workload, constraints: Constraints = DEFAULT) -> Answer:
    """The plan for a workload, runners-up and losers.

    Raises NoFeasiblePlan (nearest miss, and what would make it fit), UsageError, CatalogError."""
    case = case_of(hardware, catalog, workload, constraints)
    site = site_of(hardware, constraints)
    services = decide(case, site)
    main = services.chosen[0]
    ranked = [candidate for candidate in main.found.candidates if candidate is not main.candidate]
    one_model = constraints.model is not None
    plan = Plan(
        workload=replace(
            workload, users=case.users, context_tokens=main.candidate.footprint.context_tokens or case.context_tokens
        ),
        hardware=hardware,
        catalog_digest=catalog.digest,
        services=services_of(case, services.chosen),
        pools=pool_plans(site, (one.candidate.footprint for one in services.chosen)),
        matrix_row=quote_row(main.question, main.candidate),
    )
    router = router_of(plan.services)
    plan = replace(
        plan,
        router=router,
        reasons=reasons_of(services, site, case.abilities.get(main.candidate.model.id), _runners(main)),
        warnings=warnings_of(case, services, site, plan.services, router),
        options=_options(constraints),
    )
    ranking = main.question.ranking
    runners = runners_up(main.candidate, ranked, ranking, one_model=one_model)
    return Answer(
        plan=plan,
        alternatives=alternatives_of(main.candidate, runners, ranking),
        rejected=_losers(main, services),
        decision=decision_of(true_facts(case.situation), main.question, main.candidate, runners),
    )


def decide(case: Case, site: Site) -> Services:
    """The services of the plan. Raises UsageError naming two options that contradict each other, NoFeasiblePlan."""
    if case.constraints.model is not None or case.constraints.min_decode_tokens_per_s is not None:
        from planner.planning.contradictions import check_roles

        check_roles(case)
    try:
        return find_services(case, site)
    except NoFeasiblePlan as miss:
        from planner.planning.contradictions import contradiction

        raise contradiction(case, site) or miss from None


def case_of(hardware: Hardware, catalog: Catalog, workload: Workload, constraints: Constraints) -> Case:
    """The facts of a question and the row that answers it. Raises CatalogError, UsageError."""
    users = constraints.users or workload.users
    context = constraints.context_tokens or workload.context_tokens
    if context < 2:
        raise UsageError(f"context {context} is too short for a prompt and an answer", hint="write it like 8k")
    situation = Situation(
        hardware=hardware,
        workload=workload,
        users=users,
        context_tokens=context,
        roles=constraints.roles or workload.roles,
        deterministic=constraints.deterministic,
    )
    row = choose_row(catalog, situation)
    validate_row(row, catalog)
    known = abilities(catalog, lambda model: _counts(shape_in(catalog, model)), workload)
    return Case(hardware, catalog, workload, constraints, users, context, row, known, situation)


def parameter_counts(model: Model) -> tuple[int, int] | None:
    """Total and active parameters, None for a model that cannot be expanded."""
    if model.architecture is None and not model.tensors:
        return None
    return _counts(expand(model).shape)


def _counts(shape: ModelShape) -> tuple[int, int]:
    return shape.total_parameters, shape.active_parameters


def _runners(main: Chosen) -> list[Candidate]:
    asked = main.question.constraints.model is not None
    winner = main.candidate
    return [
        other
        for other in main.found.candidates
        if (other.label != winner.label if asked else other.model.id != winner.model.id)
    ]


def _losers(main: Chosen, services: Services) -> tuple[Rejected, ...]:
    """Losers of the first role; models that serve another role are none."""
    planned = {one.candidate.model.id for one in services.chosen}
    refused = [loser for loser in main.found.rejected if loser.quant is not None or loser.model not in planned]
    one_model = main.question.constraints.model is not None
    return losers_of(main.candidate, main.found.candidates, refused, main.question.ranking, one_model=one_model)


def _options(constraints: Constraints) -> dict[str, str]:
    """What the person asked for beside the workload, as text."""
    given: dict[str, str] = {}
    for name in Constraints.__struct_fields__:
        value = getattr(constraints, name)
        if value != getattr(DEFAULT, name):
            # The option's own name: it may be repeated.
            shown = "model" if name == "models" else name
            given[shown] = value.label if hasattr(value, "label") else _text(value)
    return given


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={number}" for key, number in sorted(value.items()))
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return str(value)
