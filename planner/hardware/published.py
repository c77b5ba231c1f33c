"""Published figures added to what was read: the device table's bandwidth and peaks, the CPU series' memory."""

from __future__ import annotations

import re

import msgspec

from planner.catalog.records.device import CpuSeries, Device, DeviceTable
from planner.hardware.cpu import Topology
from planner.hardware.facts import Gpu, Hardware, Memory, SourceKind
from planner.hardware.findings import Findings
from planner.hardware.nvidia import MIG_COMPUTE_SLICES

_FILLED = ("architecture", "compute_capability", "power_watts")


def with_published(gpus: tuple[Gpu, ...], devices: DeviceTable | None, findings: Findings) -> tuple[Gpu, ...]:
    """Each GPU with its catalog id, bandwidth and peaks. Nothing read is replaced, except a bandwidth computed from
    clocks; a GPU the table lacks keeps unknown figures and gets a note."""
    if devices is None:
        return gpus
    return tuple(_published(gpu, devices, findings, i) for i, gpu in enumerate(gpus))


def _published(gpu: Gpu, devices: DeviceTable, findings: Findings, index: int) -> Gpu:
    path = f"gpus.{index}"
    name = gpu.slice_of or gpu.name
    device = devices.find_device(name, None if gpu.slice_of or gpu.unified else gpu.memory_bytes)
    if device is None:
        findings.note(f"{gpu.name}: not in the device catalog, so its speed is unknown unless measured")
        return gpu
    facts: dict[str, object] = {"device": device.id}
    for field in _FILLED:
        if getattr(gpu, field) is None:
            facts[field] = getattr(device, field)
    share = _share(gpu, device)
    facts["bandwidth_bytes_per_s"] = _scaled(device.bandwidth_bytes_per_s, share[0]) or gpu.bandwidth_bytes_per_s
    facts["fp16_flops_per_s"] = _scaled(device.fp16_flops_per_s, share[1])
    facts["fp32_flops_per_s"] = _scaled(device.fp32_flops_per_s, share[1])
    if gpu.memory_bytes is None and not gpu.unified and not gpu.slice_of:
        facts["memory_bytes"] = device.driver_memory_bytes or device.memory_bytes
        findings.note(f"{gpu.name}: its memory is the published figure, nothing here told it")
    for field, value in facts.items():
        if value is not None and value != getattr(gpu, field):
            source, note = ("catalog", device.source) if share == (1.0, 1.0) else ("derived", "the slice's share")
            findings.fact(f"{path}.{field}", "catalog" if source == "catalog" else "derived", note)
    return msgspec.structs.replace(gpu, **facts)


def _share(gpu: Gpu, device: Device) -> tuple[float | None, float | None]:
    """(memory, compute) share of a MIG slice: by its memory, and by the sevenths in its profile's name (`3g.40gb`, or
    `(3g)` where a text told only the multiprocessors)."""
    if gpu.slice_of is None:
        return 1.0, 1.0
    whole = device.driver_memory_bytes or device.memory_bytes
    profile = re.search(r"\b(\d)g(?:\.\d+gb|\))", gpu.name)
    memory = min(1.0, gpu.memory_bytes / whole) if gpu.memory_bytes and whole else None
    return memory, int(profile[1]) / MIG_COMPUTE_SLICES if profile else None


def _scaled(value: float | None, share: float | None) -> float | None:
    return None if value is None or share is None else value * share


def with_theoretical(hardware: Hardware, findings: Findings) -> Hardware:
    """Nodes that were not measured get their even part of the theoretical bandwidth, said to be that."""
    peak = hardware.memory.theoretical_bytes_per_s
    working = [node for node in hardware.numa_nodes if not node.memory_only]
    if peak is None or any(node.bandwidth_bytes_per_s is not None for node in working):
        return hardware
    known = findings.sources.get("memory.theoretical_bytes_per_s")
    kind: SourceKind = known.source if known else "derived"
    nodes = []
    for i, node in enumerate(hardware.numa_nodes):
        if node.memory_only:
            nodes.append(node)
            continue
        note = f"theoretical, not measured: channels x width x MT/s over {len(working)} nodes"
        findings.fact(f"numa_nodes.{i}.bandwidth_bytes_per_s", kind, note, "suspect")
        nodes.append(msgspec.structs.replace(node, bandwidth_bytes_per_s=peak / len(working)))
    return msgspec.structs.replace(hardware, numa_nodes=tuple(nodes))


def series_of(topology: Topology, devices: DeviceTable | None) -> CpuSeries | None:
    """The series of this CPU's model name, or of its core's name where /proc/cpuinfo holds only a part number."""
    if devices is None:
        return None
    for name in (topology.info.model, topology.info.part_name):
        series = devices.cpu_series(name) if name else None
        if series is not None:
            return series
    return None


def with_series(
    memory: Memory, series: CpuSeries | None, sockets: int | None, virtual: bool, findings: Findings
) -> Memory:
    """Theoretical bandwidth from the CPU's platform, where the modules themselves could not be read. A virtual
    machine's share of its host is unknown, so nothing is filled in there."""
    if series is None or virtual or memory.theoretical_bytes_per_s is not None or not sockets:
        return memory
    peak = series.socket_bandwidth_bytes_per_s
    if peak is None:
        return memory
    note = f"{series.name}: {series.channels} channels x {series.mt_per_s} MT/s a socket at most; modules not readable"
    findings.fact("memory.theoretical_bytes_per_s", "catalog", note, "suspect")
    return msgspec.structs.replace(memory, theoretical_bytes_per_s=peak * sockets)
