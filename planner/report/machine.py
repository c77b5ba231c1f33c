"""A machine at a glance: nodes, their memory and bandwidth, GPUs and links, and what is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table

from planner.report.lines import bullet, columns, heading, wrapped
from planner.report.unknowns import unknown_facts
from planner.units import format_gb_per_s, format_gib

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from planner.hardware.facts import Gpu, Hardware, Link, Memory, NumaNode

MAX_NOTES = 8
DEEPER, DEEPEST = " " * 4, " " * 11
NODE_WIDTHS = (12, 26, 11, 26)


def machine_view(hardware: Hardware) -> RenderableType:
    """The machine, its nodes with the GPUs on them, what is unknown and how to learn it; within 80 columns."""
    parts: list[RenderableType] = [overview_table(hardware), *node_lines(hardware)]
    for title, sentences in (("Unknown, and how to learn it", unknown_facts(hardware)), ("Notes", notes(hardware))):
        if sentences:
            parts += heading(title)
        for sentence in sentences:
            parts += bullet(sentence)
    return Group(*parts)


def notes(hardware: Hardware) -> list[str]:
    """The first few notes, and how many more there are."""
    more = len(hardware.notes) - MAX_NOTES
    return [*hardware.notes[:MAX_NOTES], *([f"and {more} more: --json"] if more > 0 else [])]


def plain_table(title: str, *columns: str) -> Table:
    """A borderless table with a title."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, style="cyan" if column == "fact" else None)
    return table


def source_of(hardware: Hardware, *paths: str) -> str:
    """The source kind of the first path that has one."""
    for path in paths:
        fact = hardware.sources.get(path)
        if fact is not None:
            return fact.source
    return ""


def overview_table(hardware: Hardware) -> RenderableType:
    """CPU, memory, limits, system."""
    cpu, memory = hardware.cpu, hardware.memory
    table = plain_table("Machine", "fact", "value", "source")
    table.add_row("CPU", cpu.model or "unknown", source_of(hardware, "cpu.model"))
    counts = (
        f"{known(cpu.sockets)} socket(s), {known(cpu.cores)} cores, {known(cpu.threads)} threads,"
        f" {known(cpu.usable_cpus)} usable"
    )
    table.add_row("", counts, source_of(hardware, "cpu.cores"))
    if cpu.quota_cpus is not None:
        table.add_row("CPU quota", f"{cpu.quota_cpus:g} CPUs", source_of(hardware, "cpu.quota_cpus"))
    if cpu.isa:
        table.add_row("ISA", " ".join(cpu.isa), source_of(hardware, "cpu.isa"))
    total = f"{format_gib(memory.total_bytes)}, {format_gib(memory.available_bytes)} available"
    table.add_row("RAM", total, source_of(hardware, "memory.total_bytes"))
    if memory.limit_bytes is not None:
        table.add_row("limit", format_gib(memory.limit_bytes), source_of(hardware, "memory.limit_bytes"))
    if memory.theoretical_bytes_per_s is not None:
        path = "memory.theoretical_bytes_per_s"
        rate = format_gb_per_s(memory.theoretical_bytes_per_s) + doubt_of(hardware, path)
        table.add_row("modules", modules_text(memory, rate), source_of(hardware, path))
    system = " ".join(part for part in (hardware.os.name, hardware.os.release) if part) or "unknown"
    place = ", ".join(part for part in (hardware.virtualization, hardware.container) if part)
    table.add_row("system", f"{system}{f' ({place})' if place else ''}", source_of(hardware, "os.name"))
    balancing = {True: "NUMA balancing on", False: "NUMA balancing off", None: ""}[hardware.os.numa_balancing]
    pages = hardware.os.transparent_hugepages
    settings = [balancing, f"transparent huge pages: {pages}" if pages else ""]
    if any(settings):
        table.add_row("", ", ".join(text for text in settings if text), source_of(hardware, "os.transparent_hugepages"))
    return table


def modules_text(memory: Memory, rate: str) -> str:
    """`DDR5, 16 channels x 4800 MT/s = 614 GB/s`; without the modules' own word what the processor's series can do."""
    if memory.channels is None or memory.mt_per_s is None:
        return f"{memory.type or 'RAM'}, at most {rate} (the processor's series)"
    return f"{memory.type or 'RAM'}, {memory.channels} channels x {memory.mt_per_s} MT/s = {rate}"


def known(value: object) -> str:
    """The value, or a question mark."""
    return "?" if value is None else str(value)


def node_lines(hardware: Hardware) -> list[Text]:
    """Each NUMA node with its memory, its bandwidth and the GPUs that hang on it; then the GPUs of no known node."""
    sockets = {node.package for node in hardware.numa_nodes if node.cpus}
    each = sum(1 for node in hardware.numa_nodes if node.cpus) // max(1, len(sockets))
    title = "NUMA nodes and their GPUs" if hardware.gpus else "NUMA nodes"
    lines = heading(title + (f" ({each} a socket: SNC or NPS)" if each > 1 and None not in sockets else ""))
    for index, node in enumerate(hardware.numa_nodes):
        lines += node_text(hardware, index, node)
        for number, gpu in enumerate(hardware.gpus):
            if gpu.numa_node == node.id:
                lines += gpu_text(hardware, number, gpu)
    nodes = {node.id for node in hardware.numa_nodes}
    loose = [(number, gpu) for number, gpu in enumerate(hardware.gpus) if gpu.numa_node not in nodes]
    if loose or not nodes:
        lines += wrapped("node unknown")
    for number, gpu in loose:
        lines += gpu_text(hardware, number, gpu)
    return lines


def node_text(hardware: Hardware, index: int, node: NumaNode) -> list[Text]:
    """One row, and under it the way to the other nodes."""
    name = f"node {node.id}{'' if node.kind == 'dram' else f' {node.kind}'}"
    rate = with_source(hardware, node.bandwidth_bytes_per_s, f"numa_nodes.{index}.bandwidth_bytes_per_s")
    cpus = f"CPUs {cpu_ranges(node)}" if node.cpus else "no CPUs"
    lines = [columns((name, cpus, format_gib(node.memory_bytes), f"read {rate}"), NODE_WIDTHS)]
    if not node.allowed:
        lines += wrapped("the cpuset forbids its memory", first=DEEPER, rest=DEEPER)
    if node.side_cache_bytes:
        cache = f"slower memory behind {format_gib(node.side_cache_bytes)} of DRAM as its cache (2LM)"
        lines += wrapped(cache, first=DEEPER, rest=DEEPER)
    ways = ways_text(node)
    if ways:
        lines += wrapped(f"distance to {ways}", first=DEEPER, rest=DEEPER, most=2)
    return lines


def ways_text(node: NumaNode) -> str:
    """`node 1: 21 (96.0 GB/s), nodes 2-3: 31`: the other nodes by distance, with what was measured on the way."""
    groups: dict[tuple[int, float | None], list[int]] = {}
    for other in sorted(set(node.distances) - {node.id}):
        key = (node.distances[other], node.remote_bandwidth_bytes_per_s.get(other))
        groups.setdefault(key, []).append(other)
    parts = []
    for (distance, remote), others in groups.items():
        rate = f" ({format_gb_per_s(remote)})" if remote else ""
        parts.append(f"node{'s' if len(others) > 1 else ''} {ranges(others)}: {distance}{rate}")
    return ", ".join(parts)


def gpu_text(hardware: Hardware, number: int, gpu: Gpu) -> list[Text]:
    """The name, and under it memory, bandwidth and links."""
    free = gpu.working_set_bytes if gpu.unified else gpu.free_bytes
    memory = "memory unknown" if gpu.memory_bytes is None else format_gib(gpu.memory_bytes)
    if free is not None:
        memory += f" ({format_gib(free)} {'usable' if gpu.unified else 'free'})"
    memory += ", ECC" if gpu.ecc else ""
    rate = with_source(hardware, gpu.bandwidth_bytes_per_s, f"gpus.{number}.bandwidth_bytes_per_s")
    rate = "bandwidth unknown" if gpu.bandwidth_bytes_per_s is None else rate
    name = wrapped(f"gpu {number}  {gpu.name}", first=DEEPER, rest=DEEPEST, most=1)
    lines = [wrapped(text, first=DEEPEST, rest=DEEPEST) for text in (f"{memory}, {rate}", link_text(gpu))]
    return [*name, *lines[0], *lines[1]]


def with_source(hardware: Hardware, bytes_per_s: float | None, path: str) -> str:
    """`182 GB/s measured`, a question mark behind a doubtful one, or `unknown`."""
    if bytes_per_s is None:
        return "unknown"
    return f"{format_gb_per_s(bytes_per_s)} {source_of(hardware, path)}{doubt_of(hardware, path)}".rstrip()


def doubt_of(hardware: Hardware, path: str) -> str:
    """A question mark where the fact is doubtful."""
    fact = hardware.sources.get(path)
    return "?" if fact is not None and fact.state == "suspect" else ""


def cpu_ranges(node: NumaNode) -> str:
    """`0-15,32-47`, every fourth as `0-76/4`, or `none` for a memory-only node."""
    cpus = sorted(node.cpus)
    step = cpus[1] - cpus[0] if len(cpus) > 2 else 0
    if step > 1 and cpus == list(range(cpus[0], cpus[-1] + 1, step)):
        return f"{cpus[0]}-{cpus[-1]}/{step}"
    return ranges(cpus) or "none"


def ranges(numbers: list[int]) -> str:
    """Sorted numbers as `0-3,8`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def link_text(gpu: Gpu) -> str:
    """`PCIe 4.0 x16 (31.5 GB/s)` and what an idle link is at now, `NVLink-C2C`, `unified memory`; peers behind it."""
    link = gpu.link
    if gpu.unified:
        text = "unified memory"
    elif link is None:
        text = "link unknown"
    else:
        pcie = f"PCIe {known(link.generation)}.0 x{known(link.width)}"
        text = {"pcie": pcie, "nvlink-c2c": "NVLink-C2C", "on-die": "on the die"}[link.kind]
        text += "" if link.bytes_per_s is None else f" ({format_gb_per_s(link.bytes_per_s)})"
        text += now_text(link)
    text += f", NVLink to gpu {ranges(sorted(gpu.nvlink_peers))}" if gpu.nvlink_peers else ""
    direct = sorted(set(gpu.p2p_peers) - set(gpu.nvlink_peers))
    return text + (f", reads gpu {ranges(direct)} directly" if direct else "")


def now_text(link: Link) -> str:
    """`, now 1.0 x8`: what an idle card's link dropped to; a width that stays down under load is the slot's."""
    now = (link.current_generation or link.generation, link.current_width or link.width)
    if now == (link.generation, link.width):
        return ""
    return f", now {known(now[0])}.0 x{known(now[1])} (idle{' or its slot' if now[1] != link.width else ''})"
