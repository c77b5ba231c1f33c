"""Error tables of the speed fit, and the half-widths that follow from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def class_of(rows: dict[str, Any]) -> np.ndarray:
    """The classes of planner.speed.classes, and `concurrency` for several users."""
    names = np.where(rows["experts"] > 0, "moe-gpu", "dense-gpu").astype(object)
    names[rows["cards"] > 1] = "multi-gpu"
    names[rows["kind"] == "apple"] = "apple"
    names[rows["kind"] == "cpu"] = "cpu"
    names[rows["hybrid"]] = "cpu-gpu"
    names[rows["batch"] > 1] = "concurrency"
    return names


def prefill_class_of(rows: dict[str, Any]) -> np.ndarray:
    return class_of(rows)


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(len(values) - 1, int(np.searchsorted(cumulative, min(level, 1.0))))])


def device_weights(groups: np.ndarray) -> np.ndarray:
    """Every device counts as one, however many rows it has."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse]


def widths_by_class(classes: np.ndarray, groups: np.ndarray, errors: np.ndarray) -> dict[str, float]:
    """exp of the 0.8 (n+1)/n quantile of |log error| with n devices: at least 1.1."""
    widths = {}
    for name in sorted(set(classes)):
        mask = classes == name
        devices = len(set(groups[mask]))
        level = min(1.0, 0.8 * (devices + 1) / devices)
        half_rows = 0.5 * quantile(np.abs(errors[mask]), np.ones(mask.sum()), level)
        half = half_rows + 0.5 * quantile(np.abs(errors[mask]), device_weights(groups[mask]), level)
        widths[str(name)] = max(1.1, math.exp(half))
    return widths


def plain_rule(rows: dict[str, Any]) -> np.ndarray:
    """log of (0.55 x bandwidth / active bytes) over measured, the usual rule of thumb."""
    active = rows["file"] * rows["active_fraction"]
    on_cpu = np.where(rows["hybrid"], rows["on_cpu"], 0.0)
    fast = np.maximum(active - on_cpu, 0.0) / (0.55 * rows["bandwidth"] * rows["tensor"])
    seconds = fast + on_cpu / (0.55 * rows["host_bandwidth"])
    return -np.log(seconds) - np.log(rows["decode"])


def line(name: str, errors: np.ndarray, groups: np.ndarray, others: list[np.ndarray]) -> str:
    cells = "".join(f"{_pair(values):>14}" for values in [errors, *others])
    return f"{name:<22}{len(errors):>6}{len(set(groups)):>9}{cells}"


def _pair(errors: np.ndarray) -> str:
    relative = np.abs(np.exp(errors) - 1) * 100
    return f"{np.median(relative):.1f} / {np.percentile(relative, 90):.0f}"


def print_errors(
    rows: dict[str, Any],
    errors: np.ndarray,
    inside: np.ndarray,
    prefill_rows: dict[str, Any],
    prefill_errors: np.ndarray,
    *,
    worst: int = 0,
) -> None:
    """Median / 90th percentile of |relative error| in percent."""
    plain = plain_rule(rows)
    classes = class_of(rows)
    print(f"{'decode':<22}{'rows':>6}{'devices':>9}{'left out':>14}{'in sample':>14}{'0.55 BW rule':>14}")
    everything = np.ones(len(errors), dtype=bool)
    masks = {"all": everything} | {str(name): classes == name for name in sorted(set(classes))}
    masks["depth >= 4k"] = (rows["depth"] >= 4096) & (rows["batch"] == 1)
    masks["depth >= 30k"] = (rows["depth"] >= 30000) & (rows["batch"] == 1)
    for stack in sorted(set(rows["stack"])):
        masks[str(stack)] = rows["stack"] == stack
    for name, mask in masks.items():
        rule = [] if name == "concurrency" else [plain[mask]]
        print(line(name, errors[mask], rows["group"][mask], [inside[mask], *rule]))
    print(f"\n{'prefill':<22}{'rows':>6}{'devices':>9}{'left out':>14}")
    prefill_classes = prefill_class_of(prefill_rows)
    for name in ["all", *sorted(set(prefill_classes))]:
        mask = np.ones(len(prefill_errors), dtype=bool) if name == "all" else prefill_classes == name
        print(line(name, prefill_errors[mask], prefill_rows["group"][mask], []))
    for title, data, off in (("decode", rows, errors), ("prefill", prefill_rows, prefill_errors)):
        for index in np.argsort(-np.abs(off))[:worst]:
            facts = [str(data[key][index]) for key in ("id", "group", "stack", "quant", "depth", "batch", "cards")]
            print(f"{title} x {math.exp(off[index]):.2f}  {' '.join(facts)}")
