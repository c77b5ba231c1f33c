"""The devices of a machine as readers of memory: bandwidth, compute units, arithmetic, and what is only assumed."""

from __future__ import annotations

import math
from typing import Final

from planner.hardware.facts import Cpu, Gpu, Hardware, NumaNode
from planner.sizing.records import Placement, Pool, Record
from planner.speed.constants import Cores, CpuCores, DeviceGroup, SpeedConstants

CPU_ISA_ORDER = ("avx512", "avx2", "neon", "other")
AMD_NAMES: Final = {"authenticamd", "amd", "ryzen", "epyc"}
CORES_PER_DIE: Final = 8


class Reader(Record, kw_only=True):
    """One device and the memory it computes from. `bandwidth_bytes_per_s` is the published rate (`measured` when it
    was measured here), `unit_clock_per_s` compute units x Hz, `fused_dies` a GPU of two dies (Apple's Ultra), each
    reading the other's memory over the bridge, `cores` CPU cores that may run, `links_bytes_per_s` what the links of
    their dies carry together, `isa` the widest vector set that constants exist for. `remarks` become `Speed.sources`;
    `doubts` widen the range."""

    device: DeviceGroup
    name: str
    bandwidth_bytes_per_s: float | None
    measured: bool = False
    unit_clock_per_s: float | None = None
    flops_per_s: float | None = None
    cores: float | None = None
    links_bytes_per_s: float | None = None
    isa: str = "other"
    architecture: str = ""
    apple_cores: int | None = None
    fused_dies: bool = False
    gpu: Gpu | None = None
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def gpu_reader(hardware: Hardware, index: int, pool: Pool | None, constants: SpeedConstants) -> Reader:
    """The GPU `index` of the machine. Its bandwidth is the card's, or that of the pool it lies in."""
    gpu = hardware.gpus[index]
    apple = gpu.vendor == "apple"
    bandwidth = gpu.bandwidth_bytes_per_s or (pool.bandwidth_bytes_per_s if pool else None)
    fact = hardware.sources.get(f"gpus.{index}.bandwidth_bytes_per_s")
    unit_clock = gpu_unit_clock(gpu, constants.cores)
    generation = apple_generation(gpu) if apple else ""
    doubts = ["assumed_bandwidth"] if fact and fact.source == "assumed" else []
    remarks = []
    if bandwidth is None:
        remarks.append(f"{gpu.name}: memory bandwidth unknown: give --gpu-bandwidth, or name the card with --gpu")
    if unit_clock is None:
        doubts.append("unknown_clock")
        remarks.append(f"{gpu.name}: compute units and clock unknown: bandwidth alone decides, range widened")
    if not gpu.fp16_flops_per_s and not gpu.fp32_flops_per_s and not (apple and gpu.cores):
        doubts.append("unknown_compute")
    return Reader(
        device="apple" if apple else "gpu",
        name=gpu.name,
        bandwidth_bytes_per_s=bandwidth,
        measured=bool(fact and fact.source == "measured"),
        unit_clock_per_s=unit_clock,
        flops_per_s=max(gpu.fp16_flops_per_s or 0.0, gpu.fp32_flops_per_s or 0.0) or None,
        architecture=generation if apple else (gpu.architecture or "").casefold(),
        apple_cores=gpu.cores if apple else None,
        fused_dies=apple and "ultra" in gpu.name.casefold(),
        gpu=gpu,
        remarks=tuple(remarks),
        doubts=tuple(doubts),
    )


def apple_generation(gpu: Gpu) -> str:
    """`m4` of an Apple GPU whose architecture or name says M4; empty when neither does."""
    words = f"{gpu.architecture or ''} {gpu.name}".casefold().replace("-", " ").split()
    return next((word for word in words if len(word) <= 3 and word[0] == "m" and word[1:].isdigit()), "")


def gpu_unit_clock(gpu: Gpu, cores: Cores) -> float | None:
    """Compute units x Hz: FP32 FLOP/s over FLOPs per unit and clock; Apple: cores x clock of the generation."""
    if gpu.vendor == "apple":
        ghz = cores.apple_clock_ghz.get(apple_generation(gpu)) or max(cores.apple_clock_ghz.values())
        return gpu.cores * ghz * 1e9 if gpu.cores else None
    if gpu.fp32_flops_per_s is None:
        return None
    return gpu.fp32_flops_per_s / flops_per_unit_clock(gpu, cores)


def flops_per_unit_clock(gpu: Gpu, cores: Cores) -> int:
    """FP32 FLOPs of one SM or CU per clock: 256 with 128 lanes or dual issue, 128 with 64 lanes."""
    table = cores.flops_per_unit_clock
    by_capability = table.get(f"sm {gpu.compute_capability}")
    if by_capability is not None:
        return by_capability
    architecture = (gpu.architecture or "").casefold()
    return next((flops for key, flops in table.items() if architecture.startswith(key)), table["default"])


def cpu_reader(hardware: Hardware, placement: Placement, pools: tuple[Pool, ...], cpu: CpuCores) -> Reader:
    """The CPU over the memory of `pools`, under the placement's NUMA policy."""
    nodes = _nodes(hardware, placement, pools)
    if placement.instances > 1:
        nodes = (min(nodes, key=lambda node: _node_rate(hardware, node) or 0.0),) if nodes else ()
    bandwidth, remarks, measured = _ram_bandwidth(hardware, placement, nodes, pools, cpu)
    assumed = any(_source(hardware, node) == "assumed" for node in nodes)
    cores = usable_cores(hardware, nodes, cpu)
    doubts = ["assumed_bandwidth"] if assumed else []
    if cores is None:
        doubts.append("unknown_cores")
        remarks += ("CPU cores unknown: memory bandwidth alone decides, range widened: give --cores",)
    return Reader(
        device="cpu",
        name=hardware.cpu.model or "CPU",
        bandwidth_bytes_per_s=bandwidth,
        measured=measured,
        cores=cores,
        links_bytes_per_s=None if measured else links_bytes_per_s(hardware, nodes, cpu),
        isa=vector_set(hardware.cpu),
        remarks=remarks,
        doubts=tuple(doubts),
    )


def vector_set(cpu: Cpu) -> str:
    """`avx512`, `avx2`, `neon` or `other`: the widest set that the CPU names."""
    flags = {flag.casefold() for flag in cpu.isa}
    if any(flag.startswith("avx512") for flag in flags):
        return "avx512"
    if "avx2" in flags:
        return "avx2"
    if flags & {"neon", "asimd", "asimddp", "sve", "i8mm"} or (cpu.architecture or "") in {"aarch64", "arm64"}:
        return "neon"
    return "avx2" if not flags and (cpu.architecture or "x86_64") in {"x86_64", "amd64"} else "other"


def links_bytes_per_s(hardware: Hardware, nodes: tuple[NumaNode, ...], constants: CpuCores) -> float | None:
    """AMD's core dies each reach memory over a link of their own; other makers' cores share one fabric: None. Dies are
    counted by their third-level caches, else 8 cores each (Zen 3 and later)."""
    cpu = hardware.cpu
    if not AMD_NAMES & set((cpu.vendor or cpu.model or "").casefold().replace("threadripper", "ryzen").split()):
        return None
    dies = sum(cache.instances for cache in cpu.caches if cache.level == 3)
    if not dies:
        if not cpu.cores:
            return None
        dies = math.ceil(cpu.cores / CORES_PER_DIE)
    return dies * _cpu_share(hardware, nodes) * constants.link_gb_per_s * 1e9


def usable_cores(hardware: Hardware, nodes: tuple[NumaNode, ...], constants: CpuCores) -> float | None:
    """Physical cores that may work on these nodes, small cores counted at their share; None when unknown."""
    cpu = hardware.cpu
    total = _weighted_cores(cpu, constants)
    if total is None:
        return None
    if cpu.threads and cpu.usable_cpus and cpu.usable_cpus < cpu.threads:
        total *= cpu.usable_cpus / cpu.threads
    total *= _cpu_share(hardware, nodes)
    if cpu.quota_cpus:
        total = min(total, cpu.quota_cpus / min(max(cpu.threads_per_core, 1.0), 2.0))
    return total


def _weighted_cores(cpu: Cpu, constants: CpuCores) -> float | None:
    if cpu.core_types:
        small = constants.small_core_factor
        return sum(kind.cores * (1.0 if not _small(kind.name) else small) for kind in cpu.core_types) or None
    if cpu.cores:
        return float(cpu.cores)
    known = cpu.usable_cpus or cpu.threads
    return known / 2 if known and known > 1 else known


def _small(name: str) -> bool:
    return name.casefold() in {"e", "lpe", "lp-e", "efficiency", "atom", "small", "little"}


def _cpu_share(hardware: Hardware, nodes: tuple[NumaNode, ...]) -> float:
    """The share of the machine's CPUs that belong to these nodes; all of them where none has any."""
    working = [node for node in hardware.plan_nodes if not node.memory_only]
    named = [node for node in nodes if not node.memory_only]
    if not named or len(named) >= len(working):
        return 1.0
    cpus = sum(len(node.cpus) for node in working)
    return sum(len(node.cpus) for node in named) / cpus if cpus else len(named) / len(working)


def _nodes(hardware: Hardware, placement: Placement, pools: tuple[Pool, ...]) -> tuple[NumaNode, ...]:
    """The nodes whose memory is read: those of the placement, else of the pools, else all with CPUs."""
    wanted = set(placement.numa_nodes)
    if not wanted:
        wanted = {pool.node for pool in pools if pool.node is not None} | {n for pool in pools for n in pool.nodes}
    chosen = tuple(node for node in hardware.plan_nodes if node.id in wanted)
    return chosen or tuple(node for node in hardware.plan_nodes if not node.memory_only)


def _source(hardware: Hardware, node: NumaNode) -> str | None:
    index = next(i for i, other in enumerate(hardware.numa_nodes) if other.id == node.id)
    fact = hardware.sources.get(f"numa_nodes.{index}.bandwidth_bytes_per_s")
    return fact.source if fact else None


def _ram_bandwidth(
    hardware: Hardware, placement: Placement, nodes: tuple[NumaNode, ...], pools: tuple[Pool, ...], cpu: CpuCores
) -> tuple[float | None, tuple[str, ...], bool]:
    """The read rate of RAM as one pool, what to say about it, and whether it was measured."""
    rates = [_node_rate(hardware, node) for node in nodes]
    known = [rate for rate in rates if rate is not None]
    if not known or len(known) < len(rates):
        fallback = pools[0].bandwidth_bytes_per_s if len(pools) == 1 else None
        unknown = "RAM bandwidth unknown: `planner probe` measures it, or give --ram-bandwidth"
        return fallback, () if fallback else (unknown,), False
    measured = all(_source(hardware, node) in {"measured", "calibrated"} for node in nodes)
    total = sum(known)
    if len(nodes) == 1:
        return total, (), measured
    if placement.numa == "interleave" or (placement.numa == "bind" and placement.numa_nodes):
        blended = _interleaved(nodes)
        rate = blended or total * cpu.interleave_factor
        how = "remote rates measured" if blended else f"x {cpu.interleave_factor:g} of the sum, remote reads"
        return rate, (f"memory interleaved over {len(nodes)} NUMA nodes: {how}",), measured
    remark = f"pages not placed over {len(nodes)} NUMA nodes: x {cpu.unplaced_factor:g} of the summed bandwidth"
    return total * cpu.unplaced_factor, (remark,), measured


def _node_rate(hardware: Hardware, node: NumaNode) -> float | None:
    """What a node's memory delivers: to its own cores, or (memory only) to the best-connected node's."""
    if not node.memory_only:
        return node.bandwidth_bytes_per_s
    rates = [other.remote_bandwidth_bytes_per_s.get(node.id) for other in hardware.plan_nodes]
    known = [rate for rate in rates if rate is not None]
    return max(known) if known else node.bandwidth_bytes_per_s


def _interleaved(nodes: tuple[NumaNode, ...]) -> float | None:
    """Every node's cores read an equal part from each node: n / sum(1 / rate) per node, where all are measured."""
    total = 0.0
    for node in nodes:
        if node.memory_only:
            continue
        others = [node.remote_bandwidth_bytes_per_s.get(other.id) for other in nodes if other.id != node.id]
        local = node.bandwidth_bytes_per_s
        known = [rate for rate in (local, *others) if rate]
        if len(known) < len(nodes):
            return None
        total += len(nodes) / sum(1.0 / rate for rate in known)
    return total or None
