"""The longest context and the most slots that fit, solved on the real sizes: every pool must hold its share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from planner.sizing.artifact import PLAIN
from planner.sizing.place import Placed, place
from planner.sizing.quantize import quantize_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from planner.catalog.records.quant import Quant
    from planner.sizing.artifact import Made
    from planner.sizing.records import Allocation, ExpandedModel, Placement, Pool, Runtime

CONTEXT_STEP_TOKENS: Final = 256


def max_context(
    expanded: ExpandedModel,
    quant: Quant,
    runtime: Runtime,
    allocation: Allocation,
    placement: Placement,
    pools: tuple[Pool, ...],
    *,
    limit_tokens: int,
    free_bytes: Mapping[str, int] | None = None,
    made: Made = PLAIN,
) -> int:
    """The longest context per user, in steps of 256 tokens and at most `limit_tokens`, that fits; 0 when not even
    256 tokens do. `free_bytes` by pool id, else what each pool has usable. Layout is checked at every step tried, so a
    split over GPUs is that of the context found."""
    fits = _fit_test(expanded, quant, allocation, placement, pools, free_bytes, made)

    def holds(steps: int) -> bool:
        return fits(replace(runtime, context_tokens=min(steps * CONTEXT_STEP_TOKENS, limit_tokens)))

    steps = _largest(holds, -(-limit_tokens // CONTEXT_STEP_TOKENS))
    return min(steps * CONTEXT_STEP_TOKENS, limit_tokens)


def max_parallel(
    expanded: ExpandedModel,
    quant: Quant,
    runtime: Runtime,
    allocation: Allocation,
    placement: Placement,
    pools: tuple[Pool, ...],
    *,
    limit: int = 1024,
    free_bytes: Mapping[str, int] | None = None,
    made: Made = PLAIN,
) -> int:
    """The most users with `runtime.context_tokens` each that fit, at most `limit`; 0 when not even one does."""
    fits = _fit_test(expanded, quant, allocation, placement, pools, free_bytes, made)
    return _largest(lambda users: fits(replace(runtime, parallel=users)), limit)


def _fit_test(
    expanded: ExpandedModel,
    quant: Quant,
    allocation: Allocation,
    placement: Placement,
    pools: tuple[Pool, ...],
    free_bytes: Mapping[str, int] | None,
    made: Made,
) -> Callable[[Runtime], bool]:
    quantized = quantize_as(expanded, quant, made)
    limits = free_bytes if free_bytes is not None else {pool.id: pool.usable_bytes for pool in pools}

    def fits(runtime: Runtime) -> bool:
        placed: Placed = place(expanded, quantized, runtime, allocation, placement, pools)
        return all(use.total_bytes <= limits[use.pool] for use in placed.uses if use.pool in limits)

    return fits


def _largest(fits: Callable[[int], bool], limit: int) -> int:
    """The largest count up to `limit` that fits, 0 for none: more never takes less, so halving finds it."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
