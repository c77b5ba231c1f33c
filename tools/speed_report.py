"""Error tables of the speed fit: ours and the rule of thumb's, and what repeated measurements differ by."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from speed_cases import Case
from speed_problem import Array, Problem

from planner.speed.constants import SpeedConstants
from planner.speed.decode import step_costs

Figures = dict[str, float]
WORKED = ("T1690", "T1098", "T1072")  # a card with recurrent layers at depth, another vendor's, a CPU


def quantile(values: Array, weights: Array, level: float) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(len(values) - 1, int(np.searchsorted(cumulative, min(level, 1.0))))])


def device_weights(groups: Array) -> Array:
    """Every device counts as one, however many rows it has."""
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse]


def plain_rule(case: Case) -> float:
    """log of (0.55 x bandwidth / active bytes) over measured, the usual rule of thumb."""
    row = case.row
    active = float(row["active_b"] or 0) / float(row["params_b"] or 1) if row["active_b"] else 1.0
    size = float(row["file_gb"]) * active
    on_cpu = float(row["cpu_active_gb"] or 0) if row["kind"] == "hybrid" else 0.0
    seconds = max(size - on_cpu, 0.0) / (0.55 * float(row["mem_bw_gbs"]) * case.placement.tensor_parallel)
    seconds += on_cpu / (0.55 * float(row["host_bw_gbs"] or row["mem_bw_gbs"]))
    return -math.log(seconds) - math.log(float(row["tg_tok_s"]))


def spread(errors: Array, weights: Array | None = None) -> tuple[float, float]:
    """Median and 90th percentile of |relative error| in percent, to a tenth."""
    relative = np.abs(np.exp(errors) - 1) * 100
    weights = np.ones(len(relative)) if weights is None else weights
    return round(quantile(relative, weights, 0.5), 1), round(quantile(relative, weights, 0.9), 1)


def masks_of(problem: Problem, kind: str) -> dict[str, Array]:
    """Rows of each class and of the cuts across them."""
    classes = np.array([case.speed_class for case in problem.cases], dtype=object)
    masks = {"all": np.ones(len(classes), dtype=bool)} | {str(name): classes == name for name in sorted(set(classes))}
    if kind == "decode":
        depth = np.array([case.depth if case.batch == 1 else 0 for case in problem.cases])
        masks["depth >= 4k"], masks["depth >= 30k"] = depth >= 4096, depth >= 30000
    else:
        masks["GPU and Apple"] = classes != "cpu"
    return masks


def figures(problem: Problem, errors: Array, held: Array, kind: str) -> dict[str, Figures]:
    """Everything that is stored of each class."""
    rule = np.array([plain_rule(case) for case in problem.cases]) if kind == "decode" else None
    found: dict[str, Figures] = {}
    for name, mask in masks_of(problem, kind).items():
        groups = problem.group_of[mask]
        median, p90 = spread(errors[mask])
        device_median, device_p90 = spread(errors[mask], device_weights(groups))
        entry: Figures = {"rows": int(mask.sum()), "devices": len(set(groups)), "median": median, "p90": p90,
                          "device_median": device_median, "device_p90": device_p90,
                          "in_range": round(float(held[mask].mean()), 3)}  # fmt: skip
        if rule is not None and name != "concurrency":
            entry["rule_median"], entry["rule_p90"] = spread(rule[mask])
        found[name] = entry
    return found


def repeats(problem: Problem) -> Figures:
    """What two publishers' rates of the same device, model, quant, backend and about the same depth differ by."""
    same: dict[tuple[Any, ...], list[tuple[str, float]]] = defaultdict(list)
    for case, measured in zip(problem.cases, problem.measured, strict=True):
        keys = ("device", "n_devices", "parallel", "backend", "model", "quant", "batch", "kv_type", "offload")
        near = round(math.log2(max(case.depth, 256.0)))
        same[*(case.row[key] for key in keys), near].append((case.row["source"], float(measured)))
    pairs = [a[1] - b[1] for rows in same.values() for a, b in combinations(rows, 2) if a[0] != b[0]]
    median, p90 = spread(np.array(pairs))
    return {"pairs": len(pairs), "median": median, "p90": p90}


def print_errors(stored: dict[str, dict[str, Figures]], inside: dict[str, dict[str, Figures]]) -> None:
    """The tables, left out and in sample."""
    for kind, classes in stored.items():
        heads = "".join(f"{head:>14}" for head in ("left out", "per device", "in sample", "0.55 BW rule"))
        print(f"\n{kind:<18}{'rows':>5}{'devices':>8}{heads}{'in range':>10}")
        for name, entry in classes.items():
            own = inside[kind][name]
            pairs = [(entry["median"], entry["p90"]), (entry["device_median"], entry["device_p90"]),
                     (own["median"], own["p90"])]  # fmt: skip
            cells = "".join(f"{f'{median:.1f} / {p90:.0f}':>14}" for median, p90 in pairs)
            rule = f"{entry['rule_median']:.1f} / {entry['rule_p90']:.0f}" if "rule_median" in entry else "-"
            held = f"{entry['in_range'] * 100:.0f} %"
            print(f"{name:<18}{entry['rows']:>5}{entry['devices']:>8}{cells}{rule:>14}{held:>10}")


def print_worst(problem: Problem, errors: Array, count: int) -> None:
    """The rows with the largest errors."""
    keys = ("row_id", "device", "engine", "backend", "model", "quant", "context_depth", "batch", "n_devices")
    for index in np.argsort(-np.abs(errors))[:count]:
        row = problem.cases[index].row
        print(f"x {math.exp(errors[index]):.2f}  {' '.join(row[key] for key in keys)}")


def worked(problem: Problem, constants: dict[str, Any]) -> str:
    """The sums of three rows, term by term, beside what was measured."""
    record = msgspec.convert(constants, SpeedConstants)
    cases = {case.row["row_id"]: case for case in problem.cases}
    blocks = []
    for row_id in WORKED:
        case = cases[row_id]
        row = case.row
        costs = step_costs(case.step(record), case.depth, 1.0)
        title = (
            f"{row['device']}, {row['model']} {row['quant']} at {row['context_depth']} tokens of depth, {row['engine']}"
        )
        lines = [f"{title} on {row['backend']} (row {row_id}):", ""]
        lines += [f"    {cost.term.name:<34}{cost.term.text}" for cost in costs]
        seconds = sum(cost.seconds for cost in costs)
        rate = f"{1 / seconds:.1f} tok/s; measured {row['tg_tok_s']}"
        lines.append(f"    {'together':<34}{seconds * 1e3:.2f} ms = {rate}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def dump(path: str, parts: list[tuple[str, Problem, Array]]) -> None:
    """Every row with its error, to look at."""
    with Path(path).open("w", newline="") as stream:
        writer = csv.writer(stream)
        keys = list(parts[0][1].cases[0].row)
        writer.writerow(["what", "error", "class", *keys])
        for title, problem, errors in parts:
            for case, error in zip(problem.cases, errors, strict=True):
                writer.writerow([title, f"{error:.4f}", case.speed_class, *(case.row[key] for key in keys)])
