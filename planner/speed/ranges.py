"""Ranges around an estimate: a half-width per class, widened by what is assumed, narrowed by what was measured here."""

from __future__ import annotations

import math
from collections.abc import Iterable

from planner.hardware.facts import Calibration, Hardware
from planner.speed.classes import engine_of
from planner.speed.constants import CalibrationWeights, Ranges, SpeedConstants
from planner.speed.records import Range


def half_width(base: float, factors: Iterable[float]) -> float:
    """One factor from independent ones: their logarithms add in squares."""
    return math.exp(math.sqrt(math.log(base) ** 2 + sum(math.log(factor) ** 2 for factor in factors)))


def decode_width(
    ranges: Ranges, kind: str, *, depth: int, concurrency: int, doubts: Iterable[str], stack_factor: float
) -> float:
    """The half-width of a decode rate of class `kind`."""
    base = ranges.decode[kind]
    if concurrency > 1:
        base = max(base, ranges.decode["concurrency"])
    decisive = set(doubts) - ({"unknown_compute"} if concurrency == 1 else set())
    factors = [stack_factor, *(getattr(ranges, doubt) for doubt in decisive)]
    if depth >= ranges.deep_tokens:
        factors.append(ranges.deep)
    return half_width(base, factors)


def prefill_width(ranges: Ranges, kind: str, *, depth: int, doubts: Iterable[str], stack_factor: float) -> float:
    """The half-width of a prefill rate of class `kind`."""
    base = ranges.prefill.get(kind, max(ranges.prefill.values()))
    factors = [stack_factor, *(getattr(ranges, doubt) for doubt in set(doubts))]
    if depth >= ranges.deep_tokens:
        factors.append(ranges.deep)
    return half_width(base, factors)


def rate_range(expected: float, width: float) -> Range:
    """From expected / width to expected x width."""
    return Range(low=expected / width, expected=expected, high=expected * width)


def calibrated(
    hardware: Hardware, constants: SpeedConstants, stack: str, kind: str, model: str, quant: str
) -> tuple[float, float, str | None]:
    """Factor on the predicted rate from stored measurements, factor on the log half-width, and a sentence.

    Rows of the same model and quant weigh most; else all rows of the engine and class, shrunk towards 1."""
    if not hardware.calibration:
        return 1.0, 1.0, None
    engines = {stack, engine_of(stack)}
    rows = [row for row in hardware.calibration if row.engine in engines and row.placement_class == kind]
    same = [row for row in rows if row.model == model and row.quant == quant]
    chosen = same or rows
    if not chosen:
        return 1.0, 1.0, None
    weights: CalibrationWeights = constants.calibration
    shrink = (
        weights.same_model_shrink_rows if same else weights.shrink_rows.get(kind, max(weights.shrink_rows.values()))
    )
    count = sum(row.rows for row in chosen)
    factor = math.exp(count / (count + shrink) * _mean_log(chosen))
    width = weights.remaining_width if same else 1.0
    about = f"{model} {quant}" if same else f"{stack}, class {kind}"
    return factor, width, f"calibrated on this machine: x {factor:.2f} from {count} measurements of {about}"


def _mean_log(rows: list[Calibration]) -> float:
    total = sum(row.rows for row in rows)
    return sum(row.rows * math.log(row.measured_over_predicted) for row in rows) / total
