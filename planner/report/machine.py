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

    from planner.hardware.facts import Gpu, Hardware, NumaNode

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
        text = f"{memory.type or 'RAM'}, {known(memory.channels)} channels x {known(memory.mt_per_s)} MT/s"
        text += f" = {format_gb_per_s(memory.theoretical_bytes_per_s)}"
        table.add_row("modules", text, source_of(hardware, "memory.theoretical_bytes_per_s"))
    system = " ".join(part for part in (hardware.os.name, hardware.os.release) if part) or "unknown"
    place = ", ".join(part for part in (hardware.virtualization, hardware.container) if part)
    table.add_row("system", f"{system}{f' ({place})' if place else ''}", source_of(hardware, "os.name"))
    return table


def known(value: object) -> str:
    """The value, or a question mark."""
    return "?" if value is None else str(value)


def node_lines(hardware: Hardware) -> list[Text]:
    """Each NUMA node with its memory, its bandwidth and the GPUs that hang on it; then the GPUs of no known node."""
    lines = heading("NUMA nodes and their GPUs" if hardware.gpus else "NUMA nodes")
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
    ways = []
    for other in sorted(set(node.distances) - {node.id}):
        remote = node.remote_bandwidth_bytes_per_s.get(other)
        ways.append(f"node {other}: {node.distances[other]}{f' ({format_gb_per_s(remote)})' if remote else ''}")
    if ways:
        lines += wrapped(f"distance to {', '.join(ways)}", first=DEEPER, rest=DEEPER, most=2)
    return lines


def gpu_text(hardware: Hardware, number: int, gpu: Gpu) -> list[Text]:
    """The name, and under it memory, bandwidth and links."""
    free = gpu.working_set_bytes if gpu.unified else gpu.free_bytes
    memory = "memory unknown" if gpu.memory_bytes is None else format_gib(gpu.memory_bytes)
    if free is not None:
        memory += f" ({format_gib(free)} {'usable' if gpu.unified else 'free'})"
    rate = with_source(hardware, gpu.bandwidth_bytes_per_s, f"gpus.{number}.bandwidth_bytes_per_s")
    rate = "bandwidth unknown" if gpu.bandwidth_bytes_per_s is None else rate
    name = wrapped(f"gpu {number}  {gpu.name}", first=DEEPER, rest=DEEPEST, most=1)
    lines = [wrapped(text, first=DEEPEST, rest=DEEPEST) for text in (f"{memory}, {rate}", link_text(gpu))]
    return [*name, *lines[0], *lines[1]]


def with_source(hardware: Hardware, bytes_per_s: float | None, path: str) -> str:
    """`182 GB/s measured`, a question mark behind a doubtful one, or `unknown`."""
    if bytes_per_s is None:
        return "unknown"
    fact = hardware.sources.get(path)
    doubt = "?" if fact is not None and fact.state == "suspect" else ""
    return f"{format_gb_per_s(bytes_per_s)} {source_of(hardware, path)}{doubt}".rstrip()


def cpu_ranges(node: NumaNode) -> str:
    """`0-15,32-47`, or `none` for a memory-only node."""
    if not node.cpus:
        return "none"
    ranges: list[list[int]] = []
    for cpu in sorted(node.cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def link_text(gpu: Gpu) -> str:
    """`PCIe 4.0 x16 (31.5 GB/s)`, `NVLink-C2C`, `unified memory`; NVLink peers behind it."""
    link = gpu.link
    if gpu.unified:
        text = "unified memory"
    elif link is None:
        text = "link unknown"
    else:
        pcie = f"PCIe {known(link.generation)}.0 x{known(link.width)}"
        text = {"pcie": pcie, "nvlink-c2c": "NVLink-C2C", "on-die": "on the die"}[link.kind]
        text += "" if link.bytes_per_s is None else f" ({format_gb_per_s(link.bytes_per_s)})"
    return text + (f", NVLink to gpu {', '.join(map(str, gpu.nvlink_peers))}" if gpu.nvlink_peers else "")
