"""Error tables of the speed fit, and the half-widths that follow from them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from speed_cases import Case
from speed_problem import Problem

Array = np.ndarray


def classes_of(problem: Problem) -> Array:
    """The classes of planner.speed.classes, and `concurrency` for several users."""
    return np.array([case.speed_class for case in problem.cases], dtype=object)


def quantile(values: Array, weights: Array, level: float) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(len(values) - 1, int(np.searchsorted(cumulative, min(level, 1.0))))])


def device_weights(groups: Array) -> Array:
    """Every device counts as one, however many rows it has."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse]


def widths_by_class(problem: Problem, errors: Array) -> dict[str, float]:
    """exp of the 0.8 (n+1)/n quantile of |log error| with n devices: at least 1.1."""
    classes, widths = classes_of(problem), {}
    for name in sorted(set(classes)):
        mask = classes == name
        groups = problem.group_of[mask]
        devices = len(set(groups))
        level = min(1.0, 0.8 * (devices + 1) / devices)
        half_rows = 0.5 * quantile(np.abs(errors[mask]), np.ones(mask.sum()), level)
        half = half_rows + 0.5 * quantile(np.abs(errors[mask]), device_weights(groups), level)
        widths[str(name)] = max(1.1, math.exp(half))
    return widths


def plain_rule(case: Case) -> float:
    """log of (0.55 x bandwidth / active bytes) over measured, the usual rule of thumb."""
    row = case.row
    active = float(row["active_b"] or 0) / float(row["params_b"] or 1) if row["active_b"] else 1.0
    size = float(row["file_gb"]) * active
    on_cpu = float(row["cpu_active_gb"] or 0) if row["kind"] == "hybrid" else 0.0
    seconds = max(size - on_cpu, 0.0) / (0.55 * float(row["mem_bw_gbs"]) * case.placement.tensor_parallel)
    seconds += on_cpu / (0.55 * float(row["host_bw_gbs"] or row["mem_bw_gbs"]))
    return -math.log(seconds) - math.log(float(row["tg_tok_s"]))


def _pair(errors: Array, weights: Array | None = None) -> str:
    relative = np.abs(np.exp(errors) - 1) * 100
    weights = np.ones(len(relative)) if weights is None else weights
    return f"{quantile(relative, weights, 0.5):.1f} / {quantile(relative, weights, 0.9):.0f}"


def line(name: str, errors: Array, groups: Array, others: list[Array]) -> str:
    cells = f"{_pair(errors):>14}{_pair(errors, device_weights(groups)):>14}"
    cells += "".join(f"{_pair(values):>14}" for values in others)
    return f"{name:<24}{len(errors):>5}{len(set(groups)):>8}{cells}"


def masks_of(problem: Problem, *, stacks: bool = False) -> dict[str, Array]:
    """Rows of each class and of the cuts across them."""
    classes = classes_of(problem)
    masks = {"all": np.ones(len(classes), dtype=bool)} | {str(name): classes == name for name in sorted(set(classes))}
    depth = np.array([case.depth if case.batch == 1 else 0 for case in problem.cases])
    masks["depth >= 4k"], masks["depth >= 30k"] = depth >= 4096, depth >= 30000
    if stacks:
        names = np.array([case.stack for case in problem.cases])
        masks |= {str(name): names == name for name in sorted(set(names))}
    return masks


def print_errors(
    decode: Problem, errors: Array, inside: Array, prefill: Problem, prefill_errors: Array, *, worst: int, dump: str | None
) -> None:
    """Median / 90th percentile of |relative error| in percent."""
    plain = np.array([plain_rule(case) for case in decode.cases])
    print(f"{'decode':<24}{'rows':>5}{'devices':>8}{'left out':>14}{'per device':>14}{'in sample':>14}{'0.55 BW rule':>14}")
    for name, mask in masks_of(decode, stacks=True).items():
        rule = [] if name == "concurrency" else [plain[mask]]
        print(line(name, errors[mask], decode.group_of[mask], [inside[mask], *rule]))
    print(f"\n{'prefill':<24}{'rows':>5}{'devices':>8}{'left out':>14}{'per device':>14}")
    masks = masks_of(prefill, stacks=True)
    kinds = np.array([case.row["kind"] for case in prefill.cases])
    masks["GPU and Apple"] = kinds != "cpu"
    for name, mask in masks.items():
        if mask.any():
            print(line(name, prefill_errors[mask], prefill.group_of[mask], []))
    for title, problem, off in (("decode", decode, errors), ("prefill", prefill, prefill_errors)):
        for index in np.argsort(-np.abs(off))[:worst]:
            case = problem.cases[index]
            facts = [case.row[key] for key in ("row_id", "device", "engine", "backend", "model", "quant", "context_depth", "batch", "n_devices")]
            print(f"{title} x {math.exp(off[index]):.2f}  {' '.join(facts)}")
    if dump:
        _dump(dump, (("decode", decode, errors), ("prefill", prefill, prefill_errors)))


def _dump(path: str, parts: tuple[tuple[str, Problem, Array], ...]) -> None:
    with Path(path).open("w", newline="") as stream:
        writer = csv.writer(stream)
        keys = list(parts[0][1].cases[0].row)
        writer.writerow(["what", "error", "class", *keys])
        for title, problem, off in parts:
            for case, error in zip(problem.cases, off, strict=True):
                writer.writerow([title, f"{error:.4f}", case.speed_class, *(case.row[key] for key in keys)])
