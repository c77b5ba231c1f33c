"""Small pieces of a terminal view: memory bars and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from planner.units import format_gib, format_rate

if TYPE_CHECKING:
    from planner.speed.records import Range

BAR_WIDTH = 28


def memory_bar(used_bytes: float, usable_bytes: float, headroom_bytes: float = 0) -> Text:
    """A bar of used, headroom and free memory: `████░░·· 15.2 of 23.5 GiB`."""
    scale = BAR_WIDTH / usable_bytes if usable_bytes else 0.0
    used = min(BAR_WIDTH, round(used_bytes * scale))
    kept = min(BAR_WIDTH - used, round(headroom_bytes * scale))
    free = BAR_WIDTH - used - kept
    fits = used_bytes + headroom_bytes <= usable_bytes
    return Text.assemble(
        ("█" * used, "green" if fits else "red"),
        ("░" * kept, "yellow"),
        ("·" * free, "dim"),
        f" {used_bytes / 2**30:.1f} of {format_gib(usable_bytes)}",
    )


def range_text(value: Range | None, unit: str) -> str:
    """`28 tok/s (24-33)`, or `unknown`."""
    if value is None:
        return "unknown"
    return f"{format_rate(value.expected)} {unit} ({format_rate(value.low)}-{format_rate(value.high)})"


def seconds_text(value: Range | None) -> str:
    """`0.8 s (0.6-1.2)`; minutes above 120 s."""
    if value is None:
        return "unknown"
    scale, unit = (60.0, "min") if value.expected > 120 else (1.0, "s")
    low, mid, high = (part / scale for part in (value.low, value.expected, value.high))
    return f"{mid:.2g} {unit} ({low:.2g}-{high:.2g})" if mid < 10 else f"{mid:.0f} {unit} ({low:.0f}-{high:.0f})"
