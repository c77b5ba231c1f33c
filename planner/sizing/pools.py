"""The machine's memories as pools, and where the parts of a placement go among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.sizing.place import place
from planner.sizing.records import Pool

if TYPE_CHECKING:
    from planner.hardware.facts import Gpu, Hardware, NumaNode

__all__ = ["machine_pools", "place"]


def machine_pools(hardware: Hardware) -> tuple[Pool, ...]:
    """Every memory that a plan may use: `gpu0`, ..., then `ram` or `node0`, ... (one per NUMA node), or `unified`.

    An integrated GPU beside a discrete one gets no pool: it would share the RAM that the CPU works in. A memory whose
    size is not known is left out."""
    discrete = tuple(_gpu_pool(index, gpu) for index, gpu in enumerate(hardware.gpus) if not gpu.unified)
    known = tuple(pool for pool in discrete if pool is not None)
    if hardware.unified and not discrete:
        return _unified_pools(hardware)
    return known + _ram_pools(hardware)


def _gpu_pool(index: int, gpu: Gpu) -> Pool | None:
    if gpu.memory_bytes is None:
        return None
    return Pool(
        id=f"gpu{index}",
        kind="gpu",
        capacity_bytes=gpu.memory_bytes,
        usable_bytes=max(gpu.memory_bytes - (gpu.reserved_bytes or 0), 0),
        free_bytes=gpu.free_bytes,
        bandwidth_bytes_per_s=gpu.bandwidth_bytes_per_s,
        gpu=index,
        node=gpu.numa_node,
    )


def _unified_pools(hardware: Hardware) -> tuple[Pool, ...]:
    index, gpu = next((i, gpu) for i, gpu in enumerate(hardware.gpus) if gpu.unified)
    capacity = hardware.memory.total_bytes or gpu.memory_bytes
    if capacity is None:
        return ()
    limits = (hardware.ram_bytes, gpu.working_set_bytes, gpu.memory_bytes)
    return (
        Pool(
            id="unified",
            kind="unified",
            capacity_bytes=capacity,
            usable_bytes=min([capacity, *(limit for limit in limits if limit is not None)]),
            free_bytes=hardware.memory.available_bytes,
            bandwidth_bytes_per_s=gpu.bandwidth_bytes_per_s or hardware.ram_bandwidth_bytes_per_s,
            gpu=index,
            nodes=tuple(node.id for node in hardware.plan_nodes),
        ),
    )


def _ram_pools(hardware: Hardware) -> tuple[Pool, ...]:
    """One pool per NUMA node where there are several and all sizes are known, else one for all RAM."""
    nodes = tuple(node for node in hardware.plan_nodes if node.kind != "gpu")
    sizes = [node.memory_bytes for node in nodes]
    if len(nodes) < 2 or any(size is None for size in sizes):
        return _one_ram_pool(hardware, nodes)
    whole = sum(size for size in sizes if size is not None)
    usable = min(hardware.ram_bytes or whole, whole)
    free = hardware.memory.available_bytes
    return tuple(
        Pool(
            id=f"node{node.id}",
            kind="ram",
            capacity_bytes=node.memory_bytes or 0,
            # A container's limit and reserved pages are of the whole machine: each node bears its share.
            usable_bytes=(node.memory_bytes or 0) * usable // whole if whole else 0,
            free_bytes=None if free is None or not whole else (node.memory_bytes or 0) * free // whole,
            bandwidth_bytes_per_s=node.bandwidth_bytes_per_s,
            node=node.id,
            nodes=(node.id,),
        )
        for node in nodes
    )


def _one_ram_pool(hardware: Hardware, nodes: tuple[NumaNode, ...]) -> tuple[Pool, ...]:
    usable = hardware.ram_bytes
    if usable is None:
        return ()
    total = hardware.memory.total_bytes
    return (
        Pool(
            id="ram",
            kind="ram",
            capacity_bytes=max(usable, total or 0),
            usable_bytes=usable,
            free_bytes=hardware.memory.available_bytes,
            bandwidth_bytes_per_s=hardware.ram_bandwidth_bytes_per_s,
            node=nodes[0].id if len(nodes) == 1 else None,
            nodes=tuple(node.id for node in nodes),
        ),
    )
