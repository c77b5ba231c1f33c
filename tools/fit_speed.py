"""Fits the constants of catalog/speed.yaml to catalog/measurements/throughput.csv.

    python tools/fit_speed.py            fit, print leave-one-device-out errors, write catalog/speed.yaml
    python tools/fit_speed.py --check    the same without writing; exit 1 when the file would change

Each row is asked of the planner's own functions (planner/speed) as the deployment that it was. Residuals are logarithms
of predicted over measured rates, weighted by rows^-0.5 per device, with a Student-t loss, so that no publisher and no
outlier decides. Every constant has a prior (speed_priors.yaml): value and log width, relatives are pooled.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from speed_cases import Case, load_cases  # noqa: E402
from speed_problem import Problem, paths_of  # noqa: E402
from speed_ranges import Widths, deep_factor  # noqa: E402
from speed_report import dump, figures, print_errors, print_worst, repeats, worked  # noqa: E402
from speed_rows import MEASUREMENTS, without_prefill  # noqa: E402
from speed_table import PAGE, page  # noqa: E402

from planner.speed.constants import SpeedConstants  # noqa: E402

TARGET = ROOT / "catalog" / "speed.yaml"
PRIORS = MEASUREMENTS / "speed_priors.yaml"


@dataclass
class Fitted:
    """Decode and prefill, each with its errors (logarithms of predicted over measured)."""

    parts: dict[str, Problem]
    errors: dict[str, np.ndarray]
    inside: dict[str, np.ndarray]
    constants: dict[str, Any]


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


def has_prefill(case: Case, left_out: set[str]) -> bool:
    """Prompt rates of one request on known hardware, on GPUs, Apple chips and CPUs."""
    row = case.row
    gpu = case.hardware.gpus[0] if case.hardware.gpus else None
    known = gpu is None or gpu.fp16_flops_per_s or (gpu.vendor == "apple" and gpu.cores)
    several = int(row["n_devices"]) > 1 and row["parallel"] != "tensor" and case.prompt > 512
    return bool(
        float(row["pp_tok_s"] or 0) > 0
        and case.batch == 1
        and case.prompt
        and row["kind"] != "hybrid"
        and known
        and not several
        and row["row_id"] not in left_out
    )


def problems(base: dict[str, Any], beliefs: dict[str, Any]) -> tuple[Problem, Problem]:
    """Prompt processing, and decode with the prefill constants that the first has found."""
    pooled = beliefs["pooled"]
    cases = load_cases(msgspec.convert(base, SpeedConstants))
    left_out = without_prefill()
    prompts = [case for case in cases if has_prefill(case, left_out)]
    prefill = Problem(
        prompts,
        [float(case.row["pp_tok_s"]) for case in prompts],
        Case.prefill_rate,
        base,
        paths_of(base, beliefs["prefill_widths"]),
        pooled,
    )
    base = rounded(prefill.constants(prefill.fit()))
    decoded = [case for case in cases if float(case.row["tg_tok_s"] or 0) > 0]
    decode = Problem(
        decoded,
        [float(case.row["tg_tok_s"]) for case in decoded],
        Case.decode_rate,
        base,
        paths_of(base, beliefs["widths"]),
        pooled,
    )
    return prefill, decode


def solved(base: dict[str, Any], beliefs: dict[str, Any]) -> Fitted:
    """Both problems with their left-out and in-sample errors, and the constants without ranges."""
    prefill, decode = problems(base, beliefs)
    prefill_theta = np.log([holder[key] for holder, key in prefill.places])
    theta = decode.fit()
    return Fitted(
        parts={"decode": decode, "prefill": prefill},
        errors={"decode": decode.left_out(theta), "prefill": prefill.left_out(prefill_theta)},
        inside={"decode": decode.residuals(theta), "prefill": prefill.residuals(prefill_theta)},
        constants=rounded(decode.constants(theta)),
    )


def with_ranges(fitted: Fitted) -> dict[str, Any]:
    """The constants with half-widths, errors and what they rest on."""
    constants, limits = fitted.constants, fitted.constants["ranges"]
    decode = fitted.parts["decode"]
    limits["deep"] = rounded(deep_factor(decode, fitted.errors["decode"], limits["deep_tokens"]))
    known = msgspec.convert(constants, SpeedConstants)
    stored, inside = {}, {}
    for kind, problem in fitted.parts.items():
        widths = Widths(problem, fitted.errors[kind], known, kind)
        limits[kind] |= widths.by_class()
        held = widths.held()
        stored[kind] = figures(problem, fitted.errors[kind], held, kind)
        inside[kind] = figures(problem, fitted.inside[kind], held, kind)
    print_errors(stored, inside)
    constants["fit"] = {
        "script": "tools/fit_speed.py",
        "data": "catalog/measurements/throughput.csv",
        "device_groups": len(decode.groups),
        "fitted_constants": sum(len(problem.paths) for problem in fitted.parts.values()),
        "errors": stored,
        "repeats": repeats(decode),
    }
    return constants


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file would change")
    parser.add_argument("--worst", type=int, default=0, help="print the rows with the largest errors")
    parser.add_argument("--dump", help="write every row's error to this file")
    options = parser.parse_args()
    began = time.perf_counter()
    base = yaml.safe_load(PRIORS.read_text())
    beliefs = {name: base.pop(name) for name in ("widths", "prefill_widths", "pooled")}
    fitted = solved(base, beliefs)
    constants = with_ranges(fitted)
    for kind, problem in fitted.parts.items():
        print_worst(problem, fitted.errors[kind], options.worst)
    if options.dump:
        dump(options.dump, [(kind, problem, fitted.errors[kind]) for kind, problem in fitted.parts.items()])
    found = constants["fit"]["repeats"]
    print(f"\nsame device and model, two publishers: {found['median']} / {found['p90']} over {found['pairs']} pairs")
    files = {
        TARGET: written(constants),
        PAGE: page(constants["fit"]["errors"], worked(fitted.parts["decode"], constants)),
    }
    print(f"{time.perf_counter() - began:.0f} s")
    differing = [path.name for path, text in files.items() if path.read_text() != text]
    if options.check:
        print(
            f"differs from this fit: {', '.join(differing)}"
            if differing
            else "catalog/speed.yaml is what this fit gives"
        )
        return 1 if differing else 0
    for path, text in files.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
