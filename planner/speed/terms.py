"""Terms of a sum of seconds, each with the kind of limit that it is."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from planner.speed.records import BoundBy, Term


class Cost(msgspec.Struct, frozen=True):
    """One term: its seconds, its kind of limit, and how its text is put together when somebody asks."""

    name: str
    seconds: float
    bound: BoundBy
    form: str
    figures: tuple[float, ...] = ()

    @property
    def term(self) -> Term:
        """The term as it is printed: the form with its figures, then the milliseconds."""
        return _term(self)


@lru_cache(8192)
def _term(cost: Cost) -> Term:
    digits = 2 if cost.seconds < 0.1 else 1
    text = f"{cost.form.format(*cost.figures)} = {cost.seconds * 1e3:.{digits}f} ms"
    return Term(name=cost.name, seconds=cost.seconds, text=text)


def read_cost(name: str, quantity_bytes: float, bytes_per_s: float) -> Cost:
    """Bytes over a rate."""
    form, figures = "{:.3f} GB / {:.1f} GB/s", (quantity_bytes / 1e9, bytes_per_s / 1e9)
    return Cost(name, quantity_bytes / bytes_per_s if quantity_bytes else 0.0, "bandwidth", form, figures)


def work_cost(name: str, flops: float, flops_per_s: float) -> Cost:
    """Arithmetic over a rate."""
    form, figures = "{:.4f} TFLOP / {:.2f} TFLOP/s", (flops / 1e12, flops_per_s / 1e12)
    return Cost(name, flops / flops_per_s if flops else 0.0, "compute", form, figures)


def bound_by(costs: tuple[Cost, ...]) -> BoundBy:
    """The kind of limit with the most seconds."""
    totals: dict[BoundBy, float] = {}
    for cost in costs:
        totals[cost.bound] = totals.get(cost.bound, 0.0) + cost.seconds
    return max(totals, key=lambda kind: totals[kind]) if totals else "unknown"
