"""Everything behind a recommendation: `--explain` and `--why-not`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from planner.report.cost import cost_lines
from planner.report.lines import WIDTH, bullet, clipped, heading
from planner.report.order_table import order_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.catalog.records import Model
    from planner.planning.cost import Cost
    from planner.planning.plan import Answer, Decision, Rejected

MAX_LOSERS = 25


def explanation_view(answer: Answer, cost: Cost | None = None) -> Text:
    """Reasons, warnings, terms of the speed, runners-up and the first losers; the JSON holds all."""
    plan = answer.plan
    lines = decision_lines(answer.decision) if answer.decision else []
    lines += heading("Reasons")
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
    losers = [loser for loser in answer.rejected if loser.reason_id != "kind"]
    for loser in losers[:MAX_LOSERS]:
        name = " ".join(part for part in (loser.model, loser.quant, loser.server) if part)
        lines += bullet(f"{name}: {loser.text}")
    rest = len(answer.rejected) - len(losers[:MAX_LOSERS])
    if rest > 0:
        lines += bullet(f"{rest} more: --json has all, --why-not MODEL those of one model")
    return Text("\n").join(lines)


def decision_lines(decision: Decision) -> list[Text]:
    """What a reader needs to decide again: facts, row, bands, and the values of the first places at every level."""
    row = decision.row
    lines = heading(clipped(f"Row {row.id}: {row.title}", WIDTH))
    lines += bullet(f"cost: {row.cost}")
    lines += bullet(f"facts that hold here: {', '.join(decision.facts)}")
    lines += bullet(f"the first row whose facts all hold: {', '.join(row.when) or 'it asks for none'}")
    lines += bullet(f"servers {', '.join(row.servers)}; device {row.device}; quants {', '.join(row.quants) or 'any'}")
    axis = decision.axis
    if axis is not None:
        edges = ", ".join(f"{edge:g}" for edge in axis.band_edges)
        useful = f"; of use from {axis.useful_from:g}" if axis.useful_from is not None else ""
        lines += bullet(f"ability on the axis {axis.id}, in size doublings less the quant's loss{useful}")
        lines += bullet(f"a band is the number of edges at or below it: {edges}")
    lines += bullet(_targets(decision))
    lines += bullet("speed bands: floor(2 x log2(tok/s)); headroom bands: tenths of the tightest memory left free")
    lines += heading("The first places: less is better but for bands; < marks where one falls behind")
    return lines + order_lines(decision)


def _targets(decision: Decision) -> str:
    rate, wait = decision.targets.decode_tokens_per_s, decision.targets.ttft_s
    named = [f"decode {rate:g} tok/s"] if rate is not None else []
    named += [f"first token {wait:g} s"] if wait is not None else []
    return f"targets: {', '.join(named) or 'none'}; a miss counts in factors of 1.4"


def why_not_view(model: Model, losses: Sequence[Rejected]) -> Text:
    """What became of each way to run one model, the best that fits first; no loss means that it is planned."""
    if not losses:
        return Text(f"{model.name} is the plan")
    groups: dict[tuple[str, str | None], list[Rejected]] = {}
    for loser in losses:
        groups.setdefault((loser.text, loser.placement), []).append(loser)
    lines = heading(f"Why not {model.name}")
    for (text, placement), same in list(groups.items())[:MAX_LOSERS]:
        where = " ".join(part for part in (_ways(same), placement) if part)
        lines += bullet(f"{where}: {text}" if where else text)
    rest = sum(len(same) for same in list(groups.values())[MAX_LOSERS:])
    if rest:
        lines += bullet(f"{rest} ways more: --json has all")
    return Text("\n").join(lines)


def _ways(same: Sequence[Rejected]) -> str:
    """`Q4_K_M on ollama and localai`, `Q4_K_M and Q5_K_M on ollama`, or the pairs one by one."""
    pairs = [(loser.quant, loser.server) for loser in same if loser.quant and loser.server]
    quants = list(dict.fromkeys(quant for quant, _ in pairs))
    servers = list(dict.fromkeys(server for _, server in pairs))
    if len(set(pairs)) == len(quants) * len(servers) > 0:
        return f"{_listed(quants)} on {_listed(servers)}"
    return ", ".join(f"{quant} on {server}" for quant, server in dict.fromkeys(pairs))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
