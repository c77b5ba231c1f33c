"""The answer of `planner recommend` on one screen: what, does it fit, how fast, why, what next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from planner.report.bars import memory_bar, range_text, seconds_text
from planner.units import format_gib, format_tokens

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from planner.catalog.records import Model
    from planner.planning.plan import Answer, Plan
    from planner.servers.records import Service

MAX_REASONS = 4
MAX_WARNINGS = 3


def recommendation_view(answer: Answer, *, top: int = 3, plan_file: Path | None = None) -> RenderableType:
    """The first screen: at most 30 lines of 80 columns for one or two services."""
    plan = answer.plan
    parts: list[RenderableType] = [Text(f"Plan for {plan.workload.title}", style="bold")]
    parts += [service_lines(service) for service in plan.services]
    parts += [memory_lines(plan), Text("Why", style="bold"), reason_lines(plan)]
    if plan.warnings:
        parts += [Text("Mind", style="bold"), warning_lines(plan)]
    if top and answer.alternatives:
        parts += [Text("Runners-up", style="bold"), alternatives_table(answer, top)]
    parts.append(Text.assemble(("Next: ", "bold"), next_command(plan, plan_file)))
    return Group(*parts)


def service_lines(service: Service) -> RenderableType:
    """One service: what runs where, and how fast."""
    table = Table.grid(padding=(0, 1))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(service.role, Text.assemble((service.model_name, "bold"), f" {service.quant} on {service.server}"))
    table.add_row("", f"{service.placement.text}; {format_tokens(service.context)} context x {service.parallel}")
    table.add_row("", speed_text(service))
    return Padding(table, (0, 0, 0, 2))


def speed_text(service: Service) -> str:
    """Decode rate, time to first token, and total throughput when there are several users."""
    speed = service.speed
    if service.role in {"embedding", "image"}:
        return "speed of embedding and image models is not predicted"
    text = f"{range_text(speed.decode_tokens_per_s, 'tok/s')}"
    text += f" at {format_tokens(speed.depth_tokens)} depth"
    text += f", first token {seconds_text(speed.ttft_s)} for {format_tokens(speed.prompt_tokens)}"
    if speed.concurrency > 1:
        text += f"; {range_text(speed.aggregate_tokens_per_s, 'tok/s')} over {speed.concurrency} users"
    return text


def memory_lines(plan: Plan) -> RenderableType:
    """A bar per pool that is used."""
    table = Table.grid(padding=(0, 1))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(no_wrap=True)
    for pool in plan.pools:
        table.add_row(pool.pool.id, memory_bar(pool.used_bytes, pool.pool.usable_bytes, pool.headroom_bytes))
    return Group(Text("Memory (█ used, ░ kept free)", style="bold"), Padding(table, (0, 0, 0, 2)))


def reason_lines(plan: Plan) -> RenderableType:
    """The row that decided, the first reasons, and what became of the reference choice."""
    row = plan.matrix_row
    lines = [f"{row.title}: {row.because}"]
    lines += [reason.text for reason in plan.reasons[:MAX_REASONS]]
    if row.reference:
        outcome = f": {row.reference_outcome}" if row.reference_outcome else ""
        lines.append(f"reference {row.reference}{outcome}")
    return bullets(lines)


def warning_lines(plan: Plan) -> RenderableType:
    """The first warnings with their fixes."""
    lines = [
        f"{warning.text}{f' -> {warning.fix}' if warning.fix else ''} [{warning.rule_id}]"
        for warning in plan.warnings[:MAX_WARNINGS]
    ]
    if len(plan.warnings) > MAX_WARNINGS:
        lines.append(f"and {len(plan.warnings) - MAX_WARNINGS} more: --explain")
    return bullets(lines)


def bullets(lines: list[str]) -> RenderableType:
    """Lines with a hanging indent."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row("-", Text(line))
    return Padding(table, (0, 0, 0, 2))


def alternatives_table(answer: Answer, top: int) -> RenderableType:
    """Runners-up with the rule that put them lower."""
    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="ellipsis", width=34, no_wrap=True)
    table.add_column(no_wrap=True, justify="right", width=9)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for other in answer.alternatives[:top]:
        rate = other.decode_tokens_per_s
        speed = f"{rate.expected:.0f} tok/s" if rate else "unknown"
        table.add_row(f"{other.model_name} {other.quant} {other.server}", speed, other.reason)
    return Padding(table, (0, 0, 0, 2))


def next_command(plan: Plan, plan_file: Path | None) -> str:
    """The next command to type: launchd or compose files, from this plan."""
    target = "launchd" if plan.hardware.os.name == "macos" else "compose"
    named = f" --plan {plan_file}" if plan_file else ""
    return f"planner render {target}{named} --out ./stack"


def explanation_view(answer: Answer) -> RenderableType:
    """Everything behind the answer: reasons, warnings, terms of the speed, runners-up and losers."""
    plan = answer.plan
    parts: list[RenderableType] = [
        Text(f"Row {plan.matrix_row.id}: {plan.matrix_row.title} (cost: {plan.matrix_row.cost})", style="bold"),
        bullets([f"{reason.text} [{reason.rule}]" for reason in plan.reasons]),
    ]
    if plan.warnings:
        parts += [Text("All warnings", style="bold")]
        parts += [bullets([f"{w.severity}: {w.text} [{w.rule_id}]" for w in plan.warnings])]
    for service in plan.services:
        parts += [Text(f"Speed of {service.name}, term by term", style="bold")]
        parts += [bullets([f"{term.name}: {term.text}" for term in service.speed.terms])]
        parts += [bullets(list(service.speed.sources))]
    parts += [Text("Losers", style="bold"), losers_table(answer)]
    return Group(*parts)


def losers_table(answer: Answer, limit: int = 25) -> RenderableType:
    """The first losers with their reasons; the JSON holds all."""
    table = Table.grid(padding=(0, 2))
    for loser in answer.rejected[:limit]:
        name = " ".join(part for part in (loser.model, loser.quant, loser.server) if part)
        table.add_row(name, loser.text)
    rest = len(answer.rejected) - limit
    tail = [Text(f"and {rest} more: --json has all")] if rest > 0 else []
    return Padding(Group(table, *tail), (0, 0, 0, 2))


def why_not_view(answer: Answer, model: Model) -> RenderableType:
    """Why one model was not chosen: chosen after all, a runner-up, or each of its rejections."""
    chosen = [service for service in answer.plan.services if service.model == model.id]
    if chosen:
        return Text(f"{model.name} is the plan: {chosen[0].quant} on {chosen[0].server}")
    lines = [
        f"{other.quant} on {other.server}, {format_gib(other.total_bytes)}: {other.reason}"
        for other in answer.alternatives
        if other.model == model.id
    ]
    lines += [
        " ".join(part for part in (loser.quant, loser.server, loser.placement) if part) + f": {loser.text}"
        for loser in answer.rejected
        if loser.model == model.id
    ]
    return Group(Text(f"Why not {model.name}", style="bold"), bullets(lines or ["not a candidate for this workload"]))
