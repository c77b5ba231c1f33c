"""What quants cost beyond their divergence: more on some axes than on others, less for large models.

Read from catalog/measurements/quant_quality.csv: perplexities of several sizes, and scores of one model with and
without quantization. A drop in log-odds becomes doublings by the scale that the benchmark has in the fit.
"""

from __future__ import annotations

import csv
from functools import cache
from math import log, log2
from pathlib import Path
from statistics import mean

import numpy as np

from tools.quality_model import Fit

FILE = Path(__file__).parents[1] / "catalog" / "measurements" / "quant_quality.csv"

# Billions of parameters of the models whose perplexity was measured (their model cards).
SIZES = {
    "Llama-3.2-1B": 1.24,
    "salamandra-2b-instruct": 2.25,
    "Llama-2-7B": 6.74,
    "Llama-3-8B": 8.03,
    "Llama-2-70B": 69.0,
    "Llama-3.1-70B": 70.6,
}

# The file's names of tasks, the benchmark whose scale they have, and the axis that they speak of. None: the average.
TASKS = {
    "MMLU": ("MMLU", None),
    "IFEval": ("IFEval", "chat"),
    "IFEval_strict": ("IFEval", "chat"),
    "GSM8K": ("GSM8K", "reasoning"),
    "MATH": ("MATH", "reasoning"),
    "BFCL_v2": ("BFCL v2", "tools"),
}
REFERENCE_TASK = "MMLU"
FULL = frozenset({"BF16", "F16", "FP16", "fp16"})


@cache
def rows() -> tuple[dict[str, str], ...]:
    """The rows of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def perplexity_losses() -> list[tuple[str, float, float]]:
    """Quant, log2 of the size in billions, and logarithm of the perplexity's growth."""
    found = []
    for row in rows():
        size, value = SIZES.get(row["model"]), float(row["value"])
        if size is None or row["quant"] in FULL:
            continue
        match row["metric"]:
            case "ln_ppl_ratio":
                loss = value
            case "ppl_ratio":
                loss = log(value)
            case "ppl_increase_pct":
                loss = log(1 + value / 100)
            case "ppl" if row["model"] == "Llama-2-70B":
                loss = log(value / float(row["baseline"].split()[-1]))
            case _:
                continue
        if loss > 0:
            found.append((row["quant"], log2(size), loss))
    return found


def per_size_doubling() -> float:
    """The factor by which a doubling of size changes what a quant costs: least squares with a constant per quant."""
    found = perplexity_losses()
    quants = sorted({quant for quant, _, _ in found if sum(other == quant for other, _, _ in found) > 1})
    used = [(quant, size, loss) for quant, size, loss in found if quant in quants]
    design = np.array([[size, *[float(quant == each) for each in quants]] for quant, size, _ in used])
    solved, *_ = np.linalg.lstsq(design, np.array([log2(loss) for _, _, loss in used]), rcond=None)
    return float(2 ** solved[0])


def _scale(found: Fit, benchmark: str) -> float:
    return mean(value for (name, _), value in found.scales.items() if name == benchmark)


def task_losses(found: Fit) -> dict[tuple[str, str], dict[str, float]]:
    """Doublings lost on each task by (model, quant), where the full model's score stands beside."""
    full = {(row["model"], row["metric"]): float(row["value"]) for row in rows() if row["quant"] in FULL}
    losses: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows():
        task, key = TASKS.get(row["metric"]), (row["model"], row["metric"])
        if task is None or key not in full or row["quant"] in FULL:
            continue
        drop = _log_odds(full[key]) - _log_odds(float(row["value"]))
        losses.setdefault((row["model"], row["quant"]), {})[row["metric"]] = drop / _scale(found, task[0])
    return losses


def _log_odds(percent: float) -> float:
    return log(percent / (100 - percent))


def quant_effect(found: Fit, axis: str) -> dict[str, float]:
    """The `quant` record of an axis: its loss over that of general knowledge, for the same models and quants. An axis
    of which no task was measured has the average, factor 1; none loses less than the average."""
    own, reference, count = 0.0, 0.0, 0
    for losses in task_losses(found).values():
        here = [value for name, value in losses.items() if TASKS[name][1] == axis]
        if here and REFERENCE_TASK in losses:
            own, reference, count = own + mean(here), reference + losses[REFERENCE_TASK], count + len(here)
    factor = max(own / reference, 1.0) if count else 1.0
    return {"factor": round(factor, 2), "per_size_doubling": round(per_size_doubling(), 3), "scores": count}


def quant_table(found: Fit) -> str:
    """The table of docs/quality.md."""
    lines = ["| axis | loss over that of MMLU | scores |", "|---|---|---|"]
    for axis in ("chat", "reasoning", "tools"):
        effect = quant_effect(found, axis)
        lines.append(f"| {axis} | {effect['factor']:.2f} | {effect['scores']:.0f} |")
    sizes = len(perplexity_losses())
    lines += ["", f"Each doubling of size multiplies the loss by {per_size_doubling():.3f} ({sizes} perplexities)."]
    return "\n".join(lines)
