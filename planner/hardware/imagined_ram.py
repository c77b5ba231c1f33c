"""Memory and processors of an imagined machine: named, given as totals, or a platform's default."""

from __future__ import annotations

import re

import msgspec

from planner.catalog.records.device import CpuSeries, Device, DeviceTable
from planner.errors import PlannerError, UnknownName, UsageError
from planner.hardware.facts import Cpu, Gpu, Hardware, Memory, NumaNode, Os, SourceKind
from planner.hardware.findings import Findings
from planner.units import GIB, format_gb_per_s

# Platform defaults of the device catalog: an ordinary desktop, and a server where the machine is larger than a desktop
# can be (four slots of 64 GiB, one memory node). Low on purpose: a plan that holds there holds on the real machine.
DESKTOP, DESKTOP_CORES = "desktop-2x-ddr4-3200-am4-lga1200", 8
SERVER, SERVER_CORES = "epyc-7002-7003-8x-ddr4-3200-per-socket", 32
DESKTOP_MOST_BYTES = 256 * GIB
LOCAL_DISTANCE, REMOTE_DISTANCE = (
    10,
    20,
)  # ACPI 6.5, SLIT: 10 is local; 20 is what firmware states when it measured none


class RamWish(msgspec.Struct, frozen=True, kw_only=True):
    """Memory and processors asked for, in bytes and bytes per second, all of them totals of the machine."""

    cpu: str | None = None
    cores: int | None = None
    ram_bytes: int | None = None
    bandwidth_bytes_per_s: float | None = None
    numa_nodes: int = 1


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """The named processor: its series or platform, and how many sockets."""

    name: str | None = None
    sockets: int = 1
    series: CpuSeries | None = None
    platform: Device | None = None

    @property
    def bandwidth_bytes_per_s(self) -> float | None:
        """Theoretical read bandwidth of all sockets."""
        per_socket = self.series.socket_bandwidth_bytes_per_s if self.series else None
        if per_socket is None and self.platform:
            per_socket = self.platform.bandwidth_bytes_per_s
        return None if per_socket is None else per_socket * self.sockets


def find_processor(wish: RamWish, devices: DeviceTable) -> Processor:
    """The named CPU, `2x EPYC 9654` for two sockets. Raises UnknownName, and UsageError when cores contradict it."""
    if wish.cpu is None:
        return Processor()
    match = re.fullmatch(r"\s*(?:([1-8])\s*x\s+)?(.+?)\s*", wish.cpu, re.IGNORECASE | re.DOTALL)
    if match is None:
        raise UsageError("--cpu is empty", hint='write it like "EPYC 9654" or "2x Xeon Gold 6430"')
    sockets, name = int(match[1] or 1), match[2]
    series = devices.cpu_series(name)
    platform = None
    if series is None:
        try:
            platform = devices.device(name)
        except UnknownName as error:
            raise UnknownName("processor", name, error.matches, hint=_cpu_hint(error)) from error
        if platform.kind not in {"cpu", "apu"}:
            raise UsageError(f"{platform.name} is no processor", hint="use --gpu or --apple for it")
    if series and series.cores and wish.cores and series.cores * sockets != wish.cores:
        raise UsageError(
            f"--cores {wish.cores} contradicts --cpu {wish.cpu!r}, which has {series.cores * sockets} cores",
            hint="give one of them",
        )
    name = series.name if series else platform.name if platform else name
    return Processor(name=name, sockets=sockets, series=series, platform=platform)


def _cpu_hint(error: PlannerError) -> str:
    return f"{error.hint or 'give its figures instead'}, or give --cores and --ram-bandwidth"


def assumed_platform(wish: RamWish) -> str:
    """The catalog id of the platform assumed where nothing better is known."""
    large = (wish.ram_bytes or 0) > DESKTOP_MOST_BYTES or wish.numa_nodes > 1
    return SERVER if large or (wish.cores or 0) > 2 * DESKTOP_CORES else DESKTOP


def imagine_cpu(wish: RamWish, processor: Processor, findings: Findings, *, larger: bool) -> Cpu:
    """The processors: given, of the named CPU, or the platform's default with a note."""
    series = processor.series
    cores: int | None
    if wish.cores is not None:
        cores = wish.cores
        findings.fact("cpu.cores", "given", "--cores")
    elif series is not None and series.cores is not None:
        cores = series.cores * processor.sockets
        findings.fact("cpu.cores", "catalog", series.source)
    else:
        cores = SERVER_CORES * max(1, min(2, wish.numa_nodes)) if larger else DESKTOP_CORES
        findings.fact("cpu.cores", "assumed", "replace it with --cpu or --cores")
        findings.note(f"the CPU is assumed to have {cores} cores: give --cpu or --cores")
    sockets = processor.sockets if processor.name else None
    cpu = Cpu(
        model=processor.name,
        sockets=sockets,
        cores=cores,
        threads=cores,
        usable_cpus=cores,
        allowed_cpus=tuple(range(cores)),
        isa=series.isa if series else (),
    )
    for name in ("threads", "usable_cpus", "allowed_cpus"):
        findings.fact(f"cpu.{name}", "derived", "one a core: a second thread adds nothing to decoding")
    if sockets:
        findings.fact("cpu.model", "given", "--cpu")
        findings.fact("cpu.sockets", "given", "--cpu")
    findings.cover("cpu", cpu, "catalog", series.source if series else None)
    return cpu


def ram_bandwidth(
    wish: RamWish, processor: Processor, platform_id: str, devices: DeviceTable, findings: Findings
) -> tuple[float | None, SourceKind, str]:
    """(total read bandwidth, source, note): given, else of the named CPU, else of the assumed platform."""
    if wish.bandwidth_bytes_per_s is not None:
        return wish.bandwidth_bytes_per_s, "given", "--ram-bandwidth, split evenly over the nodes"
    peak = processor.bandwidth_bytes_per_s
    if peak is not None:
        return peak, "catalog", f"{processor.name}: channels x 8 bytes x MT/s, theoretical"
    platform = devices.find_device(platform_id)
    if platform is None or platform.bandwidth_bytes_per_s is None:
        findings.notes.insert(0, "RAM bandwidth is unknown: give --ram-bandwidth")
        return None, "assumed", "no platform default in the device table"
    sockets = min(2, wish.numa_nodes) if platform_id == SERVER else 1
    total = platform.bandwidth_bytes_per_s * sockets
    what = f"{sockets} x {platform.name}" if sockets > 1 else platform.name
    findings.notes.insert(
        0, f"RAM bandwidth is assumed to be {format_gb_per_s(total)} ({what}): give --ram-bandwidth or --cpu"
    )
    return total, "assumed", f"{what}; replace it with --ram-bandwidth or --cpu"


def assemble(
    wish: RamWish,
    processor: Processor,
    cpu: Cpu,
    bandwidth: tuple[float | None, SourceKind, str],
    gpus: tuple[Gpu, ...],
    findings: Findings,
) -> Hardware:
    """The whole machine, its totals split over the nodes."""
    count = wish.numa_nodes if wish.numa_nodes > 1 else processor.sockets
    rate, source, note = bandwidth
    nodes = split_nodes(count, cpu.cores or 0, wish.ram_bytes, rate)
    series = processor.series
    memory = Memory(
        total_bytes=wish.ram_bytes,
        type=series.memory_type if series else None,
        channels=series.channels * processor.sockets if series and series.channels else None,
        mt_per_s=series.mt_per_s if series else None,
        theoretical_bytes_per_s=processor.bandwidth_bytes_per_s,
    )
    if wish.ram_bytes is not None:
        findings.fact("memory.total_bytes", "given", "--ram")
    else:
        findings.unknown("memory.total_bytes", "--ram was not given")
    findings.cover("memory", memory, "catalog", series.source if series else None)
    for i, node in enumerate(nodes):
        if rate is not None:
            findings.fact(f"numa_nodes.{i}.bandwidth_bytes_per_s", source, note)
        findings.cover(f"numa_nodes.{i}", node, "derived", "the machine's totals split evenly")
    findings.fact("os.name", "assumed", "not an Apple chip")
    return Hardware(cpu=cpu, numa_nodes=nodes, memory=memory, gpus=gpus, os=Os(name="linux"))


def split_nodes(
    count: int, cores: int, ram_bytes: int | None, bandwidth_bytes_per_s: float | None
) -> tuple[NumaNode, ...]:
    """Equal nodes; what does not divide evenly goes to the first ones."""
    nodes, first = [], 0
    for i in range(count):
        cpus = cores // count + (1 if i < cores % count else 0)
        nodes.append(
            NumaNode(
                id=i,
                cpus=tuple(range(first, first + cpus)),
                memory_bytes=None if ram_bytes is None else ram_bytes // count + (1 if i < ram_bytes % count else 0),
                distances={j: LOCAL_DISTANCE if i == j else REMOTE_DISTANCE for j in range(count)},
                bandwidth_bytes_per_s=None if bandwidth_bytes_per_s is None else bandwidth_bytes_per_s / count,
                memory_only=False,
            )
        )
        first += cpus
    return tuple(nodes)
