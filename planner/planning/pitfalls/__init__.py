"""What will bite: checks over a finished decision, each with a rule id, and the fix. Assumed facts come first."""

from __future__ import annotations

from planner.planning.pitfalls import memory, models, speed
from planner.planning.pitfalls.view import Check, View
from planner.planning.placement import Site
from planner.planning.plan import Warning as Pitfall
from planner.planning.roles import Case, Services

CHECKS: tuple[Check, ...] = (
    speed.assumed_bandwidth,
    speed.assumed_cpu,
    speed.targets_missed,
    speed.slow_prefill,
    speed.image_on_cpu,
    memory.memory_now,
    speed.numa_unbound,
    models.over_quantized,
    models.context_beyond_native,
    models.thinking_deterministic,
    models.licences,
    speed.thin_data,
    memory.container_limit,
    models.long_context,
)


def warnings_of(case: Case, services: Services, site: Site) -> tuple[Pitfall, ...]:
    """All that applies, in the order of `CHECKS`, without repeats."""
    view = View(case, services, site)
    return tuple(dict.fromkeys(found for check in CHECKS for found in check(view)))
