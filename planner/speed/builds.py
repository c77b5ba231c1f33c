"""Old builds of llama.cpp are slower; a measurement names its build, so a prediction can too."""

from __future__ import annotations

import re

from planner.sizing.records import Runtime
from planner.speed.constants import Builds

_BUILD = re.compile(r"\bb(\d{3,6})\b")
_YEAR = re.compile(r"\b(20\d\d)\b")


def is_old_build(engine_build: str | None, builds: Builds) -> bool:
    """True for a llama.cpp build (`b2000`) or date (`May 2024`) before the modern ones; unknown counts as modern, and
    so does `Nov 2023 or later`."""
    if not engine_build or "or later" in engine_build:
        return False
    number = _BUILD.search(engine_build.casefold())
    if number:
        return int(number[1]) < builds.modern_build
    year = _YEAR.search(engine_build)
    return bool(year) and int(year[1]) < builds.modern_year if year else False


def build_factors(engine: str, engine_build: str | None, runtime: Runtime, builds: Builds) -> dict[str, float]:
    """Factors on the rates of weights, cache and prefill: old builds, and attention without the fused kernel."""
    old = engine in {"llama.cpp", "ollama", "localai"} and is_old_build(engine_build, builds)
    slow_cache = old or not runtime.flash_attention
    return {
        "weight_factor": builds.weight_factor if old else 1.0,
        "kv_factor": builds.kv_factor if slow_cache else 1.0,
        "prefill_factor": builds.prefill_factor if old else 1.0,
    }
