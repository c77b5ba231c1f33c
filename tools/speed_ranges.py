"""Half-widths of the 80 % ranges from left-out errors, and how many rows such ranges hold."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from speed_cases import Case
from speed_problem import Array, Problem

from planner.speed import ranges
from planner.speed.classes import placement_class
from planner.speed.constants import Ranges, SpeedConstants

LEVEL = 0.82  # a little above 0.8: a device that comes next is not one of those that set the width
POOLED_DEVICES = 2  # a class of few devices borrows from all classes as if so many more of its devices were known
LEAST_WIDTH = 1.1


class Widths:
    """What each row needs of its class's half-width, beside what is added for depth, doubts and a new stack."""

    def __init__(self, problem: Problem, errors: Array, known: SpeedConstants, kind: str) -> None:
        self.kind, self.limits, self.groups = kind, known.ranges, problem.group_of
        self.classes = np.array([case.speed_class for case in problem.cases], dtype=object)
        extra = np.array([self._extra(case, known) for case in problem.cases])
        self.needed = np.sqrt(np.maximum(errors**2 - extra**2, 0.0))

    def _extra(self, case: Case, known: SpeedConstants) -> float:
        """Logarithm of the half-width where the class itself had none."""
        step = case.step(known)
        doubts = [doubt for share in step.shares for doubt in share.reader.doubts]
        name = placement_class(case.expanded, case.placement, step.stack)
        bare: Ranges = msgspec.structs.replace(
            known.ranges, decode={name: 1.0, "concurrency": 1.0}, prefill={name: 1.0}
        )
        stack = step.stack.range_factor
        if self.kind == "decode":
            users = int(case.batch)
            width = ranges.decode_width(
                bare, name, depth=int(case.depth), concurrency=users, doubts=doubts, stack_factor=stack
            )
        else:
            width = ranges.prefill_width(bare, name, depth=int(case.prefill_depth), doubts=doubts, stack_factor=stack)
        return math.log(width)

    def by_class(self, without: int | None = None) -> dict[str, float]:
        """The half-width of every class as a factor; `without` one device group."""
        seen = np.ones(len(self.classes), dtype=bool) if without is None else self.groups != without
        pooled = float(np.quantile(self.needed[seen], LEVEL))
        found = {}
        for name in sorted(set(self.classes)):
            mask = seen & (self.classes == name)
            devices = len(set(self.groups[mask]))
            own = float(np.quantile(self.needed[mask], LEVEL)) if devices else pooled
            log_width = (devices * own + POOLED_DEVICES * pooled) / (devices + POOLED_DEVICES)
            found[str(name)] = max(LEAST_WIDTH, math.exp(log_width))
        return found

    def held(self) -> Array:
        """Whether each row lies in the range that the other devices' errors give it."""
        inside = np.zeros(len(self.classes), dtype=bool)
        for group in set(self.groups):
            widths = self.by_class(without=group)
            for index in np.flatnonzero(self.groups == group):
                inside[index] = self.needed[index] <= math.log(widths[self.classes[index]])
        return inside


def deep_factor(problem: Problem, errors: Array, deep_tokens: int) -> float:
    """What single streams at depth need beside the others' width, squares of logarithms adding up."""
    single = np.array([case.batch == 1 for case in problem.cases])
    deep = single & np.array([case.depth >= deep_tokens for case in problem.cases])
    far, near = (float(np.quantile(np.abs(errors[mask]), LEVEL)) for mask in (deep, single & ~deep))
    return max(1.05, math.exp(math.sqrt(max(far**2 - near**2, 0.0))))
