"""Everything behind a recommendation: `--explain` and `--why-not`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from planner.report.cost import cost_lines
from planner.report.lines import bullet, heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.catalog.records import Model
    from planner.planning.cost import Cost
    from planner.planning.plan import Answer, Rejected

MAX_LOSERS = 25


def explanation_view(answer: Answer, cost: Cost | None = None) -> Text:
    """Reasons, warnings, terms of the speed, runners-up and the first losers; the JSON holds all."""
    plan = answer.plan
    row = plan.matrix_row
    lines = heading(f"Row {row.id}: {row.title} (cost: {row.cost})")
    for reason in plan.reasons:
        lines += bullet(f"{reason.text} [{reason.rule}]")
    if plan.warnings:
        lines += heading("All warnings")
        for warning in plan.warnings:
            lines += bullet(f"{warning.severity}: {warning.text} [{warning.rule_id}]")
    for service in plan.services:
        lines += heading(f"Speed of {service.name}, term by term")
        for term in service.speed.terms:
            lines += bullet(f"{term.name}: {term.text}")
        for source in service.speed.sources:
            lines += bullet(source)
    if cost is not None:
        lines += cost_lines(cost)
    lines += heading("Losers")
    for loser in answer.rejected[:MAX_LOSERS]:
        name = " ".join(part for part in (loser.model, loser.quant, loser.server) if part)
        lines += bullet(f"{name}: {loser.text}")
    rest = len(answer.rejected) - MAX_LOSERS
    if rest > 0:
        lines += bullet(f"{rest} more: --json has all")
    return Text("\n").join(lines)


def why_not_view(model: Model, losses: Sequence[Rejected]) -> Text:
    """What became of each way to run one model, the best that fits first; no loss means that it is the plan."""
    if not losses:
        return Text(f"{model.name} is the plan")
    lines = heading(f"Why not {model.name}")
    for loser in losses[:MAX_LOSERS]:
        where = " ".join(part for part in (loser.quant, loser.server, loser.placement) if part)
        lines += bullet(f"{where}: {loser.text}" if where else loser.text)
    return Text("\n").join(lines)
