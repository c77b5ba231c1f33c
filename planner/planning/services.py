"""From chosen candidates to services of a plan: names, ports, sampling, sources, the router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.planning.plan import Router, RouterEndpoint
from planner.planning.role_questions import Case, Chosen
from planner.servers import SERVERS
from planner.servers.records import ModelSource, Service
from planner.servers.sampling import choose_sampling

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.catalog.records.policy import SamplingIntent

# Servers without a key of their own (engines' documentation): whoever reaches the port may use them.
KEYLESS = ("ollama", "mlx-lm")


def services_of(case: Case, chosen: Sequence[Chosen]) -> tuple[Service, ...]:
    """One service per role, named by it, each copy on a port of its own: copies count up from the service's port."""
    services: list[Service] = []
    taken: set[int] = set()
    for one in chosen:
        copies = one.candidate.placement.instances
        port = _free_port(case.catalog, one.candidate.server, copies, taken)
        taken.update(range(port, port + copies))
        services.append(_service(case, one, port))
    return tuple(services)


def _free_port(catalog: Catalog, server: str, copies: int, taken: set[int]) -> int:
    """The server's usual port, or the next one from which `copies` ports are free."""
    port = catalog.server(server).port
    while not taken.isdisjoint(range(port, port + copies)):
        port += 1
    return port


def _service(case: Case, one: Chosen, port: int) -> Service:
    found = one.candidate
    room = SERVERS[found.server]
    return Service(
        name=one.role,
        role=one.role,
        model=found.model.id,
        model_name=found.model.name,
        quant=found.quant.id,
        server=found.server,
        backend=room.backend(case.hardware, found.placement),
        placement=found.placement,
        footprint=found.footprint,
        speed=found.speed,
        sampling=choose_sampling(found.model, sampling_intent(case), code=case.workload.id == "code"),
        context=found.footprint.context_tokens or one.demand.context_tokens,
        parallel=found.footprint.parallel or one.demand.users,
        kv_type=one.demand.kv_type,
        source=_source(one),
        port=port,
    )


def sampling_intent(case: Case) -> SamplingIntent:
    """Deterministic when the person, the row or the workload asks for it."""
    if case.constraints.deterministic or case.row.sampling == "deterministic":
        return "deterministic"
    return case.row.sampling or case.workload.sampling


def _source(one: Chosen) -> ModelSource:
    found = one.candidate
    source = SERVERS[found.server].source(found.model, found.quant)
    if source is None:
        raise PlannerError(
            f"no download is known for {found.label}", hint="add the repository to the model's catalog entry"
        )
    return source


def router_of(services: Sequence[Service]) -> Router | None:
    """A router in front of more than one endpoint, or of a server that has no key of its own."""
    bare = sorted({service.server for service in services if service.server in KEYLESS})
    copies = max(service.placement.instances for service in services)
    if len(services) > 1:
        reason = f"{len(services)} services behind one endpoint, routed by role and priority"
    elif copies > 1:
        reason = f"{copies} copies of the server behind one endpoint"
    elif bare:
        reason = f"{bare[0]} has no API key of its own"
    else:
        return None
    endpoints = tuple(
        RouterEndpoint(service=service.name, role=service.role, models=(service.model,)) for service in services
    )
    return Router(endpoints=endpoints, reason=reason)
