"""The Pareto view for a person: one line an option, best quality first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from planner.report.bars import range_text
from planner.report.lines import bullet, clipped, columns, heading
from planner.units import format_tokens

if TYPE_CHECKING:
    from planner.planning.pareto import Front, Option

MAX_DOMINATED = 20
_WIDTHS = (7, 22, 7, 38)


def pareto_view(front: Front, title: str) -> Text:
    """Options that nothing dominates, where the plan stands, and dominated ones as far as they were asked for."""
    lines = heading(f"Pareto view for {title}: quality, speed and context at once")
    lines.append(columns(("quality", "decode", "context", "model and quant, server, placement"), _WIDTHS))
    for option in front.options:
        lines += _option_lines(option)
    if front.plan is not None:
        lines += _plan_lines(front.plan)
    if front.dominated:
        lines += heading("Dominated")
        for option in front.dominated[:MAX_DOMINATED]:
            lines += _option_lines(option)
        rest = len(front.dominated) - MAX_DOMINATED
        if rest > 0:
            lines += bullet(f"{rest} more: --json has all")
    return Text("\n").join(lines)


def _option_lines(option: Option) -> list[Text]:
    rate = range_text(option.decode_tokens_per_s, "tok/s")
    reach = format_tokens(option.context // 1024 * 1024 or option.context)
    cells = (f"{option.ability:.1f}", rate, reach, clipped(option.label, _WIDTHS[-1]))
    where = [option.placement.text, *option.missed_targets]
    if not option.useful:
        where.append("too weak to be of much use")
    if option.dominated_by:
        where.append(f"dominated by {option.dominated_by}")
    return [columns(cells, _WIDTHS), columns(("", "", "", "; ".join(where)), _WIDTHS)]


def _plan_lines(plan: Option) -> list[Text]:
    if plan.dominated_by is None:
        return bullet(f"the plan is {plan.label}: nothing here dominates it")
    reasons = "the order of `recommend` weighs the row's server and quants, targets and headroom before speed"
    return bullet(f"the plan is {plan.label}, which {plan.dominated_by} dominates: {reasons}")
