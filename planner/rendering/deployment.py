"""A plan made ready to lay out: its services with their launches, the router, checked once for every target."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from planner.catalog.records import Image, Model, Quant, ServerFacts
from planner.errors import RenderError
from planner.planning.plan import Plan, Router
from planner.rendering.bundle import RenderOptions
from planner.servers.oracle import check_launch
from planner.servers.records import Launch, Service
from planner.servers.requests import deterministic_fields, forgotten_fields
from planner.servers.versions import at_version, unchecked

# Service names become file, unit, network and container names: the narrowest of their rules (RFC 1123 labels).
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
# What bundles start beside the planned services.
_TAKEN = ("router", "prometheus", "grafana")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Catalog(Protocol):
    """What rendering asks of the catalog."""

    def model(self, name: str) -> Model: ...  # noqa: D102
    def quant(self, name: str, format: str | None = None) -> Quant: ...  # noqa: A002, D102
    def server(self, name: str) -> ServerFacts: ...  # noqa: D102
    @property
    def digests(self) -> Mapping[str, str]: ...  # noqa: D102


# Servers that fetch parts of themselves when they first start (LocalAI's backends), and so need the network.
FETCHES_AT_START = ("localai",)


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """One service with the way it starts and what is known of its image. `version`: the server's, whose words the
    launch speaks. `profiles`: sampler settings as fields of a request, by the intent of who asks; `planned` are those
    that the server does not keep by itself."""

    service: Service
    launch: Launch
    version: str = ""
    image: Image | None = None
    profiles: dict[str, dict[str, object]] = {}

    @property
    def name(self) -> str:
        """The service's name, which file names carry."""
        return self.service.name


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a unit: the unit itself, or its copy on one NUMA node."""

    name: str
    port: int
    node: int | None = None
    nodes: tuple[int, ...] = ()
    cpus: tuple[int, ...] = ()


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is laid out."""

    plan: Plan
    units: tuple[Unit, ...]
    router: Router | None
    options: RenderOptions
    digests: Mapping[str, str] = {}

    def pinned(self, reference: str) -> str:
        """An image with its digest, where one is known. Raises RenderError when it is not and digests are required."""
        if "@" in reference:
            return reference
        if reference in self.digests:
            return f"{reference}@{self.digests[reference]}"
        if self.options.require_digests:
            raise RenderError(
                f"no digest is known for {reference}",
                hint="the README of a bundle without the option says how to look it up",
            )
        return reference

    @property
    def apple(self) -> bool:
        """True when the plan is for a Mac: containers and units cannot serve it."""
        return self.plan.hardware.os.name == "macos" or any(u.launch.backend == "metal" for u in self.units)

    def processes(self) -> Iterator[tuple[Unit, Instance]]:
        """Every process, with the unit that it belongs to."""
        for unit in self.units:
            for instance in self.instances(unit):
                yield unit, instance

    def instances(self, unit: Unit) -> tuple[Instance, ...]:
        """The processes of a unit: one, or one per NUMA node with ports counted up."""
        launch = unit.launch
        if launch.instances <= 1:
            cpus = launch.numa_cpus or _cpus(self.plan, launch.numa_nodes)
            return (Instance(name=unit.name, port=launch.port, nodes=launch.numa_nodes, cpus=cpus),)
        if len(launch.numa_nodes) != launch.instances:
            raise RenderError(f"{unit.name}: {launch.instances} instances on {len(launch.numa_nodes)} NUMA nodes")
        return tuple(
            Instance(
                name=f"{unit.name}-{node}",
                port=launch.port + number,
                node=node,
                nodes=(node,),
                cpus=_cpus(self.plan, (node,)),
            )
            for number, node in enumerate(launch.numa_nodes)
        )


def _cpus(plan: Plan, nodes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(cpu for node in plan.hardware.plan_nodes if node.id in nodes for cpu in node.cpus))


def is_loopback(address: str) -> bool:
    """True for an address that only this machine reaches."""
    return address in _LOOPBACK


def reachable(address: str) -> str:
    """The address under which this machine reaches what is bound to `address`, as URLs write it."""
    if address in ("0.0.0.0", "localhost"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{address if address != '::' else '::1'}]" if ":" in address else address


def cpu_list(cpus: tuple[int, ...]) -> str:
    """CPU numbers as the kernel writes them: `0-15,32-47`."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def plan_units(plan: Plan, catalog: Catalog, versions: Mapping[str, str] | None = None) -> tuple[Unit, ...]:
    """Ask each planned server how it starts, at the catalog's version or one of `versions`. Raises RenderError for a
    server that this planner does not know, and for a flag, variable or key that the server's version does not."""
    from planner.servers import SERVERS

    units = []
    for service in plan.services:
        if service.server not in SERVERS:
            raise RenderError(f"the plan names the server {service.server!r}, unknown here", hint="plan again")
        known = catalog.server(service.server)
        facts = at_version(known, versions or {})
        model, quant = catalog.model(service.model), _quant(catalog, service, facts)
        launch = SERVERS[service.server].launch(service, model, quant, plan.hardware, facts)
        check_launch(launch, facts)
        warning = unchecked(known, facts)
        if warning is not None:
            launch = msgspec.structs.replace(launch, notes=(*launch.notes, warning))
        profiles = _profiles(service, model, code=plan.workload.id == "code")
        image = _image(facts, launch)
        units.append(Unit(service=service, launch=launch, version=facts.version, image=image, profiles=profiles))
    return tuple(units)


def _profiles(service: Service, model: Model, *, code: bool) -> dict[str, dict[str, object]]:
    found = {
        "planned": forgotten_fields(service.server, service.sampling),
        "deterministic": deterministic_fields(service.server, model, code=code),
    }
    return {intent: fields for intent, fields in found.items() if fields}


def _quant(catalog: Catalog, service: Service, facts: ServerFacts) -> Quant:
    found = catalog.quant(service.quant)
    if found.format in facts.formats:
        return found
    return catalog.quant(service.quant, facts.formats[0])


def _image(facts: ServerFacts, launch: Launch) -> Image | None:
    wanted = (launch.image or "").partition("@")[0]
    return next((image for image in facts.images if image.reference == wanted), None)


def deploy(
    plan: Plan, units: tuple[Unit, ...], options: RenderOptions, digests: Mapping[str, str] | None = None
) -> Deployment:
    """Choose the roles asked for, and check what every target relies on. `digests`: of images by their references with
    tags. Raises RenderError."""
    _check_options(options)
    chosen = tuple(u for u in units if options.role in (None, u.service.role))
    if not chosen:
        roles = ", ".join(sorted({u.service.role for u in units})) or "none"
        raise RenderError(f"the plan has no service of the role {options.role}", hint=f"its roles: {roles}")
    for unit in chosen:
        if not _NAME.fullmatch(unit.name) or unit.name in _TAKEN:
            raise RenderError(
                f"service name {unit.name!r} cannot name files and units",
                hint=f"use up to 40 lower-case letters, digits and inner hyphens; taken: {', '.join(_TAKEN)}",
            )
    names = {u.name for u in chosen}
    if len(names) != len(chosen):
        raise RenderError("two services of the plan have the same name")
    router = _router(plan, chosen, names)
    deployment = Deployment(plan=plan, units=chosen, router=router, options=options, digests=digests or {})
    if options.wired_limit_bytes is not None and not deployment.apple:
        raise RenderError("only a Mac has a wired limit", hint="leave --wired-limit out")
    _check_ports(deployment)
    _check_exposure(deployment)
    return deployment


def _router(plan: Plan, units: tuple[Unit, ...], names: set[str]) -> Router | None:
    if plan.router is None:
        return None
    endpoints = tuple(e for e in plan.router.endpoints if e.service in names)
    alone = len(units) == 1 and units[0].launch.instances <= 1 and units[0].launch.has_key
    if not endpoints or (alone and len(plan.services) > 1):
        return None
    return msgspec.structs.replace(plan.router, endpoints=endpoints)


def _check_options(options: RenderOptions) -> None:
    if options.numa_style not in ("numactl", "directives"):
        raise RenderError(f"numa style {options.numa_style!r} is unknown", hint="use numactl or directives")
    if options.models_dir is not None and not options.models_dir.strip():
        raise RenderError("the models folder has no name", hint="--models-dir names a folder")


def _check_ports(deployment: Deployment) -> None:
    taken = {deployment.router.port: "router"} if deployment.router else {}
    for _, instance in deployment.processes():
        if not 1 <= instance.port <= 65535:
            raise RenderError(f"{instance.name}: {instance.port} is not a port")
        if instance.port in taken:
            raise RenderError(f"{instance.name} and {taken[instance.port]} both want port {instance.port}")
        taken[instance.port] = instance.name


def _check_exposure(deployment: Deployment) -> None:
    open_units = [u.name for u in deployment.units if not u.launch.has_key]
    if not is_loopback(deployment.options.bind) and deployment.router is None and open_units:
        raise RenderError(
            f"{open_units[0]} checks no key and may not be bound to {deployment.options.bind}",
            hint="plan a router in front of it, or bind to 127.0.0.1",
        )
