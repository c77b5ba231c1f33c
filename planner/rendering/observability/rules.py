"""Alert rules, each derived from what was planned: a number of the plan is the threshold, not a taste."""

from __future__ import annotations

import msgspec

from planner.rendering.deployment import Deployment, Instance, Unit
from planner.rendering.observability.metrics import ask, first_token_buckets, quantile, selector, source
from planner.rendering.router import QUEUE_S

# How long a speed must be off before it is said. Our choice: one window of the rates, so that no single burst does it.
SLOW_S = 600
# The router loads nothing: it is back within two of its own health checks (templates/compose), or it is down.
ROUTER_BACK_S = 60
# Our choice: beyond it the next long prompt makes vLLM preempt requests, whose caches it then computes again.
CACHE_FULL = 0.95
_WRITERS = ("interactive", "batch")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: it fires when `expression` has held for `hold_s` seconds. `backend`: the process that it is about."""

    alert: str
    expression: str
    hold_s: int
    severity: str
    summary: str
    description: str
    backend: str | None = None


def alert_rules(deployment: Deployment) -> tuple[Rule, ...]:
    """The rules of a deployment: the router's, then those of each process."""
    rules = [] if deployment.router is None else [_router_down(), _refused()]
    for unit, instance in deployment.processes():
        found = (
            _down(deployment, unit, instance),
            _waiting(deployment, unit, instance),
            _slow_first_token(deployment, unit, instance),
            _slow_decode(unit, instance),
            _cache_full(unit, instance),
        )
        rules += [rule for rule in found if rule is not None]
    return tuple(rules)


def _router_down() -> Rule:
    return Rule(
        alert="PlannerRouterDown",
        expression='up{job="planner-router"} == 0',
        hold_s=ROUTER_BACK_S,
        severity="critical",
        summary="The router does not answer",
        description="No client reaches any server. Look at the router's log.",
    )


def _refused() -> Rule:
    refused = 'planner_router_requests_total{priority="interactive",code=~"429|503"}'
    return Rule(
        alert="PlannerRequestsRefused",
        expression=f"sum(increase({refused}[5m])) > 0",
        hold_s=0,
        severity="warning",
        summary="The router refuses interactive requests",
        description="Queues are full (429) or no server answers (503): more users than planned, or one that hangs.",
    )


def _down(deployment: Deployment, unit: Unit, instance: Instance) -> Rule | None:
    if source(unit) is None and deployment.router is None:
        return None
    seen = "up" if source(unit) is not None else "planner_router_backend_up"
    start_s = unit.launch.start_seconds
    return Rule(
        alert="PlannerServerDown",
        backend=instance.name,
        expression=f"{seen}{selector(instance.name)} == 0",
        hold_s=start_s,
        severity="critical",
        summary=f"{instance.name} does not answer",
        description=f"It has been away for longer than it may take to load its model ({start_s} s).",
    )


def _waiting(deployment: Deployment, unit: Unit, instance: Instance) -> Rule | None:
    """Batch work waits by design; where people wait, all slots have been busy for as long as one of them may wait."""
    own, chosen = source(unit), selector(instance.name)
    if unit.service.role == "batch":
        return None
    if deployment.router is not None:
        waiting, running, slots = (f"planner_router_{name}{chosen}" for name in ("waiting", "running", "slots"))
        expression = f"{waiting} > 0 and {running} >= {slots}"
    elif own is not None and own.waiting is not None:
        expression = f"sum by (backend) ({ask(own.waiting, chosen)}) > 0"
    else:
        return None
    return Rule(
        alert="PlannerRequestsWait",
        backend=instance.name,
        expression=expression,
        hold_s=QUEUE_S,
        severity="warning",
        summary=f"Requests wait for {instance.name}",
        description=f"More than the {unit.service.parallel} users at a time that were planned.",
    )


def _slow_first_token(deployment: Deployment, unit: Unit, instance: Instance) -> Rule | None:
    planned, buckets = unit.service.speed.ttft_s, first_token_buckets(deployment, unit)
    if unit.service.role != "interactive" or planned is None or buckets is None:
        return None
    return Rule(
        alert="PlannerFirstTokenSlow",
        backend=instance.name,
        expression=f"{quantile(0.5, buckets, selector(instance.name))} > {_number(planned.high)}",
        hold_s=SLOW_S,
        severity="warning",
        summary=f"First tokens of {instance.name} come late",
        description=f"Half of the requests wait longer than the {_number(planned.high)} s that were expected at most"
        f" for prompts of {unit.service.speed.prompt_tokens} tokens.",
    )


def _slow_decode(unit: Unit, instance: Instance) -> Rule | None:
    planned, own = unit.service.speed.decode_tokens_per_s, source(unit)
    if unit.service.role not in _WRITERS or planned is None or own is None or own.decode_rate is None:
        return None
    speed = unit.service.speed
    return Rule(
        alert="PlannerDecodeSlow",
        backend=instance.name,
        expression=f"{ask(own.decode_rate, selector(instance.name))} < {_number(planned.low)}",
        hold_s=SLOW_S,
        severity="warning",
        summary=f"{instance.name} writes slowly",
        description=f"A user gets less than the {_number(planned.low)} tokens per second that were expected at least"
        f" with {speed.depth_tokens} tokens in the cache (users at a time: {speed.concurrency}).",
    )


def _cache_full(unit: Unit, instance: Instance) -> Rule | None:
    own = source(unit)
    if own is None or own.cache_used is None:
        return None
    return Rule(
        alert="PlannerCacheNearlyFull",
        backend=instance.name,
        expression=f"max by (backend) ({ask(own.cache_used, selector(instance.name))}) > {CACHE_FULL}",
        hold_s=QUEUE_S,
        severity="warning",
        summary=f"The KV cache of {instance.name} is nearly full",
        description=f"It was planned for {unit.service.parallel} users with {unit.service.context} tokens each.",
    )


def _number(value: float) -> str:
    """A threshold that a person can read: three digits, never an exponent."""
    text = f"{value:.3g}"
    return f"{float(text):.0f}" if "e" in text else text
