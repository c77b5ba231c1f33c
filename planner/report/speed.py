"""A speed estimate for a person: ranges, what bounds them, and every term when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from planner.report.bars import range_text, seconds_text
from planner.units import format_tokens

if TYPE_CHECKING:
    from rich.console import RenderableType

    from planner.speed.records import Speed


def speed_view(model: str, quant: str, speed: Speed, *, explain: bool = False) -> RenderableType:
    """Low / expected / high of each figure, with depth and users stated."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan")
    table.add_column()
    users = "single user" if speed.concurrency == 1 else f"{speed.concurrency} users"
    table.add_row("decode", f"{range_text(speed.decode_tokens_per_s, 'tok/s')} per user at {at_depth(speed)}, {users}")
    table.add_row("prefill", range_text(speed.prefill_tokens_per_s, "tok/s"))
    table.add_row("first token", f"{seconds_text(speed.ttft_s)} for a prompt of {format_tokens(speed.prompt_tokens)}")
    table.add_row("all users", range_text(speed.aggregate_tokens_per_s, "tok/s"))
    table.add_row("bound by", speed.bound_by)
    where = speed.placement.text if speed.placement else "unknown"
    parts: list[RenderableType] = [Text(f"{model} {quant}: {where}", style="bold"), table]
    if explain and speed.terms:
        parts.append(terms_table(speed))
    parts += [Text(f"  - {source}") for source in speed.sources]
    return Group(*parts)


def at_depth(speed: Speed) -> str:
    """`8k depth`."""
    return f"{format_tokens(speed.depth_tokens)} depth"


def terms_table(speed: Speed) -> RenderableType:
    """Every term of the time of a token, in milliseconds, so that the sum can be redone on paper."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("term", style="cyan")
    table.add_column("ms", justify="right")
    table.add_column("how", overflow="fold")
    for term in speed.terms:
        table.add_row(term.name, f"{term.seconds * 1e3:.2f}", term.text)
    return table
