"""Footprints for a person: one with its parts, or many in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from planner.units import GIB, format_gib, format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from planner.sizing.records import Footprint


def footprint_view(footprint: Footprint) -> RenderableType:
    """Every part with how its figure came about, the total, and what a token reads."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("part", style="cyan")
    table.add_column("GiB", justify="right")
    table.add_column("basis")
    table.add_column("note", overflow="fold")
    for part in footprint.parts:
        error = f" ±{part.error_fraction:.0%}" if part.error_fraction else ""
        table.add_row(part.name, f"{part.bytes / GIB:.2f}", part.basis + error, part.note or "")
    table.add_row("total", f"{footprint.total_bytes / GIB:.2f}", "", "", style="bold")
    title = f"{footprint.model} {footprint.quant} on {footprint.server}"
    title += f", {format_tokens(footprint.context_tokens)} context x {footprint.parallel}"
    facts = (
        f"file {format_gib(footprint.file_bytes, 2)}, {footprint.bits_per_weight:.2f} bits per weight,"
        f" {footprint.read_bytes_per_token / 1e9:.2f} GB of weights read per token,"
        f" {footprint.kv_bytes_per_token / 1024:.0f} KiB of KV cache per token"
    )
    notes = [Text(f"  - {note}") for note in footprint.notes]
    return Group(Text(title, style="bold"), table, Text(facts), *notes)


def footprints_view(footprints: Sequence[Footprint], *, by: Literal["quant", "context"]) -> RenderableType:
    """A table over quants or over contexts."""
    first = footprints[0]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in (by, "file", "bpw", "weights", "KV cache", "state", "buffers", "total", "read/token"):
        table.add_column(name, justify="left" if name == by else "right")
    for item in footprints:
        table.add_row(
            item.quant if by == "quant" else format_tokens(item.context_tokens),
            f"{item.file_bytes / GIB:.2f}",
            f"{item.bits_per_weight:.2f}",
            f"{item.weights_bytes / GIB:.2f}",
            f"{item.kv_cache_bytes / GIB:.2f}",
            f"{item.state_bytes / GIB:.2f}",
            f"{(item.compute_bytes + item.overhead_bytes) / GIB:.2f}",
            f"{item.total_bytes / GIB:.2f}",
            f"{item.read_bytes_per_token / GIB:.2f}",
        )
    fixed = first.quant if by == "context" else f"{format_tokens(first.context_tokens)} context"
    return Group(Text(f"{first.model}, {fixed} x {first.parallel} on {first.server}, GiB", style="bold"), table)
