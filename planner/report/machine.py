"""A machine at a glance: nodes, their memory and bandwidth, GPUs and links, and what is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from planner.units import format_gb_per_s, format_gib

if TYPE_CHECKING:
    from rich.console import RenderableType

    from planner.hardware.facts import Gpu, Hardware, NumaNode

MAX_NOTES = 8


def machine_view(hardware: Hardware) -> RenderableType:
    """Facts in one table each, every one with its source; unknown ones say how to learn them."""
    parts: list[RenderableType] = [overview_table(hardware), nodes_table(hardware)]
    if hardware.gpus:
        parts.append(gpus_table(hardware))
    if hardware.notes:
        parts.append(Text("Notes", style="bold"))
        parts += [Text(f"  - {note}") for note in hardware.notes[:MAX_NOTES]]
        if len(hardware.notes) > MAX_NOTES:
            parts.append(Text(f"  - and {len(hardware.notes) - MAX_NOTES} more: --json"))
    return Group(*parts)


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


def nodes_table(hardware: Hardware) -> RenderableType:
    """One row per NUMA node."""
    table = plain_table("NUMA nodes", "fact", "CPUs", "memory", "read bandwidth", "source", "distances")
    for index, node in enumerate(hardware.numa_nodes):
        path = f"numa_nodes.{index}.bandwidth_bytes_per_s"
        distances = " ".join(str(node.distances[key]) for key in sorted(node.distances))
        table.add_row(
            f"node {node.id}{'' if node.kind == 'dram' else f' {node.kind}'}",
            cpu_ranges(node),
            format_gib(node.memory_bytes),
            format_gb_per_s(node.bandwidth_bytes_per_s),
            source_of(hardware, path),
            distances,
        )
    return table


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


def gpus_table(hardware: Hardware) -> RenderableType:
    """One row per GPU: memory, bandwidth, link, node."""
    table = plain_table("GPUs", "fact", "name", "memory", "free", "bandwidth", "link", "node")
    for index, gpu in enumerate(hardware.gpus):
        table.add_row(
            f"gpu {index}",
            gpu.name,
            format_gib(gpu.memory_bytes),
            format_gib(gpu.working_set_bytes if gpu.unified else gpu.free_bytes),
            format_gb_per_s(gpu.bandwidth_bytes_per_s),
            link_text(gpu),
            known(gpu.numa_node),
        )
    return table


def link_text(gpu: Gpu) -> str:
    """`PCIe 4.0 x16`, `unified`, and NVLink peers."""
    if gpu.unified:
        return "unified memory"
    link = gpu.link
    text = "unknown" if link is None else f"{link.kind} gen {known(link.generation)} x{known(link.width)}"
    return text + (f", NVLink to {','.join(map(str, gpu.nvlink_peers))}" if gpu.nvlink_peers else "")
