"""Which pools a placement uses, and how bytes in RAM are spread over nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.sizing.records import Placement, Pool


def gpu_pools(placement: Placement, pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
    """The pools of the placement's GPUs, in its order. Raises PlannerError when one has no known memory."""
    by_gpu = {pool.gpu: pool for pool in pools if pool.gpu is not None}
    missing = [index for index in placement.gpus if index not in by_gpu]
    if missing:
        raise PlannerError(f"GPU {missing[0]} has no known memory", hint="give --vram, or place the model elsewhere")
    return tuple(by_gpu[index] for index in placement.gpus)


def ram_pools(placement: Placement, pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
    """The pools of RAM that the placement uses: its NUMA nodes, else all nodes with memory, else unified memory."""
    ram = tuple(pool for pool in pools if pool.kind == "ram")
    if placement.numa_nodes:
        chosen = tuple(pool for pool in ram if pool.node in placement.numa_nodes)
        if chosen:
            return chosen
    return ram or tuple(pool for pool in pools if pool.kind == "unified")


def spread(total: int, weights: tuple[int, ...]) -> list[int]:
    """`total` in whole parts proportional to `weights`; the parts sum to it exactly."""
    whole = sum(weights) or 1
    parts, before, seen = [], 0, 0
    for weight in weights:
        seen += weight
        upto = total * seen // whole
        parts.append(upto - before)
        before = upto
    return parts


def ram_weights(placement: Placement, pools: tuple[Pool, ...]) -> tuple[int, ...]:
    """Shares of RAM pools: equal when pages are interleaved or bound to several nodes, else as the nodes have room."""
    if placement.numa != "none" or len(pools) == 1:
        return (1,) * len(pools)
    return tuple(max(pool.usable_bytes, 1) for pool in pools)
