"""The machine behind a measured row, as the planner would know it, and where the model lay."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from planner.catalog.catalog import Catalog
from planner.errors import PlannerError
from planner.hardware.facts import Cache, CoreType, Cpu, Gpu, Hardware, NumaNode, Os
from planner.sizing.records import Placement, Pool

GB = 1e9
ROOM = 1 << 50  # bytes: whether a published run fitted is not in question
ISA_FLAGS = {"avx512": ("avx512f",), "avx2": ("avx2",), "neon": ("neon",), "other": ("sse4_2",)}


def machine(row: dict[str, str], catalog: Catalog, hosts: Any) -> tuple[Hardware, tuple[Pool, ...], Placement]:
    cards = int(row["n_devices"])
    unplaced = row["quality"] == "numa_bad" or "no NUMA placement" in row["note"]
    nodes = 1 if "pages placed by" in row["note"] else int(row["numa_nodes"] or 1)
    numa_nodes = tuple(range(nodes)) if nodes > 1 and not unplaced else ()
    policy = "interleave" if numa_nodes else "none"
    host_rate = float(row["host_bw_gbs"] or 0) * GB or (float(row["mem_bw_gbs"]) * GB if row["kind"] == "cpu" else 0.0)
    ram = tuple(
        NumaNode(id=n, cpus=(n,), memory_bytes=ROOM, bandwidth_bytes_per_s=host_rate / nodes or None)
        for n in range(nodes)
    )
    ram_pools = tuple(
        Pool(id=f"node{n}", kind="ram", capacity_bytes=ROOM, usable_bytes=ROOM, node=n) for n in range(nodes)
    )
    if row["kind"] == "cpu":
        return (
            Hardware(cpu=cpu_of(row, hosts), numa_nodes=ram),
            ram_pools,
            Placement(kind="cpu", numa=policy, numa_nodes=numa_nodes),
        )  # type: ignore[arg-type]
    gpus = tuple(gpu_of(row, catalog) for _ in range(cards))
    hardware = Hardware(cpu=cpu_of(row, hosts), numa_nodes=ram, gpus=gpus, os=Os(name=row["system"] or None))
    if row["kind"] == "apple":
        pool = Pool(id="unified", kind="unified", capacity_bytes=ROOM, usable_bytes=ROOM, gpu=0)
        return hardware, (pool,), Placement(kind="unified", gpus=(0,))
    cards_pools = tuple(
        Pool(id=f"gpu{n}", kind="gpu", capacity_bytes=ROOM, usable_bytes=ROOM, gpu=n) for n in range(cards)
    )
    indexes = tuple(range(cards))
    if row["parallel"] == "tensor":
        placement = Placement(kind="tensor-parallel", gpus=indexes, tensor_parallel=cards)
    else:
        placement = Placement(kind="multi-gpu" if cards > 1 else "gpu", gpus=indexes)
    if row["kind"] == "hybrid":
        placement = msgspec.structs.replace(placement, numa=policy, numa_nodes=numa_nodes)  # type: ignore[arg-type]
        return hardware, cards_pools + ram_pools, placement
    return hardware, cards_pools, placement


def cpu_of(row: dict[str, str], hosts: Any) -> Cpu:
    """Cores that worked and the vector set; a thread count in the note decides."""
    host = hosts.get(row["host_cpu"])
    if host is None:
        return Cpu(isa=ISA_FLAGS["other"])
    big, small = int(host["cores"]), int(host["small_cores"])
    threads = re.search(r"n_threads=(\d+)|^(\d+) threads|, (\d+) threads", row["note"])
    if threads and row["kind"] in {"cpu", "hybrid"}:
        count = int(next(group for group in threads.groups() if group))
        big = min(big, count)
        small = min(small, max(0, count - big))
    kinds = (CoreType(name="P", cores=big, threads=big), CoreType(name="E", cores=small, threads=small))
    dies = (Cache(level=3, size_bytes=0, instances=int(host["dies"])),) if host["dies"] else ()
    return Cpu(cores=big + small, isa=ISA_FLAGS[host["isa"]], core_types=kinds if small else (), caches=dies,
               model=row["host_cpu"])  # fmt: skip


def gpu_of(row: dict[str, str], catalog: Catalog) -> Gpu:
    device = None
    try:
        device = catalog.device(row["device"])
    except PlannerError:
        peak = float(row["fp16_tensor_tflops"] or 0) * 1e12 or None
        return Gpu(vendor="other", name=row["device"], backend="cuda", architecture=row["arch"], fp16_flops_per_s=peak,
                   bandwidth_bytes_per_s=float(row["mem_bw_gbs"]) * GB)  # fmt: skip
    vendor: Any = device.vendor.casefold()
    return Gpu(
        vendor=vendor,
        name=device.name,
        backend="cuda",
        architecture=row["arch"].removeprefix("apple-") if row["kind"] == "apple" else device.architecture,
        bandwidth_bytes_per_s=float(row["mem_bw_gbs"]) * GB,
        fp32_flops_per_s=device.fp32_flops_per_s,
        fp16_flops_per_s=device.fp16_flops_per_s,
        compute_capability=device.compute_capability,
        cores=int(row["gpu_cores"]) if row["gpu_cores"] else device.gpu_cores,
        unified=row["kind"] == "apple",
    )
