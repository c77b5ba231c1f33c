"""A finished decision as the checks see it, and their findings as the plan's warnings."""

from __future__ import annotations

from planner.planning.comparison import missed_targets
from planner.planning.machine import pool_plans
from planner.planning.pitfalls import fix_of, look, severity_of
from planner.planning.pitfalls.scene import Scene, Setup
from planner.planning.pitfalls.sized import lighter_of, needs_of, ram_bytes
from planner.planning.placement import Site
from planner.planning.plan import Router, Warning as PlanWarning
from planner.planning.role_questions import Case, Chosen
from planner.planning.roles import Services
from planner.planning.services import sampling_intent
from planner.servers import SERVERS
from planner.servers.frame import image_for
from planner.servers.records import Service
from planner.sizing.tensors import expand


def warnings_of(
    case: Case, services: Services, site: Site, planned: tuple[Service, ...], router: Router | None
) -> tuple[PlanWarning, ...]:
    """All that applies, in the order of the register, without repeats."""
    scene = scene_of(case, services, site, planned, router)
    found = (
        PlanWarning(rule_id=pitfall.id, severity=severity_of(pitfall, sign), text=sign.text, fix=fix_of(pitfall, sign))
        for pitfall, sign in look(scene, "plan")
    )
    return tuple(dict.fromkeys(found))


def scene_of(case: Case, services: Services, site: Site, planned: tuple[Service, ...], router: Router | None) -> Scene:
    """The services of a decision, with the router as one that only takes a port."""
    setups = tuple(_setup(case, one, service, site) for one, service in zip(services.chosen, planned, strict=True))
    front = (Setup(name="router", ports=((router.port, None),)),) if router else ()
    workload = case.workload
    return Scene(
        hardware=case.hardware,
        setups=(*setups, *front),
        users=case.users,
        reasoning=workload.id == "reasoning",
        deterministic=sampling_intent(case) == "deterministic",
        floor=services.chosen[0].question.floor,
        bars=pool_plans(site, (one.candidate.footprint for one in services.chosen)),
        context_advice=case.row.context_advice,
    )


def _setup(case: Case, one: Chosen, service: Service, site: Site) -> Setup:
    found = one.candidate
    model, placement = found.model, found.placement
    sized = model.architecture is not None or bool(model.tensors)
    backend = SERVERS[found.server].backend(case.hardware, placement)
    return Setup(
        name=service.name,
        role=one.role,
        server=found.server,
        model=model,
        quant=found.quant,
        context_tokens=service.context,
        slots=service.parallel,
        users=one.demand.users,
        stretched=True,
        sampling=service.sampling,
        placement=placement,
        numa=placement.numa,
        devices=frozenset(str(index) for index in placement.gpus),
        needs=needs_of(found.footprint, found.footprint, site.pools, expand(model).shape, case.hardware)
        if sized
        else (),
        footprint=found.footprint,
        image=image_for(case.catalog.server(found.server), backend, case.hardware),
        ram_bytes=ram_bytes(found.footprint, {pool.id: pool for pool in site.pools}),
        ports=tuple((service.port + copy, None) for copy in range(placement.instances)),
        lighter=lighter_of(model, found.quant, case.catalog),
        speed=found.speed,
        missed_targets=missed_targets(found.speed, one.question.ranking.targets),
    )
