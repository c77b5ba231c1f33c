"""A measurement for a person: a row per number of users, then measured beside predicted."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from planner.report.lines import WIDTH, bullet, clipped, heading
from planner.units import format_rate

if TYPE_CHECKING:
    from rich.console import RenderableType

    from planner.bench.records import Bench, Distribution, Figure, Level

_NAMES = {"decode": "decode each", "prefill": "prefill", "ttft": "first token", "aggregate": "all users"}
_COLOURS = {"inside": "green", "below": "red", "above": "yellow"}


def bench_view(result: Bench) -> RenderableType:
    """Levels, the server's own figures, the comparison, and what to know."""
    parts: list[RenderableType] = [*heading(clipped(_title(result), WIDTH)), _levels(result)]
    own = [line for level in result.levels for line in _own(level)]
    if own:
        parts += [Text(), *heading("The server's own figures"), *own]
    if any(level.predicted for level in result.levels):
        parts += [Text(), *heading(f"Predicted {result.placement or ''} (80 % range)"), _comparison(result)]
    if result.notes:
        parts += [Text(), *(line for note in result.notes for line in bullet(note))]
    return Group(*parts)


def _title(result: Bench) -> str:
    served = result.served
    model = " ".join(part for part in (result.model or PurePath(served.id).name, result.quant) if part)
    server = " ".join(part for part in (served.server or "an unknown server", served.build) if part)
    first = result.levels[0]
    prompt = "unknown" if first.prompt_tokens is None else first.prompt_tokens
    return f"{model} on {server}: {prompt} tokens in, {first.output_tokens} out"


def _levels(result: Bench) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("users", "first token", "p90", "between tokens", "decode each", "prefill", "all users"):
        table.add_column(name, justify="right")
    table.add_row("", "s", "s", "ms, p50 p90 p99", "tok/s", "tok/s", "tok/s", style="dim")
    for level in result.levels:
        table.add_row(
            str(level.concurrency),
            f"{level.ttft_s.p50:.2f}",
            f"{level.ttft_s.p90:.2f}",
            _gaps(level.inter_token_s),
            format_rate(level.decode_tokens_per_s),
            format_rate(level.prefill_tokens_per_s),
            format_rate(level.aggregate_tokens_per_s),
        )
    return table


def _gaps(gaps: Distribution | None) -> str:
    return "-" if gaps is None else " ".join(f"{value * 1e3:.1f}" for value in (gaps.p50, gaps.p90, gaps.p99))


def _own(level: Level) -> list[Text]:
    """`1 user: decode 27.4 tok/s (ours -0.3 %)`, with where it was read."""
    if level.server is None:
        return []
    own = level.server
    pairs = (
        ("decode", level.decode_tokens_per_s, own.decode_tokens_per_s),
        ("prefill", level.prefill_tokens_per_s, own.prefill_tokens_per_s),
    )
    said = [
        f"{name} {format_rate(theirs)} tok/s" + (f" (ours {ours / theirs - 1:+.1%})" if ours else "")
        for name, ours, theirs in pairs
        if theirs
    ]
    users = "1 user" if level.concurrency == 1 else f"{level.concurrency} users"
    return bullet(f"{users}: {', '.join(said)}; {own.source}") if said else []


def _comparison(result: Bench) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("users", justify="right")
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("predicted", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("range")
    for level in result.levels:
        for figure in level.predicted:
            table.add_row(str(level.concurrency), _NAMES[figure.name], *_compared(figure))
    return table


def _compared(figure: Figure) -> tuple[str, str, str, Text]:
    show = (lambda value: f"{value:.2f}") if figure.unit == "s" else format_rate
    return (
        f"{show(figure.measured)} {figure.unit}",
        f"{show(figure.expected)} ({show(figure.low)}-{show(figure.high)})",
        f"{figure.measured / figure.expected:.2f}",
        Text(figure.verdict, style=_COLOURS[figure.verdict]),
    )
