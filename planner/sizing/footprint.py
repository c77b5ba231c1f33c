"""The memory of one model under one quant, runtime and server: totals, named parts, and bytes per pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec.structs import replace

from planner.sizing.artifact import PLAIN
from planner.sizing.demand import Demand, memory_demand
from planner.sizing.identity import IdentityCache
from planner.sizing.place import Placed, loaded_bytes, place
from planner.sizing.quantize import quantize_as
from planner.sizing.records import Footprint, Part

if TYPE_CHECKING:
    from planner.catalog.records.quant import Quant
    from planner.sizing.artifact import Made, QuantizedModel
    from planner.sizing.records import Allocation, ExpandedModel, Placement, Pool, Runtime

_ROLE_NAMES: Final = {
    "embedding": "embedding",
    "output": "output head",
    "attention": "attention",
    "ffn": "feed-forward",
    "expert": "routed experts",
    "shared_expert": "shared experts",
    "router": "routers",
    "norm": "norms",
    "state": "recurrent layers",
    "lookup": "lookup tables",
    "vision": "vision encoder",
    "audio": "audio encoder",
    "mtp": "next-token prediction",
    "other": "other tensors",
}
_weight_parts: IdentityCache[tuple[Part, ...]] = IdentityCache(8192)


def size_model(
    expanded: ExpandedModel,
    quant: Quant,
    runtime: Runtime,
    allocation: Allocation,
    *,
    server: str,
    made: Made = PLAIN,
    placement: Placement | None = None,
    pools: tuple[Pool, ...] = (),
) -> Footprint:
    """Bytes of the model by part, and by pool when a placement is given.

    Without a placement everything lies in one memory: no copies, one work buffer. Raises PlannerError for an unknown
    quant or recipe, and for cache types that the server refuses."""
    quantized = quantize_as(expanded, quant, made)
    ranks = placement.tensor_parallel if placement else 1
    demand = memory_demand(expanded, runtime, allocation, ranks, len(quantized.blocks))
    if placement is None:
        placed = _unplaced(quantized, demand, allocation)
    else:
        placed = place(expanded, quantized, runtime, allocation, placement, pools, demand)
    return Footprint(
        model=expanded.shape.id,
        quant=quant.id,
        server=server,
        file_bytes=quantized.file_bytes,
        tensor_bytes=quantized.tensor_bytes,
        weights_bytes=placed.weights_bytes,
        kv_cache_bytes=placed.kv_cache_bytes,
        state_bytes=placed.state_bytes,
        compute_bytes=placed.compute_bytes,
        overhead_bytes=placed.overhead_bytes,
        bits_per_weight=quantized.bits_per_weight,
        read_bytes_per_token=quantized.read_bytes_per_token,
        kv_bytes_per_token=demand.growing_bytes,
        parts=_parts(quantized, demand, allocation, placed),
        pools=placed.uses,
        context_tokens=runtime.context_tokens,
        parallel=runtime.parallel,
        notes=quantized.notes,
    )


def _unplaced(quantized: QuantizedModel, demand: Demand, allocation: Allocation) -> Placed:
    return Placed(
        uses=(),
        weights_bytes=loaded_bytes(quantized, allocation),
        kv_cache_bytes=demand.kv_bytes,
        state_bytes=demand.state_bytes,
        compute_bytes=demand.compute.bytes,
        overhead_bytes=demand.output_bytes + allocation.device_overhead_bytes,
    )


def _parts(quantized: QuantizedModel, demand: Demand, allocation: Allocation, placed: Placed) -> tuple[Part, ...]:
    parts = list(_weights(quantized, allocation))
    copied = placed.weights_bytes - loaded_bytes(quantized, allocation)
    if copied > 0:
        note = "the tied embedding is held on the host and again as output on the GPU"
        parts.append(Part(name="copy of the tied embedding", bytes=copied, basis="measured", note=note))
    estimated = allocation.policy != "llama.cpp"
    basis: Literal["assumed", "exact"] = "assumed" if estimated else "exact"
    error = 0.05 if estimated else 0.0
    if placed.kv_cache_bytes:
        parts.append(Part(name="KV cache", bytes=placed.kv_cache_bytes, basis=basis, error_fraction=error))
    if placed.state_bytes:
        parts.append(Part(name="recurrent state", bytes=placed.state_bytes, basis=basis, error_fraction=error))
    parts.append(replace(demand.compute, bytes=placed.compute_bytes))
    if demand.output_bytes:
        parts.append(Part(name="output buffer", bytes=demand.output_bytes, basis="exact"))
    context = placed.overhead_bytes - demand.output_bytes
    if context:
        note = allocation.device_overhead_source
        parts.append(Part(name="device context", bytes=context, basis="assumed", error_fraction=0.5, note=note))
    return tuple(parts)


def _weights(quantized: QuantizedModel, allocation: Allocation) -> tuple[Part, ...]:
    def build() -> tuple[Part, ...]:
        basis: Literal["fitted", "exact"] = "fitted" if quantized.error_fraction else "exact"
        skipped = {"vision", "audio"} if allocation.policy == "mlx" else set()
        return tuple(
            Part(name=_ROLE_NAMES[role], bytes=size, basis=basis, error_fraction=quantized.error_fraction)
            for role, size in quantized.role_bytes
            if role not in skipped
        )

    return _weight_parts.value((quantized,), (allocation.policy,), build)
