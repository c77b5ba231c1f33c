"""The answer of `planner recommend` on one screen: what, does it fit, how fast, why, what next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from planner.report.bars import memory_bar, range_text, seconds_text
from planner.report.cost import cost_line
from planner.report.lines import bullet, clipped, columns, heading, wrapped
from planner.units import format_tokens

if TYPE_CHECKING:
    from pathlib import Path

    from planner.planning.cost import Cost
    from planner.planning.plan import Answer, Plan, PoolPlan
    from planner.servers.records import Service

MAX_LINES = 30
UNPREDICTED = frozenset({"embedding", "image"})
# The bars show what fits, the service blocks the roles, the runners-up the next best: only these are said in words.
SCREEN_RULES = frozenset({"targets", "ability", "quant", "model"})


def recommendation_view(
    answer: Answer, *, top: int = 3, plan_file: Path | None = None, cost: Cost | None = None
) -> Text:
    """The first screen: at most 30 lines of 80 columns. What must be said comes first; warnings and runners-up
    share the lines that are left, and say how many they leave out.
    """
    plan = answer.plan
    head = heading(f"Plan for {plan.workload.title}")
    short = len(plan.services) > 1
    for index, service in enumerate(plan.services):
        head += service_lines(service, short=short)
        told = cost_line(cost) if cost and index == 0 else None
        if told is not None:
            head += wrapped(told, first=" " * 4, rest=" " * 4, most=1)
    head += heading("Memory (█ used, ░ kept free)") + [pool_line(pool) for pool in plan.pools]
    reasons = heading("Why") + reason_lines(plan, short=short)
    foot = wrapped(f"Next: {next_command(plan, plan_file)}", first="", rest="  ", most=1)
    left = MAX_LINES - len(head) - len(reasons) - len(foot)
    shown = alternatives_lines(answer, min(top, left - 3)) if left > 3 else []
    warnings = warning_lines(plan, left - len(shown))
    return Text("\n").join([*head, *reasons, *warnings, *shown, *foot])


def service_lines(service: Service, *, short: bool = False) -> list[Text]:
    """One service: what runs, where, and how fast."""
    first = Text.assemble("  ", (service.role, "cyan"), "  ", (service.model_name, "bold"))
    first.append(f" {service.quant} on {service.server}")
    where = f"{service.placement.text}; {format_tokens(service.context)} context x {service.parallel}"
    most = 1 if short else 2
    indent = " " * 4
    return [
        first,
        *wrapped(where, first=indent, rest=indent, most=most),
        *wrapped(speed_text(service), first=indent, rest=indent, most=2),
    ]


def speed_text(service: Service) -> str:
    """Decode rate, time to first token, and total throughput when there are several users."""
    speed = service.speed
    if service.role in UNPREDICTED:
        return f"speed of {service.role} models is not predicted"
    text = f"{range_text(speed.decode_tokens_per_s, 'tok/s')} at {format_tokens(speed.depth_tokens)} depth"
    text += f", first token {seconds_text(speed.ttft_s)} for {format_tokens(speed.prompt_tokens)} tokens"
    if speed.concurrency > 1:
        text += f"; {range_text(speed.aggregate_tokens_per_s, 'tok/s')} over {speed.concurrency} users"
    return text


def pool_line(pool: PoolPlan) -> Text:
    """The memory bar of one pool that is used."""
    name = pool.pool.id.ljust(8)
    return Text.assemble("  ", (name, "cyan"), memory_bar(pool.used_bytes, pool.pool.usable_bytes, pool.headroom_bytes))


def reason_lines(plan: Plan, *, short: bool) -> list[Text]:
    """The row that decided, the reasons that the bars do not show, and what became of the reference choice."""
    row = plan.matrix_row
    lines = bullet(row.because, most=1 if short else 2)
    for reason in plan.reasons:
        if reason.rule in SCREEN_RULES:
            lines += bullet(reason.text, most=1 if short else 2)
    if row.reference:
        outcome = f": {row.reference_outcome}" if row.reference_outcome else ""
        lines += bullet(f"reference {row.reference}{outcome}", most=2)
    return lines


def warning_lines(plan: Plan, budget: int) -> list[Text]:
    """As many warnings as the budget holds, two lines each at most; the rest is counted."""
    if not plan.warnings or budget < 2:
        return []
    blocks = [
        bullet(f"{warning.text}{f' -> {warning.fix}' if warning.fix else ''} [{warning.rule_id}]", most=2)
        for warning in plan.warnings
    ]
    lines = heading("Mind")
    for index, block in enumerate(blocks):
        rest = len(blocks) - index
        if len(lines) + len(block) + (1 if rest > 1 else 0) > budget:
            lines += bullet(f"{rest} warning{'s' if rest > 1 else ''} more: --explain", most=1)
            break
        lines += block
    return lines if len(lines) <= budget else []


def alternatives_lines(answer: Answer, top: int) -> list[Text]:
    """Runners-up with the rule that put them lower."""
    if top <= 0 or not answer.alternatives:
        return []
    lines = heading("Runners-up")
    for other in answer.alternatives[:top]:
        rate = other.decode_tokens_per_s
        speed = f"{rate.expected:.0f} tok/s" if rate else "unknown"
        name = clipped(f"{other.model_name} {other.quant} {other.server}", 38)
        lines.append(columns((name, speed.rjust(9), other.reason), (38, 9, 29)))
    return lines


def next_command(plan: Plan, plan_file: Path | None) -> str:
    """The next command to type: launchd or compose files, from this plan."""
    apple = any(gpu.vendor == "apple" for gpu in plan.hardware.gpus)
    named = f" --plan {plan_file}" if plan_file else ""
    return f"planner render {'launchd' if apple else 'compose'}{named} --out ./stack"
