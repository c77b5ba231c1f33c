"""Fits the constants of catalog/speed.yaml to catalog/measurements/throughput.csv.

    python tools/fit_speed.py            fit, print leave-one-device-out errors, write catalog/speed.yaml
    python tools/fit_speed.py --check    the same without writing; exit 1 when the file would change

Residuals are logarithms of predicted over measured rates, weighted by rows^-0.5 per device, with a Student-t loss, so
that no single publisher or outlier decides. Every constant has a prior (speed_priors.yaml): value and log width.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import speed_model  # noqa: E402
from speed_report import class_of, prefill_class_of, print_errors, widths_by_class  # noqa: E402
from speed_rows import MEASUREMENTS, load_rows  # noqa: E402

from planner.speed.constants import SpeedConstants  # noqa: E402

TARGET = ROOT / "catalog" / "speed.yaml"
PRIORS = MEASUREMENTS / "speed_priors.yaml"
ROW_SIGMA = 0.14  # between devices; many rows of one device share their offset
ROBUST_SIGMA = 0.15
FREEDOM = 4.0
STEPS = 25
LEFT_OUT_STEPS = 4


def prepared(rows: dict[str, Any]) -> dict[str, Any]:
    """Adds the attention layers as numbers."""
    attention = rows.pop("attention")
    full = [sum(count for count, window in layers if not window) for layers in attention]
    windowed = [sum(count for count, window in layers if window) for layers in attention]
    windows = [max([window for _, window in layers if window], default=0) for layers in attention]
    return rows | {"full_layers": np.array(full), "window_layers": np.array(windowed), "window": np.array(windows)}


def subset(rows: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    kept = {name: values for name, values in rows.items() if name != "codes"}
    return {name: values[mask] if isinstance(values, np.ndarray) else values for name, values in kept.items()}


def place(constants: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    keys = path.split("/")
    for key in keys[:-1]:
        constants = constants[key]
    return constants, keys[-1]


class Problem:
    """Rows of one kind (decode or prefill), the constants that they decide, and their priors."""

    def __init__(self, rows: dict[str, Any], base: dict[str, Any], widths: dict[str, float], kind: str) -> None:
        self.rows, self.kind = rows, kind
        self.paths = list(widths)
        self.made = copy.deepcopy(base)
        self.places = [place(self.made, path) for path in self.paths]
        self.sigma = np.array([widths[path] for path in self.paths])
        self.prior = np.array([math.log(self._value(base, path)) for path in self.paths])
        self.measured = np.log(rows["decode" if kind == "decode" else "prefill"])
        groups, inverse, counts = np.unique(rows["group"], return_inverse=True, return_counts=True)
        self.groups, self.group_of = groups, inverse
        self.weight = counts[inverse] ** -0.5

    @staticmethod
    def _value(constants: dict[str, Any], path: str) -> float:
        holder, key = place(constants, path)
        return float(holder[key])

    def constants(self, theta: np.ndarray) -> dict[str, Any]:
        """The constants at `theta`; the same dictionary every time."""
        for (holder, key), value in zip(self.places, theta, strict=True):
            holder[key] = math.exp(value)
        return self.made

    def residuals(self, theta: np.ndarray, rows: dict[str, Any] | None = None, measured: Any = None) -> np.ndarray:
        rows = self.rows if rows is None else rows
        constants = self.constants(theta)
        if self.kind == "decode":
            predicted = speed_model.decode_rate(rows, constants)
        else:
            seconds = speed_model.prefill_seconds(rows, constants, rows["n_prompt"], rows["prefill_depth"])
            predicted = rows["n_prompt"] / seconds
        return np.log(predicted) - (self.measured if measured is None else measured)

    def fit(self, start: np.ndarray, mask: np.ndarray, steps: int) -> np.ndarray:
        """Gauss-Newton on the penalized, reweighted least squares."""
        rows, measured, weight = subset(self.rows, mask), self.measured[mask], self.weight[mask]
        theta = start.copy()
        for _ in range(steps):
            residual = self.residuals(theta, rows, measured)
            jacobian = self._jacobian(theta, residual, rows, measured)
            scaled = residual / ROBUST_SIGMA
            robust = (FREEDOM + 1) / (FREEDOM + scaled**2)
            w = weight * robust / ROW_SIGMA**2
            left = jacobian.T @ (jacobian * w[:, None]) + np.diag(self.sigma**-2.0)
            right = jacobian.T @ (w * residual) + (theta - self.prior) / self.sigma**2
            step = np.linalg.solve(left, right)
            theta = theta - np.clip(step, -0.5, 0.5)
            if np.abs(step).max() < 1e-9:
                break
        return theta

    def _jacobian(self, theta: np.ndarray, residual: np.ndarray, rows: Any, measured: Any) -> np.ndarray:
        columns = []
        for index in range(len(theta)):
            moved = theta.copy()
            moved[index] += 1e-5
            columns.append((self.residuals(moved, rows, measured) - residual) / 1e-5)
        return np.array(columns).T

    def left_out(self, theta: np.ndarray) -> np.ndarray:
        """Residual of every row under constants fitted without its device group."""
        errors = np.empty(len(self.measured))
        for index in range(len(self.groups)):
            out = self.group_of == index
            fitted = self.fit(theta, ~out, LEFT_OUT_STEPS)
            errors[out] = self.residuals(fitted, subset(self.rows, out), self.measured[out])
        return errors


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value


def written(constants: dict[str, Any]) -> str:
    head = (
        "# Constants of the speed model (planner/speed), written by tools/fit_speed.py: do not edit,\n"
        "# change measurements/speed_priors.yaml or add rows. Bandwidth shares are of the published bandwidth.\n"
    )
    return head + yaml.safe_dump(rounded(constants), sort_keys=False, width=118, allow_unicode=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when speed.yaml would change")
    parser.add_argument("--fast", action="store_true", help="no leave-one-device-out pass: in-sample errors only")
    parser.add_argument("--worst", type=int, default=0, help="print the rows with the largest errors")
    options = parser.parse_args()
    began = time.perf_counter()
    base = yaml.safe_load(PRIORS.read_text())
    widths = base.pop("widths")
    rows = prepared(load_rows(msgspec.convert(base, SpeedConstants)))

    fast_rows = subset(rows, (rows["prefill"] > 0) & (rows["batch"] == 1) & (rows["n_prompt"] > 0) & ~rows["hybrid"]
                       & ((rows["peak"] > 0) | (rows["apple_cores"] > 0) | (rows["kind"] == "cpu"))
                       & ((rows["cards"] == 1) | (rows["tensor"] > 1) | (rows["n_prompt"] <= 512)))  # fmt: skip
    inside = fast_rows["method"] == "server decode rate"
    averaged = (fast_rows["depth"] > 0) & (fast_rows["depth"] < fast_rows["n_prompt"] + 300) | inside
    fast_rows["prefill_depth"] = np.where(averaged, 0.0, fast_rows["depth"])
    prefill = Problem(fast_rows, base, {p: w for p, w in widths.items() if p in widths and is_prefill(p)}, "prefill")
    everything = np.ones(len(prefill.measured), dtype=bool)
    prefill_theta = prefill.fit(prefill.prior, everything, STEPS)
    base = rounded(prefill.constants(prefill_theta))

    decode = Problem(
        subset(rows, rows["decode"] > 0), base, {p: w for p, w in widths.items() if not is_prefill(p)}, "decode"
    )
    everything = np.ones(len(decode.measured), dtype=bool)
    theta = decode.fit(decode.prior, everything, STEPS)
    inside_errors = decode.residuals(theta)
    errors = inside_errors if options.fast else decode.left_out(theta)
    prefill_errors = prefill.residuals(prefill_theta) if options.fast else prefill.left_out(prefill_theta)
    print_errors(decode.rows, errors, inside_errors, fast_rows, prefill_errors, worst=options.worst)

    constants = decode.constants(theta)
    if not options.fast:
        constants["ranges"]["decode"] |= widths_by_class(class_of(decode.rows), decode.rows["group"], errors)
        fitted = widths_by_class(prefill_class_of(fast_rows), fast_rows["group"], prefill_errors)
        constants["ranges"]["prefill"] |= fitted
    constants["fit"] = {
        "script": "tools/fit_speed.py",
        "data": "catalog/measurements/throughput.csv",
        "decode_rows": len(decode.measured),
        "prefill_rows": len(prefill.measured),
        "device_groups": len(decode.groups),
        "fitted_constants": len(decode.paths) + len(prefill.paths),
    }
    text = written(constants)
    took = time.perf_counter() - began
    print(f"\n{len(decode.measured)} decode rows, {len(prefill.measured)} prefill rows, {took:.0f} s")
    if options.check:
        same = TARGET.read_text() == text
        print("catalog/speed.yaml is what this fit gives" if same else "catalog/speed.yaml differs from this fit")
        return 0 if same else 1
    if not options.fast:
        TARGET.write_text(text)
    return 0


def is_prefill(path: str) -> bool:
    return (
        path.startswith("prefill/")
        or path.endswith(("/prefill_factor", "/attention_factor", "prefill_reduce_share"))
        or "prefill_gflops" in path
    )


if __name__ == "__main__":
    sys.exit(main())
