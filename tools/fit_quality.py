"""Fit how able each model is from the published scores in the catalog.

    python tools/fit_quality.py            write catalog/abilities.yaml, catalog/axes.yaml, tables of docs/quality.md
    python tools/fit_quality.py --check    exit 5 when one of them is not what the scores give; write nothing
    python tools/fit_quality.py --rank chat   print the models of an axis in order, to be read by eye

The model is described in tools/quality_model.py, its error in docs/quality.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import cache
from math import log, log2
from pathlib import Path

# One thread: the order of sums, and with it the last digits, must not depend on the machine; and it is faster here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import planner
from planner.catalog.records import Model
from planner.planning.recommend import parameter_counts
from tools.quality_model import GENERAL, Fit, Observation, Subject, fit, posterior
from tools.quality_report import held_out_table, replace_tables
from tools.quant_evidence import quant_effect, quant_table

CATALOG = Path(__file__).parents[1] / "catalog"

# The first month of `years`, and the date of a model whose release is unknown: the middle of the catalog's span.
FIRST_YEAR, UNKNOWN_YEARS = 2024, 1.5

# What each benchmark asks for. GENERAL: a mixture of everything, it speaks for all axes alike.
AXES: dict[str, tuple[str, tuple[str, ...]]] = {
    GENERAL: (
        "everything together",
        (
            "AA-Intelligence-Index", "AA Intelligence Index 2025-11", "LiveBench", "MMLU", "MMLU-Pro",
        ),
    ),
    "chat": (
        "conversation and following instructions",
        (
            "Arena Elo 2026-04", "Arena Hard", "Arena Hard v2", "IFBench", "IFEval", "IFEval avg",
            "IFEval prompt strict",
        ),
    ),
    "code": (
        "writing and repairing programs",
        (
            "Aider-Polyglot", "HumanEval", "LiveCodeBench", "LiveCodeBench 2305-2409", "LiveCodeBench v6",
            "SWE-bench Pro", "SWE-bench Verified",
        ),
    ),
    "reasoning": (
        "several steps before an answer",
        (
            "AIME-2024", "AIME-2025", "AIME-2025 no tools", "AIME-2026", "AIME-2026 no tools", "GPQA", "GPQA Diamond",
            "GSM8K", "MATH", "MATH-500",
        ),
    ),
    "tools": (
        "calling tools turn after turn",
        ("BFCL v2", "BFCL v3", "Tau2", "Tau2 avg3", "Terminal-Bench", "Terminal-Bench 2"),
    ),
    "long-context": (
        "finding and joining facts in long texts",
        ("AA-LCR", "InfiniteBench En MC", "MRCR v2 128K", "NIH multi needle"),
    ),
    "vision": ("questions about images", ("MMMU",)),
    "multilingual": ("languages other than English", ("MMMLU",)),
    "embedding": ("vectors for search", ("MTEB avg 56", "MTEB retrieval")),
}  # fmt: skip
AXIS_OF = {benchmark: axis for axis, (_, names) in AXES.items() for benchmark in names}

# A model that is more often wrong than right here is of little use. Of the general benchmarks the one whose scores
# span the widest range of abilities, from a third of a billion parameters to the largest.
USEFUL_BENCHMARK = "MMLU-Pro"

# A tag of the catalog that says for which axis a model was made.
TAG_AXES = {"code": "code"}


def log_odds(benchmark: str, value: float) -> float:
    """A score as log-odds: percentages by their odds, an Elo rating by its own definition (400 points: a factor 10)."""
    if "Elo" in benchmark:
        return (value - 1400) * log(10) / 400
    share = min(max(value / 100, 0.005), 0.995)
    return log(share / (1 - share))


def years_of(model: Model) -> float:
    """Years from January 2024 to the release."""
    released = model.released or model.repo_created
    if released is None:
        return UNKNOWN_YEARS
    year, _, rest = released.partition("-")
    return int(year) - FIRST_YEAR + ((int(rest[:2]) - 1) / 12 if rest[:2].isdigit() else 0.5)


def subject_of(model: Model) -> Subject | None:
    """None for a model without known parameter counts, or one that makes images."""
    counts = parameter_counts(model)
    if counts is None or model.kind == "image":
        return None
    total, active = counts
    return Subject(
        id=model.id,
        vendor=model.vendor or model.family,
        family=model.family,
        size=log2(active / 1e9),
        ratio=log2(total / active),
        years=years_of(model),
        thinks=float(model.thinking != "no"),
        tags=frozenset(TAG_AXES[tag] for tag in model.tags if tag in TAG_AXES),
    )


@cache
def subjects() -> dict[str, Subject]:
    """Every model that an ability can be said of."""
    found = ((model.id, subject_of(model)) for model in planner.load_catalog().models.values())
    return {name: subject for name, subject in found if subject is not None}


def source_groups(sources: set[str]) -> dict[str, str]:
    """A source with a remark behind it (`... (no thinking)`) is the source without the remark."""
    return {
        source: min((other for other in sources if source.startswith(other)), key=len, default=source)
        for source in sources
    }


@cache
def observations() -> tuple[Observation, ...]:
    """All scores of the catalog that an axis is known for. An unknown benchmark is an error: name its axis."""
    known, models = subjects(), planner.load_catalog().models.values()
    groups = source_groups({score.source for model in models for score in model.scores})
    return tuple(
        Observation(
            subject=known[model.id],
            axis=AXIS_OF[score.benchmark],
            benchmark=score.benchmark,
            source=groups[score.source],
            value=log_odds(score.benchmark, score.value),
        )
        for model in models
        if model.id in known
        for score in model.scores
    )


def _embeds(name: str) -> bool:
    return planner.load_catalog().models[name].kind == "embedding"


def axes_of(name: str) -> tuple[str, ...]:
    """The axes that a model is compared on."""
    if _embeds(name):
        return ("embedding",)
    return tuple(axis for axis in AXES if axis not in {GENERAL, "embedding"})


def abilities(found: Fit) -> dict[str, dict[str, tuple[float, float]]]:
    """Expected ability and its standard deviation of every model on each of its axes, rounded as they are stored."""
    points = [(subject, axis) for name, subject in subjects().items() for axis in axes_of(name)]
    means, deviations = posterior(found, points)
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for (subject, axis), mean, deviation in zip(points, means, deviations, strict=True):
        result.setdefault(subject.id, {})[axis] = round(float(mean), 2), round(float(deviation), 2)
    return result


def scores_of(name: str) -> dict[str, int]:
    """How many scores a model has, by axis."""
    counts: dict[str, int] = {}
    for each in observations():
        if each.subject.id == name:
            counts[each.axis] = counts.get(each.axis, 0) + 1
    return counts


def total_of(name: str) -> int:
    """Total parameters of a model that is compared."""
    counts = parameter_counts(planner.load_catalog().models[name])
    assert counts is not None
    return counts[0]


def siblings_of(name: str) -> int:
    """How many other models of the family have scores."""
    own = subjects()[name]
    return len({each.subject.id for each in observations() if each.subject.family == own.family} - {name})


def abilities_yaml(found: Fit) -> str:
    """`catalog/abilities.yaml`."""
    lines = [
        "# How able each model is on each axis (catalog/axes.yaml): written by tools/fit_quality.py, not by hand.",
        "# axes: [expected, standard deviation], in doublings of a dense model's size. They rest on the scores that",
        "# the model's entry holds with their sources (scores: how many on which axis, siblings: models of the same",
        "# family with scores); a model without any has what its family, vendor, size and date suggest, and the wide",
        "# range of that.",
    ]
    for name, axes in sorted(abilities(found).items()):
        counts = ", ".join(f"{axis}: {count}" for axis, count in sorted(scores_of(name).items()))
        values = ", ".join(f"{axis}: [{mean:.2f}, {deviation:.2f}]" for axis, (mean, deviation) in axes.items())
        lines.append(f"- id: {name}")
        lines.append(f"  total_parameters: {total_of(name):_}")
        lines.append(f"  scores: {{{counts}}}")
        lines.append(f"  siblings: {siblings_of(name)}")
        lines.append(f"  axes: {{{values}}}")
    return "\n".join(lines) + "\n"


def axes_yaml(found: Fit) -> str:
    """`catalog/axes.yaml`: bands and the prior of a model that the fit has not seen."""
    known, half_right = abilities(found), half_right_at(found, USEFUL_BENCHMARK)
    lines = [
        "# What models are compared on: written by tools/fit_quality.py, not by hand.",
        f"# useful_from: the ability at which half of {USEFUL_BENCHMARK} is right; less is of little use.",
        "# band_width: the median deviation of the abilities on the axis. Models between the same",
        "# two band_edges count as equally able. prior: expected of a model that the fit has not seen, in doublings:",
        "# intercept + log2(active parameters in billions) + per_ratio_doubling x log2(total / active)",
        "# + per_year x years since January 2024 (+ thinking, where the model thinks) (+ tagged, where it is).",
    ]
    for axis, (title, benchmarks) in AXES.items():
        if axis == GENERAL:
            continue
        values = [axes[axis] for axes in known.values() if axis in axes]
        width = round(float(np.median([deviation for _, deviation in values])), 2)
        least, most = min(mean for mean, _ in values) - 4, max(mean for mean, _ in values) + 2
        first = int(least // width)
        edges = [round(width * step, 2) for step in range(first, int(most // width) + 2)]
        prior = _prior_of(found, axis)
        scored = sum(1 for each in observations() if each.axis == axis)
        general = 0 if axis == "embedding" else sum(1 for each in observations() if each.axis == GENERAL)
        lines += [
            f"- id: {axis}",
            f"  title: {title}",
            f"  benchmarks: [{', '.join(benchmarks)}]",
            f"  scores: {scored}",
            f"  general_scores: {general}",
            f"  band_width: {width}",
            f"  band_edges: [{', '.join(f'{edge:.2f}' for edge in edges)}]",
            "  prior: {" + ", ".join(f"{key}: {value:.2f}" for key, value in prior.items()) + "}",
        ]
        effect = quant_effect(found, axis)
        lines.append("  quant: {" + ", ".join(f"{key}: {value}" for key, value in effect.items()) + "}")
        if axis != "embedding":
            lines.append(f"  useful_from: {half_right:.2f}")
        tags = [tag for tag, own in TAG_AXES.items() if own == axis]
        if tags:
            lines.append(f"  tag: {tags[0]}")
    return "\n".join(lines) + "\n"


def half_right_at(found: Fit, benchmark: str) -> float:
    """The ability whose expected score on a benchmark is 50 %: even odds, so log-odds of 0."""
    own = [each for each in found.observations if each.benchmark == benchmark]
    means, _ = posterior(found, [(each.subject, each.axis) for each in own])
    scales = [found.scales[each.benchmark, each.source] for each in own]
    return float(np.mean([mean - each.value / scale for mean, each, scale in zip(means, own, scales, strict=True)]))


def _prior_of(found: Fit, axis: str) -> dict[str, float]:
    """The ability is linear in what is known of a model of a new vendor, so five of them tell all coefficients."""

    def stranger(ratio: float = 0.0, years: float = 0.0, thinks: float = 0.0, *tags: str) -> tuple[Subject, str]:
        return Subject("?", "?", "?", 0.0, ratio, years, thinks, frozenset(tags)), axis

    points = [stranger(), stranger(ratio=1.0), stranger(years=1.0), stranger(thinks=1.0), stranger(0.0, 0.0, 0.0, axis)]
    means, _ = posterior(found, points)
    _, deviation = posterior(found, [stranger(years=UNKNOWN_YEARS + 1, thinks=0.5)])
    base = float(means[0])
    return {
        "intercept": base,
        "per_ratio_doubling": float(means[1]) - base,
        "per_year": float(means[2]) - base,
        "thinking": float(means[3]) - base,
        "tagged": float(means[4]) - base,
        "deviation": float(deviation[0]),
    }


@cache
def fitted() -> Fit:
    """The fit to all scores."""
    return fit(observations())


def outputs() -> dict[Path, str]:
    """Every file that this tool writes, by path."""
    found = fitted()
    docs = CATALOG.parent / "docs" / "quality.md"
    return {
        CATALOG / "abilities.yaml": abilities_yaml(found),
        CATALOG / "axes.yaml": axes_yaml(found),
        docs: replace_tables(
            docs.read_text(encoding="utf-8"), {"held-out": held_out_table(found), "quants": quant_table(found)}
        ),
    }


def rank(axis: str) -> str:
    """Models of one axis, the most able first."""
    ordered = sorted(((axes[axis], name) for name, axes in abilities(fitted()).items() if axis in axes), reverse=True)
    lines = []
    for (mean, deviation), name in ordered:
        count = sum(scores_of(name).values())
        lines.append(f"{mean:6.2f} ± {deviation:.2f}  {count:2d} scores  {name}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rank")
    arguments = parser.parse_args()
    if arguments.rank:
        print(rank(arguments.rank))
        return 0
    made = outputs()
    changed = [str(path) for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    if arguments.check:
        print("\n".join(f"not current: {name}" for name in changed) or "abilities are what the scores give")
        return 5 if changed else 0
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
