"""The table of docs/speed.md from the errors that catalog/speed.yaml stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.pages import between

PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
NAMES = {
    "all": "all", "dense-gpu": "dense, one GPU", "moe-gpu": "MoE, one GPU", "apple": "Apple", "cpu": "CPU",
    "cpu-gpu": "CPU + GPU", "multi-gpu": "several GPUs", "concurrency": "concurrency",
    "depth >= 4k": "depth of 4k and more", "depth >= 30k": "depth of 30k and more", "GPU and Apple": "GPU and Apple",
}  # fmt: skip
GOALS = {
    ("decode", "all"): (11.5, 33), ("decode", "dense-gpu"): (8, 23), ("decode", "moe-gpu"): (14, 26),
    ("decode", "apple"): (9, 21), ("decode", "cpu"): (17, 50), ("decode", "cpu-gpu"): (18, 40),
    ("decode", "multi-gpu"): (9, 22), ("decode", "concurrency"): (19, 42), ("decode", "depth >= 4k"): (12, 38),
    ("prefill", "GPU and Apple"): (14, 40),
}  # fmt: skip


def table(errors: dict[str, Any]) -> str:
    """Rows per class: error, device-balanced error, the rule of thumb, share of rows inside their range."""
    lines = ["| | rows | devices | median / p90 | each device once | 0.55 x bandwidth / active | goal | in range |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for kind in ("decode", "prefill"):
        for name, entry in errors[kind].items():
            lines.append(
                f"| {kind}: {NAMES[name]} | {_cells(entry)} | {_goal(kind, name, entry)} | {entry['in_range']:.0%} |"
            )
    return "\n".join(lines).replace("%", " %")


def _cells(entry: dict[str, float]) -> str:
    rule = f"{entry['rule_median']:.1f} / {entry['rule_p90']:.0f}" if "rule_median" in entry else "no such formula"
    ours = f"{entry['median']:.1f} / {entry['p90']:.0f} | {entry['device_median']:.1f} / {entry['device_p90']:.0f}"
    return f"{entry['rows']} | {entry['devices']} | {ours} | {rule}"


def _goal(kind: str, name: str, entry: dict[str, float]) -> str:
    """The goal, and whether the median and the 90th percentile reach it."""
    goal = GOALS.get((kind, name))
    if goal is None:
        return ""
    reached = [entry["median"] <= goal[0], entry["p90"] <= goal[1]]
    words = {(True, True): "reached", (True, False): "median reached", (False, True): "p90 reached"}
    return f"{goal[0]:g} / {goal[1]} {words.get((reached[0], reached[1]), 'not reached')}"


def page(errors: dict[str, Any], worked: str) -> str:
    """docs/speed.md with its table and its worked rows made anew."""
    text = between(PAGE.read_text(encoding="utf-8"), "rows", worked)
    return between(text, "errors", table(errors))
