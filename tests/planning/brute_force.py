"""The search done the long way: every model, quant, server and placement of a small catalog, nothing skipped, and
machines drawn at random to ask it on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from planner.catalog.catalog import Catalog
from planner.hardware.facts import Hardware
from planner.hardware.what_if import what_if
from planner.planning.fit import Fitter
from planner.planning.placement import KINDS, Attempt, Site
from planner.planning.question import Question, list_triples
from planner.planning.rank import Candidate
from planner.planning.search import free_fraction
from planner.servers import SERVERS
from planner.sizing.records import ModelShape, Placement

CARDS = ("RTX 4060", "RTX 3090", "RTX 4090", "RX 7900 XTX", "L40S", "Arc A770")
CHIPS = ("M2 16GiB", "M3 Max 40c 128GiB", "M4 Pro 48GiB")


def machine_parts(chance: Random) -> dict[str, Any]:
    """A workstation, a server with one or two nodes, or a Mac, as `what_if` takes it."""
    kind = chance.choice(("gpu", "gpu", "gpus", "cpu", "numa", "apple"))
    if kind == "apple":
        return {"apple": chance.choice(CHIPS)}
    ram, rate, cores = (
        chance.choice((16, 32, 64, 128, 256)),
        chance.choice((40, 80, 150, 300)),
        chance.choice((4, 8, 32)),
    )
    parts = {"ram": f"{ram}GiB", "ram_bandwidth": f"{rate}GB/s", "cores": cores}
    if kind == "numa":
        return parts | {"numa_nodes": 2}
    if kind == "cpu":
        return parts
    count = 1 if kind == "gpu" else chance.choice((2, 3, 4))
    return parts | {"gpus": [f"{chance.choice(CARDS)}:{count}"]}


def machine_of(catalog: Catalog, chance: Random) -> Hardware:
    """A machine drawn at random."""
    return what_if(catalog, **machine_parts(chance))


def upgrades(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The same machine with more of one thing."""
    if "apple" in parts:
        return []
    better = [
        parts | {"ram": f"{2 * int(parts['ram'].removesuffix('GiB'))}GiB"},
        parts | {"ram_bandwidth": f"{2 * int(parts['ram_bandwidth'].removesuffix('GB/s'))}GB/s"},
    ]
    if "gpus" in parts:
        better += [parts | {"vram": "64GiB"}, parts | {"gpu_bandwidth": "2000GB/s"}]
    return better


def smaller(catalog: Catalog, chance: Random, count: int) -> Catalog:
    """The catalog with a few of its models."""
    few = copy.copy(catalog)
    vars(few)["models"] = {name: catalog.models[name] for name in sorted(chance.sample(sorted(catalog.models), count))}
    return few


def every_candidate(question: Question) -> Iterator[Candidate]:
    """All that fit, over every quant, server and placement."""
    far = question.ranking.prefer == "context"
    for triple in list_triples(question)[0]:
        room, site, demand = SERVERS[triple.server], question.site, question.demand
        kv_type = question.constraints.kv_type
        if room.supports(triple.model, triple.quant, site.hardware, kv_type=kv_type):
            continue
        fitter = Fitter(triple.model, triple.quant, room, demand, site)
        asked_for = question.ranking.row.device == "cpu" or question.ranking.prefer in {"context", "headroom"}
        for attempt in every_attempt(triple.server, fitter, site, question.kinds, with_cpu=asked_for):
            if room.supports(triple.model, triple.quant, site.hardware, attempt.placement, kv_type=kv_type):
                continue
            yield Candidate(
                model=triple.model,
                quant=triple.quant,
                server=triple.server,
                placement=attempt.placement,
                footprint=attempt.footprint,
                speed=fitter.speed(attempt),
                ability=triple.ability,
                free_fraction=free_fraction(attempt, site),
                reachable_context_tokens=fitter.reachable_context(attempt.placement) if far else 0,
            )


def every_attempt(
    server: str, fitter: Fitter, site: Site, allowed: tuple[str, ...] | None, *, with_cpu: bool
) -> Iterator[Attempt]:
    """Every placement that fits; of those that differ in a count only, the one that uses the GPUs most. A rule, not a
    saving: layers go over the fewest cards that hold them, into RAM only when all cards are too small, and the CPU is
    not alone where cards can help it, whose prompts are slower by far, unless `with_cpu`."""
    kinds = [kind for kind in KINDS[server] if allowed is None or kind in allowed]
    on_cards = helped = False
    for kind in kinds:
        if kind == "cpu" and helped and not with_cpu:
            continue
        if (kind == "multi-gpu" and on_cards) or (kind in {"experts-in-ram", "split"} and on_cards):
            continue
        for ladder in _ladders(kind, fitter.expanded.shape, site):
            tried = (fitter.attempt(placement) for placement in ladder)
            first = next((attempt for attempt in tried if attempt.fits), None)
            if first is not None:
                helped = helped or kind in {"experts-in-ram", "split"}
                on_cards = on_cards or kind in {"gpu", "unified", "tensor-parallel", "multi-gpu"}
                yield first


def _ladders(kind: str, shape: ModelShape, site: Site) -> Iterator[list[Placement]]:
    gpus = site.hardware.gpus
    cards = [index for index in range(len(gpus)) if site.gpu_pool(index) is not None]
    discrete = tuple(index for index in cards if not gpus[index].unified)
    match kind:
        case "unified" | "gpu":
            for index in cards:
                if gpus[index].unified == (kind == "unified"):
                    yield [Placement(kind=kind, gpus=(index,))]
        case "tensor-parallel":
            for degree in (2, 4, 8):
                if degree <= len(discrete) and shape.heads % degree == 0:
                    yield [Placement(kind=kind, gpus=discrete[:degree], tensor_parallel=degree)]
        case "multi-gpu":
            yield [Placement(kind=kind, gpus=discrete[:count]) for count in range(2, len(discrete) + 1)]
        case "experts-in-ram" if discrete and site.has_ram and shape.moe_layers:
            counts = range(1, shape.moe_layers + 1)
            yield from _over_nodes([Placement(kind=kind, gpus=discrete, cpu_expert_layers=n) for n in counts], site)
        case "split" if discrete and site.has_ram:
            counts = range(shape.layers, 0, -1)
            yield from _over_nodes([Placement(kind=kind, gpus=discrete, gpu_layers=n) for n in counts], site)
        case "cpu" if site.has_ram:
            yield from _over_nodes([Placement(kind="cpu")], site)
            nodes = tuple(node.id for node in site.hardware.compute_nodes)
            if len(nodes) > 1:
                yield [Placement(kind="cpu", numa="bind", numa_nodes=nodes, instances=len(nodes))]


def _over_nodes(ladder: list[Placement], site: Site) -> Iterator[list[Placement]]:
    nodes = tuple(node.id for node in site.hardware.compute_nodes)
    if len(nodes) < 2:
        yield ladder
        return
    for chosen, how in [*(((node,), "bind") for node in nodes), (nodes, "interleave")]:
        yield [_bound(placement, how, chosen) for placement in ladder]


def _bound(placement: Placement, how: str, nodes: tuple[int, ...]) -> Placement:
    return Placement(
        kind=placement.kind,
        gpus=placement.gpus,
        gpu_layers=placement.gpu_layers,
        cpu_expert_layers=placement.cpu_expert_layers,
        numa=how,  # type: ignore[arg-type]
        numa_nodes=nodes,
    )
