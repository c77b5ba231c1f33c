"""How able a model is, in size doublings, from published evidence; and what a quant takes away from it.

No model has a hand-set score. The unit is one doubling of a dense model's parameters:

    prior    = log2(sqrt(total x active) in billions) + DOUBLINGS_PER_YEAR x (release - 2024)
    evidence = for each benchmark that enough models publish: a straight line score = a + b x prior over those
               models, read backwards for this model's score, at most MOST_DEVIATION away from its prior
    ability  = weighted mean of the prior (weight 1) and the evidence (weights of the workload, else 1),
               less UNPROVEN without any evidence

Loss of a quant: its measured KL divergence divided by NATS_PER_DOUBLING.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import log2, sqrt

from planner.catalog.records import Model, Quant, Workload
from planner.servers.gguf import is_mxfp4_native
from planner.sizing.records import Record

# Slope of MMLU-Pro over release date divided by its slope over log2 size: 14.1 / 8.6, least squares over the 24 models
# of the catalog that publish both (2026-11). Reasoning benchmarks give 4 to 5; the lowest is taken, scores do the rest.
DOUBLINGS_PER_YEAR = 1.65

# LLaMA 7B and 13B, same data: perplexity 5.9066 and 5.2543 (llama.cpp README, 2023):
# ln(5.9066 / 5.2543) / log2(13.02 / 6.74) = 0.117 / 0.950.
NATS_PER_DOUBLING = 0.123

# A line through fewer published scores than this says more about the models than about the benchmark.
LEAST_SCORES = 8

# A single published figure moves a model by at most this many doublings.
MOST_DEVIATION = 3.0

# A tag that the workload prefers (`code`) counts as half a doubling.
TAG_BONUS = 0.5

# A model of which no comparable score is published counts half a doubling less: its prior may flatter it.
UNPROVEN = 0.5

# A model whose release is unknown counts as one of the middle of the catalog's span.
UNKNOWN_RELEASE_YEARS = 1.0

# Loss of a quant without a measurement, by nominal bits: the same decade of bits has about the same damage
# (KL of Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q3_K_M, Q2_K on Llama-3-8B, llama.cpp tools/perplexity/README.md).
ASSUMED_KL = ((8.0, 0.0014), (6.0, 0.0055), (5.0, 0.011), (4.0, 0.031), (3.0, 0.10), (2.0, 0.45), (0.0, 1.4))

Counts = Callable[[Model], tuple[int, int] | None]


class Ability(Record):
    """Ability in doublings and how it came about: the prior alone, or with so many published scores."""

    doublings: float
    prior: float
    scores: int

    @property
    def basis(self) -> str:
        """The evidence in words."""
        if self.scores == 0:
            return "size and release date only, no published score is comparable"
        return f"size, release date and {self.scores} published score{'s' if self.scores > 1 else ''}"


class Line(Record):
    """A benchmark's scores as a line over the prior."""

    intercept: float
    slope: float


def years_since_2024(released: str | None) -> float:
    """Years from January 2024 to the release (`2026-04-22` or `2026-04`)."""
    if released is None:
        return UNKNOWN_RELEASE_YEARS
    year, _, rest = released.partition("-")
    month = rest[:2]
    return int(year) - 2024 + ((int(month) - 1) / 12 if month.isdigit() else 0.5)


def prior_of(total_parameters: int, active_parameters: int, released: str | None) -> float:
    """Doublings that size and generation alone suggest; an MoE counts as the geometric mean of total and active."""
    size = sqrt(total_parameters * active_parameters) / 1e9
    return log2(max(size, 0.01)) + DOUBLINGS_PER_YEAR * years_since_2024(released)


def benchmark_lines(models: Iterable[Model], priors: Mapping[str, float]) -> dict[str, Line]:
    """A line per benchmark that at least LEAST_SCORES models publish and that rises with the prior."""
    points: dict[str, list[tuple[float, float]]] = {}
    for model in models:
        if model.id in priors:
            for score in model.scores:
                points.setdefault(score.benchmark, []).append((priors[model.id], score.value))
    fitted = ((name, _line(found)) for name, found in points.items() if len(found) >= LEAST_SCORES)
    return {name: line for name, line in fitted if line is not None and line.slope > 0}


def _line(points: list[tuple[float, float]]) -> Line | None:
    """Least squares; None when all points share one x."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return None
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return Line(intercept=mean_y - slope * mean_x, slope=slope)


def ability_of(model: Model, prior: float, lines: Mapping[str, Line], workload: Workload) -> Ability:
    """The model's ability for a workload. More comparable scores move it further from its prior."""
    total, weights, used = prior, 1.0, 0
    for score in model.scores:
        line = lines.get(score.benchmark)
        if line is None:
            continue
        evidence = (score.value - line.intercept) / line.slope
        evidence = min(max(evidence, prior - MOST_DEVIATION), prior + MOST_DEVIATION)
        weight = workload.score_weights.get(score.benchmark, 1.0)
        total, weights, used = total + weight * evidence, weights + weight, used + 1
    bonus = TAG_BONUS if set(workload.prefer_tags) & set(model.tags) else 0.0
    doubt = 0.0 if used else UNPROVEN
    return Ability(doublings=total / weights + bonus - doubt, prior=prior, scores=used)


def abilities(models: Mapping[str, Model], counts: Counts, workload: Workload) -> dict[str, Ability]:
    """Abilities of all models whose parameter counts are known (`counts`: total and active)."""
    priors = {}
    for model in models.values():
        known = counts(model)
        if known is not None:
            priors[model.id] = prior_of(*known, model.released or model.repo_created)
    lines = benchmark_lines((models[name] for name in priors), priors)
    return {name: ability_of(models[name], prior, lines, workload) for name, prior in priors.items()}


def kl_divergence(quant: Quant) -> tuple[float, bool]:
    """Mean KL divergence of a quant to 16 bits, and whether it was measured (else assumed from nominal bits)."""
    if quant.loss is not None:
        return quant.loss.kl_divergence, True
    if quant.speed_class == "16bit":
        return 0.0, True
    return next(kl for bits, kl in ASSUMED_KL if quant.nominal_bits >= bits), False


def native(model: Model, quant: Quant) -> bool:
    """Whether the model was trained and published in this quant, so that nothing is lost."""
    return is_mxfp4_native(model) and quant.scheme.startswith("mxfp4")


def lost_doublings(quant: Quant, model: Model | None = None) -> float:
    """Doublings that a quant costs a model."""
    if model is not None and native(model, quant):
        return 0.0
    return kl_divergence(quant)[0] / NATS_PER_DOUBLING
