"""How well the fitted abilities predict scores that the fit has not seen."""

from __future__ import annotations

import re
from math import exp

import numpy as np

from tools.quality_model import Fit, Observation, fit, predict

# Scales move little when one model is left out: a few steps from the full fit suffice.
REFIT_STEPS = 5


def points(log_odds: float) -> float:
    """Log-odds as a percentage."""
    return 100 / (1 + exp(-log_odds))


def leave_one_model_out(found: Fit) -> list[tuple[Observation, dict[str, float]]]:
    """Each score that another model has on the same benchmark, predicted without any score of its model."""
    results = []
    for name in sorted({each.subject.id for each in found.observations}):
        rest = tuple(each for each in found.observations if each.subject.id != name)
        held = [each for each in found.observations if each.subject.id == name]
        wanted = [each for each in held if any(other.benchmark == each.benchmark for other in rest)]
        if not wanted:
            continue
        by_fit = predict(fit(rest, REFIT_STEPS, warm=found), wanted)
        for each, value in zip(wanted, by_fit, strict=True):
            same = [other for other in rest if other.benchmark == each.benchmark]
            results.append((each, {"fit": float(value), "size": _by_size(each, same), "mean": _mean(same)}))
    return results


def leave_one_score_out(found: Fit) -> list[tuple[Observation, float]]:
    """Each score predicted with the other scores of its model: only for models that have some."""
    counts = {
        name: sum(each.subject.id == name for each in found.observations)
        for name in {e.subject.id for e in found.observations}
    }
    results = []
    for index, each in enumerate(found.observations):
        rest = found.observations[:index] + found.observations[index + 1 :]
        if counts[each.subject.id] < 2 or not any(other.benchmark == each.benchmark for other in rest):
            continue
        results.append((each, float(predict(Fit(found.deviations, found.scales, rest), [each])[0])))
    return results


def _mean(same: list[Observation]) -> float:
    return float(np.mean([other.value for other in same]))


def _by_size(wanted: Observation, same: list[Observation]) -> float:
    """A line over log2 of the geometric mean of total and active parameters; the mean when there is no line."""
    sizes = np.array([_size(other) for other in same])
    values = np.array([other.value for other in same])
    if len(same) < 3 or float(np.ptp(sizes)) == 0:
        return _mean(same)
    slope, intercept = np.polyfit(sizes, values, 1)
    return float(intercept + slope * _size(wanted))


def _size(each: Observation) -> float:
    return each.subject.size + 0.5 * each.subject.ratio


def _error(pairs: list[tuple[Observation, float]]) -> tuple[float, float]:
    """Mean absolute error in percentage points and root mean square error in log-odds; Elo has no points."""
    in_points = [abs(points(value) - points(each.value)) for each, value in pairs if "Elo" not in each.benchmark]
    in_odds = [(value - each.value) ** 2 for each, value in pairs]
    return float(np.mean(in_points)), float(np.sqrt(np.mean(in_odds)))


def held_out_table(found: Fit) -> str:
    """The table of docs/quality.md."""
    out = leave_one_model_out(found)
    lines = ["| axis of the benchmark | scores | fitted | size only | mean of the others |", "|---|---|---|---|---|"]
    for axis in ["all", *sorted({each.axis for each, _ in out})]:
        some = [(each, by) for each, by in out if axis in {"all", each.axis}]
        shown = []
        for name in ("fit", "size", "mean"):
            in_points, in_odds = _error([(each, by[name]) for each, by in some])
            shown.append(f"{in_points:.1f} / {in_odds:.2f}")
        lines.append(f"| {axis} | {len(some)} | {' | '.join(shown)} |")
    one = leave_one_score_out(found)
    in_points, in_odds = _error(one)
    told = f"{len(one)} scores of models that have two or more"
    lines += ["", f"With the model's other scores known ({told}): {in_points:.1f} / {in_odds:.2f}."]
    return "\n".join(lines)


def replace_tables(text: str, tables: dict[str, str]) -> str:
    """A page with the parts between `<!-- name -->` and `<!-- end name -->` made anew."""
    for name, table in tables.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = between.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)  # noqa: B023 - used at once
    return text
