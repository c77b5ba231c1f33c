"""What people ask beside the plan: the Pareto view, cards that would make a wish fit, what tokens cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from planner.api import question_of
from planner.units import parse_bytes, parse_watts

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware
    from planner.planning.cards import Cards
    from planner.planning.cost import Cost
    from planner.planning.pareto import Front
    from planner.planning.plan import Plan


def pareto(
    hardware: Hardware,
    workload: str = "chat",
    *,
    everything: bool = False,
    catalog: Catalog | None = None,
    **constraints: Any,
) -> Front:
    """What nothing beats in quality, speed and context at once; `everything`: dominated options too.

    Raises as `recommend`, and UsageError for a workload whose first service writes no text."""
    from planner.planning.pareto import pareto as view

    return view(hardware, *question_of(catalog, workload, constraints), everything=everything)


def cards(
    hardware: Hardware,
    budget_vram: int | str,
    workload: str = "chat",
    *,
    catalog: Catalog | None = None,
    **constraints: Any,
) -> Cards:
    """Graphics cards, of `budget_vram` together at the most, with which the machine would satisfy the constraints and
    meet the targets of the workload. Raises UsageError, NoFeasiblePlan naming what comes nearest."""
    from planner.planning.cards import cards_for

    return cards_for(hardware, *question_of(catalog, workload, constraints), parse_bytes(budget_vram, "VRAM budget"))


def cost(
    plan: Plan,
    *,
    price_kwh: float | None = None,
    price_gpu_hour: float | None = None,
    power: float | str | None = None,
) -> Cost:
    """Energy per million tokens of a plan at its planned load, and money at the prices given, in their currency.

    `power`: what the machine draws under load (`350W`, or watts), in place of the limits of its GPUs. Raises
    UsageError."""
    from planner.planning.cost import Prices, cost_of

    watts = None if power is None else parse_watts(power)
    return cost_of(plan, Prices(per_kwh=price_kwh, per_gpu_hour=price_gpu_hour, power_watts=watts))
