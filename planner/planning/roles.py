"""Which services a plan has.

The first role takes the memory that it wants; the others get what is left. When a required role then finds no place,
the others are placed first and the first role makes do with the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from planner.catalog.records.policy import Role
from planner.errors import NoFeasiblePlan
from planner.planning.images import search_images
from planner.planning.machine import after
from planner.planning.nearest import no_plan
from planner.planning.placement import Site
from planner.planning.question import Question
from planner.planning.role_questions import Case, Chosen, questions_for
from planner.planning.search import Found, search


class Services(NamedTuple):
    """The services of a plan, the first role first, and remarks on roles that were left out."""

    chosen: tuple[Chosen, ...]
    left_out: tuple[tuple[Role, str], ...] = ()


def planned_roles(case: Case) -> tuple[tuple[Role, ...], tuple[Role, ...]]:
    """Required and optional roles. Roles that the person names are required and nothing else is planned."""
    if case.constraints.roles:
        return case.constraints.roles, ()
    return case.workload.roles, tuple(role for role in case.workload.optional_roles if _sensible(role, case))


def _sensible(role: Role, case: Case) -> bool:
    """A second language service needs a GPU for one and RAM of its own for the other."""
    if role not in {"batch", "interactive"}:
        return True
    discrete = any(not gpu.unified and gpu.memory_bytes for gpu in case.hardware.gpus)
    return discrete and case.hardware.ram_bytes is not None and not case.constraints.gpu_only


def find_services(case: Case, site: Site) -> Services:
    """All services of the plan. Raises NoFeasiblePlan when a required role has no place."""
    required, optional = planned_roles(case)
    try:
        services = _all_of(required, case, site)
    except NoFeasiblePlan as miss:
        fewer = _without_spare(required, case)
        if fewer == required:
            raise
        spared = tuple((role, miss.message) for role in required if role not in fewer)
        services = _all_of(fewer, case, site)._replace(left_out=spared)
    return _add_optional(services, optional, case, site)


def _without_spare(required: tuple[Role, ...], case: Case) -> tuple[Role, ...]:
    """The roles that a workload is still useful with: images are given up."""
    if case.constraints.roles:
        return required
    if "image" in required:
        return tuple(role for role in required if role != "image")
    return required


def _all_of(required: tuple[Role, ...], case: Case, site: Site) -> Services:
    """The required services: the first role first; where a later one then finds no place, the last one first."""
    both = {"interactive", "batch"} <= set(required)
    try:
        return Services(_in_order(required, case, site, both=both))
    except NoFeasiblePlan:
        if len(required) == 1:
            raise
        chosen = _in_order(tuple(reversed(required)), case, site, both=both)
        return Services(tuple(sorted(chosen, key=lambda one: required.index(one.role))))


def _in_order(roles: tuple[Role, ...], case: Case, site: Site, *, both: bool) -> tuple[Chosen, ...]:
    chosen: tuple[Chosen, ...] = ()
    for role in roles:
        rest = after(site, (one.candidate.footprint for one in chosen))
        chosen = (*chosen, find_role(role, case, rest, chosen, both=both))
    return chosen


def _add_optional(services: Services, optional: tuple[Role, ...], case: Case, site: Site) -> Services:
    chosen, left_out = services.chosen, services.left_out
    for role in optional:
        if role in {"batch", "interactive"} and not chosen[0].candidate.placement.gpus:
            left_out = (*left_out, (role, f"the {chosen[0].role} service already computes on the CPU"))
            continue
        rest = after(site, (one.candidate.footprint for one in chosen))
        try:
            chosen = (*chosen, find_role(role, case, rest, chosen, both=True))
        except NoFeasiblePlan as miss:
            left_out = (*left_out, (role, miss.message))
    return Services(chosen, left_out)


def find_role(role: Role, case: Case, site: Site, chosen: tuple[Chosen, ...], *, both: bool) -> Chosen:
    """The best candidate for one role in what is left of the machine. Raises NoFeasiblePlan."""
    find: Callable[[Question], Found] = search_images if role == "image" else search
    last: tuple[Question, Found] | None = None
    for question in questions_for(role, case, site, chosen, both=both):
        found = find(question)
        if found.candidates:
            return Chosen(role, found.candidates[0], question.demand, question, found)
        last = last or (question, found)
    assert last is not None
    raise no_plan(*last)
