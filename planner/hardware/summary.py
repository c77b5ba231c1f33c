"""A machine in one line, by what tells it from another."""

from __future__ import annotations

from collections import Counter

from planner.hardware.facts import Hardware
from planner.units import format_gib


def machine_line(hardware: Hardware) -> str:
    """`2 x GeForce RTX 3090 (24.0 GiB), 128.0 GiB RAM, 16 cores, 2 NUMA nodes`; what is not known is left out."""
    cards = Counter((gpu.name, gpu.memory_bytes, gpu.unified) for gpu in hardware.gpus)
    parts = [_card(count, name, None if unified else size) for (name, size, unified), count in cards.items()]
    if hardware.ram_bytes is not None:
        parts.append(f"{format_gib(hardware.ram_bytes)} RAM")
    if hardware.cpu.model is not None and hardware.cpu.model not in {gpu.name for gpu in hardware.gpus}:
        parts.append(hardware.cpu.model)
    if hardware.cpu.cores is not None:
        parts.append(f"{hardware.cpu.cores} cores")
    if len(hardware.plan_nodes) > 1:
        parts.append(f"{len(hardware.plan_nodes)} NUMA nodes")
    return ", ".join(parts) or "a machine of which nothing is known"


def _card(count: int, name: str, memory_bytes: int | None) -> str:
    size = f" ({format_gib(memory_bytes)})" if memory_bytes is not None else ""
    return f"{f'{count} x ' if count > 1 else ''}{name}{size}"
