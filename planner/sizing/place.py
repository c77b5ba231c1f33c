"""A placement turned into bytes per pool: weights, caches and buffers, and what one token reads where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from planner.sizing.demand import memory_demand
from planner.sizing.layout import FIELDS, Bin, Layout
from planner.sizing.records import PoolUse
from planner.sizing.targets import gpu_pools, ram_pools, ram_weights, spread

if TYPE_CHECKING:
    from planner.sizing.artifact import QuantizedModel
    from planner.sizing.demand import Demand
    from planner.sizing.records import Allocation, ExpandedModel, Placement, Pool, Runtime


class Placed(msgspec.Struct, frozen=True):
    """Bytes per pool, and the sums of one instance."""

    uses: tuple[PoolUse, ...]
    weights_bytes: int
    kv_cache_bytes: int
    state_bytes: int
    compute_bytes: int
    overhead_bytes: int


def loaded_bytes(quantized: QuantizedModel, allocation: Allocation) -> int:
    """Weights in memory: the text model, and the encoders where the server loads them (mlx-lm does not)."""
    unused = quantized.encoder_bytes if allocation.policy == "mlx" else 0
    return quantized.weights_bytes - unused


def place(
    expanded: ExpandedModel,
    quantized: QuantizedModel,
    runtime: Runtime,
    allocation: Allocation,
    placement: Placement,
    pools: tuple[Pool, ...],
    demand: Demand | None = None,
) -> Placed:
    """Bytes of every pool that the placement uses; `demand` where it was worked out before. Raises PlannerError for a
    GPU whose memory is not known, and for cache types that the engine refuses."""
    gpus = gpu_pools(placement, pools)
    if demand is None:
        demand = memory_demand(expanded, runtime, allocation, placement.tensor_parallel, len(quantized.blocks))
    layout = Layout(quantized, demand, allocation, placement, gpus)
    layout.lay_blocks()
    layout.lay_frame()
    layout.lay_buffers()
    uses = [_use(pool.id, own) for pool, own in zip(gpus, layout.gpus, strict=True)]
    bins = list(layout.gpus)
    if layout.host not in bins:
        bins.append(layout.host)
        uses += _in_ram(layout.host, placement, ram_pools(placement, pools))
    return _summed(uses, bins)


def _summed(uses: list[PoolUse], bins: list[Bin]) -> Placed:
    whole = Bin()
    for own in bins:
        whole.weights_bytes += own.weights_bytes
        whole.kv_cache_bytes += own.kv_cache_bytes
        whole.state_bytes += own.state_bytes
        whole.compute_bytes += own.compute_bytes
        whole.overhead_bytes += own.overhead_bytes
    return Placed(
        tuple(uses),
        whole.weights_bytes,
        whole.kv_cache_bytes,
        whole.state_bytes,
        whole.compute_bytes,
        whole.overhead_bytes,
    )


def _use(pool: str, own: Bin) -> PoolUse:
    return PoolUse(
        pool=pool,
        weights_bytes=own.weights_bytes,
        kv_cache_bytes=own.kv_cache_bytes,
        state_bytes=own.state_bytes,
        compute_bytes=own.compute_bytes,
        overhead_bytes=own.overhead_bytes,
        dense_read_bytes=own.dense_read_bytes,
        expert_read_bytes=own.expert_read_bytes,
        expert_bytes=own.expert_bytes,
        layers=own.layers,
        cache_share=own.cache_share,
    )


def _in_ram(host: Bin, placement: Placement, pools: tuple[Pool, ...]) -> list[PoolUse]:
    """The host's share in RAM: one pool, a copy in each, or spread over them."""
    if not host.weights_bytes and not host.compute_bytes and not host.overhead_bytes:
        return []
    if not pools:
        return [_use("ram", host)]
    if len(pools) == 1:
        return [_use(pools[0].id, host)]
    if placement.instances > 1:
        return [_use(pool.id, host) for pool in pools]
    weights = ram_weights(placement, pools)
    parts = {name: spread(getattr(host, name), weights) for name in FIELDS}
    share = host.cache_share / sum(weights)
    return [
        PoolUse(
            pool=pool.id,
            cache_share=share * weights[index],
            **{name: parts[name][index] for name in FIELDS},
        )
        for index, pool in enumerate(pools)
    ]
