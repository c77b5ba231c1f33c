"""Which class of deployment this is: ranges and stored measurements go by class."""

from __future__ import annotations

from typing import Literal

from planner.sizing.records import ExpandedModel, Placement
from planner.speed.constants import Stack

SpeedClass = Literal["dense-gpu", "moe-gpu", "apple", "cpu", "cpu-gpu", "multi-gpu", "concurrency"]


def placement_class(expanded: ExpandedModel, placement: Placement, stack: Stack) -> SpeedClass:
    """The class of one stream: what carries the weights decides, then whether it is a mixture of experts."""
    if stack.device == "cpu" or placement.kind == "cpu":
        return "cpu"
    if stack.device == "apple":
        return "apple"
    if placement.kind in {"split", "experts-in-ram"}:
        return "cpu-gpu"
    if len(placement.gpus) > 1:
        return "multi-gpu"
    return "moe-gpu" if expanded.shape.experts else "dense-gpu"


def engine_of(stack: str) -> str:
    """`llama.cpp` of `llama.cpp-cuda`."""
    return stack.rpartition("-")[0] or stack
