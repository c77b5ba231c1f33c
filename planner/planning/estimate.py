"""`planner estimate`: the speed of one model in the placement that planning would choose, or in one that is forced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, cast

from msgspec.structs import replace

from planner.catalog.records import Model, Quant
from planner.errors import NoFeasiblePlan, UsageError
from planner.hardware.facts import Hardware
from planner.planning.constraints import Constraints
from planner.planning.fit import Demand, Fitter
from planner.planning.machine import site_of
from planner.planning.placement import Attempt, Site, attempts
from planner.planning.search import miss_text
from planner.servers import SERVERS
from planner.sizing.records import Footprint, Placement, PoolUse, Runtime
from planner.speed.estimate import estimate_speed
from planner.speed.records import Speed

Numa = Literal["none", "bind", "interleave"]


def estimate_placed(
    model: Model,
    quant: Quant,
    server: str,
    hardware: Hardware,
    runtime: Runtime,
    *,
    depth: int = 0,
    prompt_tokens: int = 512,
    output_tokens: int = 256,
    gpu_layers: int | str | None = None,
    cpu_experts: int | str | None = None,
    tensor_parallel: int | None = None,
    numa: str | None = None,
    file_bytes: int | None = None,
    engine_build: str | None = None,
) -> Speed:
    """Speed with `Speed.placement` named. What is forced is not checked against memory; what is chosen fits.

    `file_bytes`: size of the real file, which replaces the computed weights in proportion.
    Raises NoFeasiblePlan, UsageError."""
    site = site_of(hardware, Constraints())
    demand = Demand(
        users=runtime.parallel,
        context_tokens=runtime.context_tokens,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        kv_type=runtime.kv_type,
    )
    fitter = Fitter(model, quant, SERVERS[server], demand, site)
    forced = forced_placement(fitter, gpu_layers, cpu_experts, tensor_parallel, numa)
    attempt = fitter.attempt(forced) if forced is not None else _chosen(fitter, server, site)
    footprint = attempt.footprint if file_bytes is None else _scaled(attempt.footprint, file_bytes)
    speed = estimate_speed(
        fitter.expanded,
        quant,
        footprint,
        hardware,
        site.pools,
        attempt.placement,
        stack=SERVERS[server].stack(hardware, attempt.placement),
        runtime=runtime,
        depth=depth,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        concurrency=runtime.parallel,
        engine_build=engine_build,
    )
    return replace(speed, placement=attempt.placement)


def _chosen(fitter: Fitter, server: str, site: Site) -> Attempt:
    """The placement that fits and is fastest; without memory facts, whole on the first GPU or on the CPU."""
    tried = list(attempts(server, fitter.expanded.shape, site, fitter.attempt, with_cpu=False))
    fitting = [attempt for attempt in tried if attempt.fits]
    if fitting:
        return max(fitting, key=lambda attempt: _rate(fitter, attempt))
    if tried:
        nearest = min(tried, key=lambda attempt: attempt.missing_bytes)
        raise NoFeasiblePlan(
            f"{fitter.model.name} {fitter.quant.id} on {server} {miss_text(nearest)}",
            hint="fewer bits, a shorter --context, or force a placement with gpu_layers",
        )
    hardware = site.hardware
    if not hardware.gpus and hardware.ram_bytes is None and not hardware.numa_nodes:
        raise NoFeasiblePlan("no memory of this machine is known", hint="name it: --vram 24GiB or --ram 64GiB")
    return fitter.attempt(_whole(hardware))


def _rate(fitter: Fitter, attempt: Attempt) -> float:
    rate = fitter.speed(attempt).decode_tokens_per_s
    return rate.expected if rate else 0.0


def _whole(hardware: Hardware) -> Placement:
    if not hardware.gpus:
        return Placement(kind="cpu", text="on the CPU")
    kind: Literal["unified", "gpu"] = "unified" if hardware.gpus[0].unified else "gpu"
    return Placement(kind=kind, gpus=(0,), text=f"on {hardware.gpus[0].name}, whose memory is not known")


def forced_placement(
    fitter: Fitter,
    gpu_layers: int | str | None,
    cpu_experts: int | str | None,
    tensor_parallel: int | None,
    numa: str | None,
) -> Placement | None:
    """The placement that the caller named; None when nothing was. Raises UsageError for what cannot be."""
    hardware, shape = fitter.site.hardware, fitter.expanded.shape
    if gpu_layers is None and cpu_experts is None and tensor_parallel is None:
        return (
            _on_nodes(Placement(kind="cpu", text="on the CPU"), numa, hardware) if numa and not hardware.gpus else None
        )
    layers = _count(gpu_layers, shape.layers, "gpu_layers")
    experts = _count(cpu_experts, shape.moe_layers, "cpu_experts") or 0
    if cpu_experts not in {None, 0, "0"} and not shape.moe_layers:
        raise UsageError(f"{fitter.model.name} has no experts to keep in RAM", hint="drop cpu_experts")
    gpus = tuple(range(len(hardware.gpus)))
    if layers == 0 or not gpus:
        if not gpus and (layers or experts):
            raise UsageError("the machine has no GPU to put layers on", hint="drop gpu_layers")
        return _on_nodes(Placement(kind="cpu", text="on the CPU"), numa, hardware)
    return _on_nodes(
        next(_gpu_placements(hardware, gpus, layers, experts, tensor_parallel, shape.layers)), numa, hardware
    )


def _gpu_placements(
    hardware: Hardware, gpus: tuple[int, ...], layers: int | None, experts: int, degree: int | None, of: int
) -> Iterator[Placement]:
    if degree is not None and degree > 1:
        if degree > len(gpus):
            raise UsageError(f"tensor parallel over {degree} GPUs, the machine has {len(gpus)}")
        yield Placement(
            kind="tensor-parallel",
            gpus=gpus[:degree],
            tensor_parallel=degree,
            text=f"tensor parallel over {degree} GPUs",
        )
    if degree == 1:
        gpus = gpus[:1]
    if experts:
        yield Placement(
            kind="experts-in-ram", gpus=gpus, cpu_expert_layers=experts, text=f"experts of {experts} layers in RAM"
        )
    if layers is not None and layers < of:
        yield Placement(kind="split", gpus=gpus, gpu_layers=layers, text=f"{layers} of {of} layers in VRAM")
    if hardware.gpus[0].unified:
        yield Placement(kind="unified", gpus=(0,), text="in unified memory")
    several = len(gpus) > 1
    text = f"layers split over {len(gpus)} GPUs" if several else f"in VRAM of {hardware.gpus[0].name}"
    yield Placement(kind="multi-gpu" if several else "gpu", gpus=gpus, text=text)


def _count(value: int | str | None, all_of: int, name: str) -> int | None:
    """A count of layers; `all` is every layer, None stays None."""
    if value is None:
        return None
    if isinstance(value, str) and value.casefold() == "all":
        return all_of
    try:
        number = int(value)
    except ValueError:
        raise UsageError(f"{name} {value!r} is no number of layers", hint="a number, or all") from None
    if number < 0:
        raise UsageError(f"{name} {value} must not be negative")
    return min(number, all_of)


def _on_nodes(placement: Placement, numa: str | None, hardware: Hardware) -> Placement:
    """The NUMA policy as asked; by default interleaved when several nodes have CPUs and RAM is used."""
    if numa is not None and numa not in {"bind", "interleave", "none"}:
        raise UsageError(f"numa {numa!r} is no policy", hint="bind, interleave or none")
    nodes = hardware.compute_nodes
    uses_ram = placement.kind in {"cpu", "experts-in-ram", "split"}
    if len(nodes) < 2 or not uses_ram or numa == "none":
        return placement
    policy = cast("Numa", numa or "interleave")
    chosen = (nodes[0].id,) if policy == "bind" else tuple(node.id for node in nodes)
    return replace(placement, numa=policy, numa_nodes=chosen, text=f"{placement.text}, {policy} over NUMA {chosen}")


def _scaled(footprint: Footprint, file_bytes: int) -> Footprint:
    """The footprint of a real file: everything that is weights, in proportion to the computed file."""
    if file_bytes <= 0:
        raise UsageError(f"file_bytes {file_bytes} must be more than zero")
    factor = file_bytes / footprint.file_bytes
    return replace(
        footprint,
        file_bytes=file_bytes,
        tensor_bytes=round(footprint.tensor_bytes * factor),
        weights_bytes=round(footprint.weights_bytes * factor),
        read_bytes_per_token=round(footprint.read_bytes_per_token * factor),
        bits_per_weight=footprint.bits_per_weight * factor,
        pools=tuple(_scaled_use(use, factor) for use in footprint.pools),
    )


def _scaled_use(use: PoolUse, factor: float) -> PoolUse:
    return replace(
        use,
        weights_bytes=round(use.weights_bytes * factor),
        dense_read_bytes=round(use.dense_read_bytes * factor),
        expert_read_bytes=round(use.expert_read_bytes * factor),
        expert_bytes=round(use.expert_bytes * factor),
    )
