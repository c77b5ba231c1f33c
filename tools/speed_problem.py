"""Least squares over measured rows: the planner's own functions with other constants, priors, robust loss, pooling."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from speed_cases import Case

from planner.speed.constants import SpeedConstants

ROW_SIGMA = 0.14  # between devices; many rows of one device share their offset
ROBUST_SIGMA = 0.1
WIDTH_SCALE = 0.75  # of the priors; this and ROBUST_SIGMA were chosen by the left-out error
FREEDOM = 4.0
STEPS = 25
FRESH_SLOPES = 5
LEFT_OUT_STEPS = 6
NUDGE = 1e-4

Array = np.ndarray


def paths_of(constants: dict[str, Any], patterns: dict[str, float]) -> dict[str, float]:
    """Every number whose path one of the patterns names, with its width; the last pattern that fits decides."""
    found: dict[str, float] = {}
    for path in _leaves(constants, ""):
        for pattern, width in patterns.items():
            if fnmatch.fnmatchcase(path, pattern):
                found[path] = width
    return found


def _leaves(value: Any, prefix: str) -> list[str]:
    if isinstance(value, dict):
        return [
            path for key, item in value.items() for path in _leaves(item, f"{prefix}/{key}" if prefix else str(key))
        ]
    return [prefix] if isinstance(value, float) else []


def place(constants: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    keys = path.split("/")
    for key in keys[:-1]:
        constants = constants[key]
    return constants, keys[-1]


class Problem:
    """Rows of one kind (decode or prefill), the constants that they decide, and what is believed of those before.

    `pooled`: (child, parent) paths; a child is expected at its own prior times what the parent moved."""

    def __init__(
        self,
        cases: Sequence[Case],
        measured: Sequence[float],
        predict: Callable[[Case, SpeedConstants], float],
        base: dict[str, Any],
        widths: dict[str, float],
        pooled: dict[str, str],
    ) -> None:
        self.cases, self.predict = list(cases), predict
        self.measured = np.log(np.array(measured))
        self.paths = list(widths)
        self.made = copy.deepcopy(base)
        self.places = [place(self.made, path) for path in self.paths]
        self.start = np.array([math.log(float(holder[key])) for holder, key in self.places])
        self.belief = self._beliefs(widths, pooled)
        groups, inverse, counts = np.unique(
            [case.row["group"] or case.row["device"] for case in cases], return_inverse=True, return_counts=True
        )
        self.groups, self.group_of = groups, inverse
        self.weight = counts[inverse] ** -0.5
        self.pattern: Array | None = None

    def _beliefs(self, widths: dict[str, float], pooled: dict[str, str]) -> Array:
        """Rows of (theta - start), each divided by its width; a child's row subtracts the parent's."""
        belief = np.zeros((len(self.paths), len(self.paths)))
        for index, path in enumerate(self.paths):
            belief[index, index] = 1.0
            parent = next((to for of, to in pooled.items() if fnmatch.fnmatchcase(path, of)), None)
            if parent is not None:
                named = parent if "*" not in parent else parent.replace("*", path.rsplit("/", 1)[1])
                if named in widths and named != path:
                    belief[index, self.paths.index(named)] = -1.0
            belief[index] /= widths[path] * WIDTH_SCALE
        return belief

    def constants(self, theta: Array) -> dict[str, Any]:
        """The constants at `theta`; the same dictionary every time."""
        for (holder, key), value in zip(self.places, theta, strict=True):
            holder[key] = math.exp(value)
        return self.made

    def record(self, theta: Array) -> SpeedConstants:
        return msgspec.convert(self.constants(theta), SpeedConstants)

    def residuals(self, theta: Array, rows: Array | None = None) -> Array:
        """log of predicted over measured."""
        record = self.record(theta)
        wanted = range(len(self.cases)) if rows is None else rows
        return np.array([math.log(self.predict(self.cases[i], record)) - self.measured[i] for i in wanted])

    def jacobian(self, theta: Array, residual: Array) -> Array:
        """Forward differences; a row is asked only about the constants that it ever depended on."""
        found = np.zeros((len(self.cases), len(self.paths)))
        for index in range(len(theta)):
            moved = theta.copy()
            moved[index] += NUDGE
            rows = np.arange(len(self.cases)) if self.pattern is None else np.flatnonzero(self.pattern[:, index])
            if len(rows):
                found[rows, index] = (self.residuals(moved, rows) - residual[rows]) / NUDGE
        if self.pattern is None:
            self.pattern = found != 0.0
        return found

    def _step(self, theta: Array, residual: Array, jacobian: Array, weight: Array) -> Array:
        robust = (FREEDOM + 1) / (FREEDOM + (residual / ROBUST_SIGMA) ** 2)
        w = weight * robust / ROW_SIGMA**2
        left = jacobian.T @ (jacobian * w[:, None]) + self.belief.T @ self.belief
        right = jacobian.T @ (w * residual) + self.belief.T @ (self.belief @ (theta - self.start))
        return np.clip(np.linalg.solve(left, right), -0.5, 0.5)

    def fit(self) -> Array:
        """Gauss-Newton on the penalized, reweighted least squares; the slopes hardly change after the first steps."""
        theta = self.start.copy()
        for count in range(STEPS):
            residual = self.residuals(theta)
            if count < FRESH_SLOPES:
                self.slopes = self.jacobian(theta, residual)
            step = self._step(theta, residual, self.slopes, self.weight)
            theta = theta - step
            if np.abs(step).max() < 2e-4:
                break
        return theta

    def left_out(self, theta: Array) -> Array:
        """Residual of every row under constants fitted without its device group, on the slopes of the whole fit."""
        errors = np.empty(len(self.measured))
        for index in range(len(self.groups)):
            out = np.flatnonzero(self.group_of == index)
            kept = np.flatnonzero(self.group_of != index)
            fitted = theta
            for _ in range(LEFT_OUT_STEPS):
                residual = self.residuals(fitted, kept)
                step = self._step(fitted, residual, self.slopes[kept], self.weight[kept])
                fitted = fitted - step
                if np.abs(step).max() < 2e-3:
                    break
            errors[out] = self.residuals(fitted, out)
        return errors
