"""The statistical model behind `catalog/abilities.yaml`: one Gaussian process over all published scores.

A score in log-odds, of benchmark b, read in source s, for model m:

    y = offset(b) + offset(b, s) + scale(b, s) x ability(m, axis of b) + noise

    ability(m, a) = size + r x log2(total / active) + t x years + h x thinks      the same for all axes
                  + t_a x years + h_a x thinks + g_a x tagged for the axis        what an axis adds
                  + vendor + lineage + family + model + (family, a) + (model, a)  partial pooling
    size = log2(active parameters in billions)

A vendor's models share their lineage the more, the closer their sizes and dates are: Qwen3.6-27B tells of Qwen3.8-27B.
The unit is one doubling of a dense model: the coefficient of `size` is 1 and scales carry the rest. Everything but the
scales and the standard deviations is linear and Gaussian, so it is integrated out exactly; scales and deviations are
those of the highest marginal likelihood, with log-normal priors. No step is random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

GENERAL = "general"

# Prior means and deviations of coefficients (mean, deviation), in doublings per unit.
RATIO = (0.5, 0.25)  # geometric mean of total and active parameters: half a doubling per doubling of the ratio
YEARS = (1.5, 1.0)
THINKS = (0.0, 1.0)
AXIS_YEARS, AXIS_THINKS, AXIS_TAGGED = 0.3, 1.0, 0.5
# Deviations of a benchmark's offset in log-odds: wide, so that only the scores decide.
OFFSET = 4.0

# What is fitted by marginal likelihood: start and the log-deviation of its prior. Doublings, but noise and source in
# log-odds. `scale` is how log-odds grow with a doubling on a typical benchmark.
START = {
    "vendor": 0.5,
    "lineage": 0.5,
    "family": 0.5,
    "model": 0.7,
    "family_axis": 0.3,
    "model_axis": 0.5,
    "source": 0.2,
    "noise": 0.15,
    "scale": 0.35,
}
# How far lineage reaches: doublings of size, and years.
NEAR_SIZE, NEAR_YEARS = 0.7, 0.75
PRIOR_SPREAD = 0.5
BENCHMARK_SPREAD = 0.3
SOURCE_SPREAD = 0.15
STEPS = 300


@dataclass(frozen=True)
class Subject:
    """What is known of a model beside its scores. `years` since 2024; `tags` decide nothing but `tagged`."""

    id: str
    vendor: str
    family: str
    size: float
    ratio: float
    years: float
    thinks: float
    tags: frozenset[str]


@dataclass(frozen=True)
class Observation:
    """One published score in log-odds."""

    subject: Subject
    axis: str
    benchmark: str
    source: str
    value: float


@dataclass(frozen=True)
class Fit:
    """Deviations by name, log scales per (benchmark, source), and the observations that they rest on."""

    deviations: dict[str, float]
    scales: dict[tuple[str, str], float]
    observations: tuple[Observation, ...]


Point = tuple[Subject, str]


def _same(left: list[Any], right: list[Any]) -> Vector:
    return np.array([[1.0 if a == b and a is not None else 0.0 for b in right] for a in left])


def _outer(left: list[float], right: list[float], deviation: float) -> Vector:
    return deviation**2 * np.outer(np.array(left), np.array(right))


def prior_mean(points: list[Point]) -> Vector:
    """What size, sparsity, and date suggest before any score."""
    return np.array([s.size + RATIO[0] * s.ratio + YEARS[0] * s.years for s, _ in points])


def _coefficients(left: list[Point], right: list[Point]) -> Vector:
    """Covariance that the uncertain coefficients give two abilities."""
    axes = _same([axis for _, axis in left], [axis for _, axis in right])
    own = axes * np.array([[float(b != GENERAL) for _, b in right] for _ in left])

    def each(points: list[Point], name: str) -> list[float]:
        return [float(getattr(subject, name)) for subject, _ in points]

    def tagged(points: list[Point]) -> list[float]:
        return [float(axis in subject.tags) for subject, axis in points]

    common = _outer(each(left, "ratio"), each(right, "ratio"), RATIO[1])
    common += _outer(each(left, "years"), each(right, "years"), YEARS[1])
    common += _outer(each(left, "thinks"), each(right, "thinks"), THINKS[1])
    extra = _outer(each(left, "years"), each(right, "years"), AXIS_YEARS)
    extra += _outer(each(left, "thinks"), each(right, "thinks"), AXIS_THINKS)
    extra += _outer(tagged(left), tagged(right), AXIS_TAGGED)
    return np.asarray(common + own * extra)


def _groups(left: list[Point], right: list[Point]) -> dict[str, Vector]:
    """Which abilities share a vendor, family, model, and the last two on one axis."""
    axes = _same([axis for _, axis in left], [axis for _, axis in right])
    own = axes * np.array([[float(b != GENERAL) for _, b in right] for _ in left])
    family = _same([s.family for s, _ in left], [s.family for s, _ in right])
    model = _same([s.id for s, _ in left], [s.id for s, _ in right])
    vendor = _same([s.vendor for s, _ in left], [s.vendor for s, _ in right])
    lineage = vendor * _near(left, right)
    return {
        "vendor": vendor,
        "lineage": lineage,
        "family": family,
        "model": model,
        "family_axis": own * family,
        "model_axis": own * model,
    }


def _near(left: list[Point], right: list[Point]) -> Vector:
    """How alike two models are in active size, sparsity and date, from 0 to 1."""
    size, ratio, years = (
        np.subtract.outer(
            np.array([getattr(s, name) for s, _ in left], dtype=float),
            np.array([getattr(s, name) for s, _ in right], dtype=float),
        )
        for name in ("size", "ratio", "years")
    )
    return np.asarray(np.exp(-(size**2 + ratio**2) / (2 * NEAR_SIZE**2) - np.abs(years) / NEAR_YEARS))


def covariance(left: list[Point], right: list[Point], deviations: dict[str, float]) -> Vector:
    """Covariance of abilities before any score."""
    groups = _groups(left, right)
    return _coefficients(left, right) + sum(
        (deviations[name] ** 2 * each for name, each in groups.items()), np.zeros(())
    )


class Process:
    """The marginal likelihood of the scores and its gradient, as a function of log deviations and log scales."""

    def __init__(self, observations: tuple[Observation, ...]) -> None:
        self.observations = observations
        self.points: list[Point] = [(each.subject, each.axis) for each in observations]
        self.values = np.array([each.value for each in observations])
        self.mean = prior_mean(self.points)
        self.fixed = _coefficients(self.points, self.points)
        self.groups = _groups(self.points, self.points)
        benchmarks = [each.benchmark for each in observations]
        pairs = [(each.benchmark, each.source) for each in observations]
        self.benchmarks = sorted(set(benchmarks))
        self.pairs = sorted(set(pairs))
        self.of_benchmark = np.array([[b == each for each in self.benchmarks] for b in benchmarks], dtype=float)
        self.of_pair = np.array([[p == each for each in self.pairs] for p in pairs], dtype=float)
        self.same_benchmark = self.of_benchmark @ self.of_benchmark.T
        self.same_pair = self.of_pair @ self.of_pair.T
        self.names = tuple(START)
        self.start = np.array(
            [*np.log(list(START.values())), *np.zeros(len(self.benchmarks)), *np.zeros(len(self.pairs))]
        )
        self.spread = np.array(
            [
                *[PRIOR_SPREAD] * len(START),
                *[BENCHMARK_SPREAD] * len(self.benchmarks),
                *[SOURCE_SPREAD] * len(self.pairs),
            ]
        )

    def unpack(self, at: Vector) -> tuple[dict[str, float], Vector]:
        """Deviations by name and the scale of each observation."""
        count = len(self.names)
        deviations = {name: float(np.exp(value)) for name, value in zip(self.names, at, strict=False)}
        log_scale = (
            at[self.names.index("scale")]
            + self.of_benchmark @ at[count : count + len(self.benchmarks)]
            + self.of_pair @ at[count + len(self.benchmarks) :]
        )
        return deviations, np.exp(log_scale)

    def evidence(self, at: Vector) -> tuple[Vector, Vector, Vector, Vector, dict[str, float]]:
        """Covariance of the scores, of the abilities, residuals and scales."""
        deviations, scale = self.unpack(at)
        ability = self.fixed + sum(
            (deviations[name] ** 2 * each for name, each in self.groups.items()), np.zeros_like(self.fixed)
        )
        total = np.outer(scale, scale) * ability + OFFSET**2 * self.same_benchmark
        total = total + deviations["source"] ** 2 * self.same_pair + deviations["noise"] ** 2 * np.eye(len(scale))
        return total, ability, self.values - scale * self.mean, scale, deviations

    def loss(self, at: Vector) -> tuple[float, Vector]:
        """Minus the log posterior of deviations and scales, and its gradient."""
        total, ability, residual, scale, deviations = self.evidence(at)
        inverse = np.linalg.inv(total)
        weights = inverse @ residual
        away = (at - self.start) / self.spread
        _, log_determinant = np.linalg.slogdet(total)
        value = 0.5 * (residual @ weights + log_determinant + away @ away)
        inner = inverse - np.outer(weights, weights)
        by_scale = np.sum(inner * np.outer(scale, scale) * ability, axis=1) - weights * scale * self.mean
        gradient = away / self.spread
        for index, name in enumerate(self.names):
            gradient[index] += self._by_name(name, inner, scale, deviations, by_scale)
        count = len(self.names)
        gradient[count : count + len(self.benchmarks)] += self.of_benchmark.T @ by_scale
        gradient[count + len(self.benchmarks) :] += self.of_pair.T @ by_scale
        return float(value), gradient

    def _by_name(
        self, name: str, inner: Vector, scale: Vector, deviations: dict[str, float], by_scale: Vector
    ) -> float:
        if name == "scale":
            return float(np.sum(by_scale))
        if name == "noise":
            return float(deviations[name] ** 2 * np.trace(inner))
        if name == "source":
            return float(deviations[name] ** 2 * np.sum(inner * self.same_pair))
        return float(deviations[name] ** 2 * np.sum(inner * np.outer(scale, scale) * self.groups[name]))


def fit(observations: tuple[Observation, ...], steps: int = STEPS, warm: Fit | None = None) -> Fit:
    """Deviations and scales of the highest posterior (BFGS with backtracking)."""
    process = Process(observations)
    at = process.start.copy() if warm is None else _warm(process, warm)
    at = _minimise(process, at, steps)
    deviations, _ = process.unpack(at)
    count, benchmarks = len(process.names), len(process.benchmarks)
    scales = {}
    for index, (benchmark, source) in enumerate(process.pairs):
        own = at[count + process.benchmarks.index(benchmark)] + at[count + benchmarks + index]
        scales[benchmark, source] = float(np.exp(np.log(deviations["scale"]) + own))
    return Fit(deviations, scales, observations)


def _warm(process: Process, warm: Fit) -> Vector:
    """The deviations and scales of a fit to more scores, as a place to start from."""
    count, typical = len(process.names), np.log(warm.deviations["scale"])
    own = {pair: np.log(scale) - typical for pair, scale in warm.scales.items()}
    shared = BENCHMARK_SPREAD**2 / (BENCHMARK_SPREAD**2 + SOURCE_SPREAD**2)
    for_benchmark = [
        shared * np.mean([own[pair] for pair in process.pairs if pair[0] == benchmark])
        for benchmark in process.benchmarks
    ]
    for_pair = [own[pair] - for_benchmark[process.benchmarks.index(pair[0])] for pair in process.pairs]
    at = np.array([*[np.log(warm.deviations[name]) for name in process.names], *for_benchmark, *for_pair])
    assert len(at) == count + len(process.benchmarks) + len(process.pairs)
    return at


def _minimise(process: Process, at: Vector, steps: int) -> Vector:
    inverse = np.diag(process.spread**2)
    value, gradient = process.loss(at)
    for _ in range(steps):
        step, length = -inverse @ gradient, 1.0
        slope = float(step @ gradient)
        while True:
            next_at = at + length * step
            next_value, next_gradient = process.loss(next_at)
            if next_value <= value + 1e-4 * length * slope or length < 1e-9:
                break
            length /= 2
        moved, turned = next_at - at, next_gradient - gradient
        along = float(moved @ turned)
        at, value, gradient = next_at, next_value, next_gradient
        if along > 1e-12:
            left = np.eye(len(at)) - np.outer(moved, turned) / along
            inverse = left @ inverse @ left.T + np.outer(moved, moved) / along
        if length < 1e-9 or float(np.max(np.abs(gradient))) < 1e-7:
            break
    return at


def posterior(found: Fit, points: list[Point]) -> tuple[Vector, Vector]:
    """Expected ability and standard deviation at each point, in doublings."""
    scale = np.array([found.scales[each.benchmark, each.source] for each in found.observations])
    known: list[Point] = [(each.subject, each.axis) for each in found.observations]
    total = _score_covariance(found, known, scale)
    residual = np.array([each.value for each in found.observations]) - scale * prior_mean(known)
    cross = covariance(points, known, found.deviations) * scale
    own = np.diag(covariance(points, points, found.deviations))
    mean = prior_mean(points) + cross @ np.linalg.solve(total, residual)
    variance = own - np.sum(cross * np.linalg.solve(total, cross.T).T, axis=1)
    return mean, np.sqrt(np.maximum(variance, 1e-9))


def _score_covariance(found: Fit, known: list[Point], scale: Vector) -> Vector:
    same_benchmark = _same(
        [each.benchmark for each in found.observations], [each.benchmark for each in found.observations]
    )
    pairs = [(each.benchmark, each.source) for each in found.observations]
    total = np.outer(scale, scale) * covariance(known, known, found.deviations)
    total = total + OFFSET**2 * same_benchmark + found.deviations["source"] ** 2 * _same(pairs, pairs)
    return np.asarray(total + found.deviations["noise"] ** 2 * np.eye(len(scale)))


def predict(found: Fit, wanted: list[Observation]) -> Vector:
    """Expected log-odds of scores that the fit has not seen; a source that it never saw has the benchmark's scale."""
    scale = np.array([found.scales[each.benchmark, each.source] for each in found.observations])
    known: list[Point] = [(each.subject, each.axis) for each in found.observations]
    total = _score_covariance(found, known, scale)
    residual = np.array([each.value for each in found.observations]) - scale * prior_mean(known)
    points: list[Point] = [(each.subject, each.axis) for each in wanted]
    own = np.array([_scale_of(found, each) for each in wanted])
    cross = own[:, None] * covariance(points, known, found.deviations) * scale
    seen = found.observations
    cross = cross + OFFSET**2 * _same([each.benchmark for each in wanted], [each.benchmark for each in seen])
    cross = cross + found.deviations["source"] ** 2 * _same(
        [(each.benchmark, each.source) for each in wanted], [(each.benchmark, each.source) for each in seen]
    )
    return np.asarray(own * prior_mean(points) + cross @ np.linalg.solve(total, residual))


def _scale_of(found: Fit, wanted: Observation) -> float:
    own = found.scales.get((wanted.benchmark, wanted.source))
    if own is not None:
        return own
    near = [value for (benchmark, _), value in found.scales.items() if benchmark == wanted.benchmark]
    return float(np.exp(np.mean(np.log(near)))) if near else found.deviations["scale"]
