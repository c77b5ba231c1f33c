"""Where a model may lie on a machine: every way that a server knows, the simplest that fits first.

Only known memory is used: without the size of RAM no placement reaches into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
from msgspec.structs import replace

from planner.hardware.facts import Gpu, Hardware
from planner.sizing.records import Footprint, ModelShape, Placement, Pool, Record

# The kinds of placement that each server can be told to use. Ollama splits by layers but has no documented way to keep
# experts in RAM; vLLM keeps a model in one kind of memory; mlx-lm serves unified memory.
KINDS: dict[str, tuple[str, ...]] = {
    "llama-server": ("unified", "gpu", "multi-gpu", "experts-in-ram", "split", "cpu"),
    "localai": ("unified", "gpu", "multi-gpu", "experts-in-ram", "split", "cpu"),
    "ollama": ("unified", "gpu", "multi-gpu", "split", "cpu"),
    "vllm": ("gpu", "tensor-parallel", "cpu"),
    "mlx-lm": ("unified",),
}


class Attempt(Record):
    """One placement tried: its footprint, and the bytes that each pool lacks (empty = it fits)."""

    placement: Placement
    footprint: Footprint
    missing: dict[str, int] = {}

    @property
    def fits(self) -> bool:
        """True when every pool holds its share and the headroom."""
        return not self.missing

    @property
    def missing_bytes(self) -> int:
        """What is lacking over all pools."""
        return sum(self.missing.values())


Try = Callable[[Placement], Attempt]


class Site(Record):
    """The memory that a search may use: pools after limits, caps and services already placed, and the headroom that
    stays free in each."""

    hardware: Hardware
    pools: tuple[Pool, ...]
    kept_free: dict[str, int] = {}
    gpu_only: bool = False

    @property
    def has_ram(self) -> bool:
        """True when RAM is known and allowed."""
        return not self.gpu_only and any(pool.kind == "ram" for pool in self.pools)

    def gpu_pool(self, index: int) -> Pool | None:
        """The pool of one GPU, None when its memory is not known."""
        return next((pool for pool in self.pools if pool.gpu == index), None)

    def available_bytes(self, pool: Pool) -> int:
        """What a plan may put into a pool."""
        return max(pool.usable_bytes - self.kept_free.get(pool.id, 0), 0)

    def missing(self, footprint: Footprint) -> dict[str, int]:
        """Bytes lacking per pool. A share in a pool that the site does not have is not counted: it is unknown."""
        limits = {pool.id: self.available_bytes(pool) for pool in self.pools}
        lacks = {use.pool: use.total_bytes - limits[use.pool] for use in footprint.pools if use.pool in limits}
        return {pool: count for pool, count in lacks.items() if count > 0}


def attempts(
    server: str,
    shape: ModelShape,
    site: Site,
    attempt: Try,
    *,
    with_cpu: bool,
    users: int = 1,
    allowed: tuple[str, ...] | None = None,
) -> Iterator[Attempt]:
    """Every placement worth an estimate, and the nearest misses where a way does not fit.

    A model that fits one GPU is not split; layers go over several GPUs only when one is too small, into RAM only when
    all are. Tensor parallelism is tried beside one GPU, since it is faster. `with_cpu`: try the CPU even when a GPU
    holds the model; with several `users`, also one copy per NUMA node. `allowed`: only these kinds."""
    kinds = tuple(kind for kind in KINDS[server] if allowed is None or kind in allowed)
    fitted = False
    for placement in _on_devices(kinds, shape, site):
        if fitted and placement.kind == "multi-gpu":
            continue
        tried = attempt(placement)
        fitted = fitted or tried.fits
        yield tried
    if site.has_ram and not fitted:
        for tried in _partly_in_ram(kinds, shape, site, attempt):
            fitted = fitted or tried.fits
            yield tried
    if site.has_ram and "cpu" in kinds and (with_cpu or not fitted):
        yield from _on_cpu(site, attempt, copies=users > 1)


def _on_devices(kinds: tuple[str, ...], shape: ModelShape, site: Site) -> Iterator[Placement]:
    gpus = site.hardware.gpus
    usable = [index for index in range(len(gpus)) if site.gpu_pool(index) is not None]
    for index in _distinct(usable, gpus):
        kind = "unified" if gpus[index].unified else "gpu"
        if kind in kinds:
            text = "in unified memory" if kind == "unified" else f"in VRAM of {gpus[index].name}{_number(index, gpus)}"
            yield Placement(kind=kind, gpus=(index,), text=text)  # type: ignore[arg-type]
    discrete = [index for index in usable if not gpus[index].unified]
    if "tensor-parallel" in kinds:
        yield from _tensor_parallel(discrete, gpus, shape)
    if "multi-gpu" in kinds:
        yield from _layer_split(discrete, site)


def _distinct(indexes: list[int], gpus: tuple[Gpu, ...]) -> list[int]:
    """One index of each sort of GPU: equal cards make equal placements."""
    seen: dict[tuple[object, ...], int] = {}
    for index in indexes:
        gpu = gpus[index]
        seen.setdefault((gpu.name, gpu.memory_bytes, gpu.free_bytes, gpu.backend), index)
    return list(seen.values())


def _number(index: int, gpus: tuple[Gpu, ...]) -> str:
    return f" #{index}" if len(gpus) > 1 else ""


def _tensor_parallel(indexes: list[int], gpus: tuple[Gpu, ...], shape: ModelShape) -> Iterator[Placement]:
    """Two, four, eight equal GPUs, where the degree divides the attention heads."""
    for first in _distinct(indexes, gpus):
        equal = [index for index in indexes if gpus[index].name == gpus[first].name]
        degree = 2
        while degree <= len(equal):
            if shape.heads % degree == 0:
                text = f"tensor parallel over {degree} x {gpus[first].name}"
                chosen = tuple(equal[:degree])
                yield Placement(kind="tensor-parallel", gpus=chosen, tensor_parallel=degree, text=text)
            degree *= 2


def _layer_split(indexes: list[int], site: Site) -> Iterator[Placement]:
    """Layers over the largest GPUs of one backend: first two, then three, ..."""
    gpus = site.hardware.gpus
    for backend in dict.fromkeys(gpus[index].backend for index in indexes):
        group = sorted(
            (index for index in indexes if gpus[index].backend == backend),
            key=lambda index: (-(gpus[index].memory_bytes or 0), index),
        )
        for count in range(2, len(group) + 1):
            text = f"layers split over {count} GPUs"
            yield Placement(kind="multi-gpu", gpus=tuple(sorted(group[:count])), text=text)


def _partly_in_ram(kinds: tuple[str, ...], shape: ModelShape, site: Site, attempt: Try) -> Iterator[Attempt]:
    gpus = site.hardware.gpus
    usable = [i for i in range(len(gpus)) if site.gpu_pool(i) is not None and not gpus[i].unified]
    if not usable:
        return
    main = gpus[max(usable, key=lambda i: (gpus[i].memory_bytes or 0, -i))].backend
    chosen = tuple(i for i in usable if gpus[i].backend == main)
    if "experts-in-ram" in kinds and shape.moe_layers:
        for numa in _numa_ways(chosen, site):
            yield _fewest_experts(shape, chosen, site, attempt, numa)
    if "split" in kinds:
        for numa in _numa_ways(chosen, site):
            found = _most_layers(shape, chosen, site, attempt, numa)
            if found is not None:
                yield found


def _fewest_experts(shape: ModelShape, gpus: tuple[int, ...], site: Site, attempt: Try, numa: NumaWay) -> Attempt:
    """Experts of as few layers as possible in RAM: more experts there make the GPU's share smaller, never larger."""

    def at(count: int) -> Attempt:
        text = f"experts of {count} of {shape.moe_layers} layers in RAM, the rest in VRAM"
        return attempt(numa.place(Placement(kind="experts-in-ram", gpus=gpus, cpu_expert_layers=count, text=text)))

    low, high, best = 1, shape.moe_layers, at(shape.moe_layers)
    if _gpu_lacks(best, site):
        return best
    while low < high:
        middle = (low + high) // 2
        tried = at(middle)
        if _gpu_lacks(tried, site):
            low = middle + 1
        else:
            high, best = middle, tried
    return best


def _most_layers(shape: ModelShape, gpus: tuple[int, ...], site: Site, attempt: Try, numa: NumaWay) -> Attempt | None:
    """As many layers as possible in VRAM; None when not even one fits there."""

    def at(count: int) -> Attempt:
        text = f"{count} of {shape.layers} layers in VRAM, the rest in RAM"
        return attempt(numa.place(Placement(kind="split", gpus=gpus, gpu_layers=count, text=text)))

    low, high, best = 1, shape.layers, at(1)
    if _gpu_lacks(best, site):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        tried = at(middle)
        if _gpu_lacks(tried, site):
            high = middle - 1
        else:
            low, best = middle, tried
    return best


def _gpu_lacks(attempt: Attempt, site: Site) -> bool:
    kinds = {pool.id: pool.kind for pool in site.pools}
    return any(kinds[pool] == "gpu" for pool in attempt.missing)


def _on_cpu(site: Site, attempt: Try, *, copies: bool) -> Iterator[Attempt]:
    """One server, bound or interleaved; and one copy per NUMA node where several users can share them."""
    for numa in _numa_ways((), site):
        yield attempt(numa.place(Placement(kind="cpu", text="on the CPU")))
    nodes = site.hardware.compute_nodes
    if copies and len(nodes) > 1:
        ids = tuple(node.id for node in nodes)
        text = f"on the CPU, one copy bound to each of {len(ids)} NUMA nodes"
        yield attempt(Placement(kind="cpu", numa="bind", numa_nodes=ids, instances=len(ids), text=text))


class NumaWay(msgspec.Struct, frozen=True):
    """How RAM is used over NUMA nodes; the default where there is only one."""

    policy: Literal["none", "bind", "interleave"] = "none"
    nodes: tuple[int, ...] = ()
    text: str = ""

    def place(self, placement: Placement) -> Placement:
        """The placement with its RAM used in this way."""
        if not self.nodes:
            return placement
        return replace(placement, numa=self.policy, numa_nodes=self.nodes, text=f"{placement.text}, {self.text}")


def _numa_ways(gpus: tuple[int, ...], site: Site) -> tuple[NumaWay, ...]:
    """Bound to one node, the GPU's own or else the one with the most memory, and interleaved over all: which of them is
    faster is for the estimate to say."""
    nodes = site.hardware.compute_nodes
    if len(nodes) < 2:
        return (NumaWay(),)
    own = {site.hardware.gpus[index].numa_node for index in gpus}
    first = min(nodes, key=lambda node: (node.id not in own, -(node.memory_bytes or 0), node.id))
    everywhere = tuple(node.id for node in nodes)
    return (
        NumaWay("bind", (first.id,), f"bound to NUMA node {first.id}"),
        NumaWay("interleave", everywhere, f"interleaved over {len(nodes)} NUMA nodes"),
    )
