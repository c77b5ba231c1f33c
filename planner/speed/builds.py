"""Old builds of llama.cpp are slower; a measurement names its build, so a prediction can too."""

from __future__ import annotations

import re

from planner.sizing.records import Runtime
from planner.speed.constants import Builds, Stack

_BUILD = r"\bb(\d{3,6})\b"
_YEAR = r"\b(20\d\d)\b"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"\b20\d\d-(\d\d)\b"


def is_old_build(engine_build: str | None, builds: Builds) -> bool:
    """True for a llama.cpp build (`b2000`) or date (`May 2024`) before the modern ones; unknown counts as modern, and
    so does `Nov 2023 or later`."""
    if not engine_build or "or later" in engine_build:
        return False
    number = re.search(_BUILD, engine_build.casefold())
    if number:
        return int(number[1]) < builds.modern_build
    year = re.search(_YEAR, engine_build)
    return bool(year) and int(year[1]) < builds.modern_year if year else False


def launch_epoch(engine_build: str | None, builds: Builds) -> str:
    """`old`, `2025` or `now`: builds launched more kernels per layer before they fused them. A scoreboard that asks
    for one old commit `or later` was run with that commit's graph."""
    if not engine_build:
        return "now"
    number = re.search(_BUILD, engine_build.casefold())
    if number:
        known = int(number[1])
        return "old" if known < builds.modern_build else "2025" if known < builds.fused_launch_build else "now"
    year, month = re.search(_YEAR, engine_build), _month(engine_build)
    if not year:
        return "now"
    if int(year[1]) < builds.modern_year:
        return "old"
    return "2025" if int(year[1]) * 100 + month < builds.fused_launch_month else "now"


def _month(engine_build: str) -> int:
    """1 to 12 of `2025-05` or `May 2024`; 12 where only a year is named."""
    number = re.search(_MONTH, engine_build)
    if number:
        return int(number[1])
    words = engine_build.casefold().split()
    return next((index + 1 for index, name in enumerate(_MONTHS) if any(w.startswith(name) for w in words)), 12)


def is_at_least(engine_build: str | None, build: int, month: int) -> bool:
    """False for a build (`b7423`) or date (`2025-12`) before the given ones; unknown counts as modern."""
    if not engine_build:
        return True
    number = re.search(_BUILD, engine_build.casefold())
    if number:
        return int(number[1]) >= build
    year = re.search(_YEAR, engine_build)
    return not year or int(year[1]) * 100 + _month(engine_build) >= month


def build_factors(
    engine: str,
    stack: Stack,
    engine_build: str | None,
    runtime: Runtime,
    quant_class: str,
    builds: Builds,
) -> dict[str, float]:
    """Factors on the rates of weights, cache and prefill, and the time that recurrent layers cost on top: old builds,
    and attention without the fused kernel."""
    of_llama = engine in {"llama.cpp", "ollama", "localai"}
    old = of_llama and is_old_build(engine_build, builds)
    unfused = of_llama and not is_at_least(engine_build, builds.fused_recurrent_build, builds.fused_recurrent_month)
    slow_attention = stack.quant_family in {"amd", "vulkan"} and not is_at_least(
        engine_build, builds.amd_attention_build, builds.amd_attention_month
    )
    slow_latent = not is_at_least(engine_build, builds.latent_attention_build, builds.latent_attention_month)
    of_ggml = of_llama or engine == "ik_llama.cpp"
    epoch = launch_epoch(engine_build, builds) if of_ggml else "now"
    return {
        "launch_factor": builds.launch_factors[epoch][stack.device] if epoch != "now" else 1.0,
        "weight_factor": builds.weight_factor if old else 1.0,
        "attention_factor": builds.amd_attention_factor if of_llama and slow_attention else 1.0,
        "latent_factor": builds.latent_attention_factor if of_ggml and slow_latent else 1.0,
        "kv_factor": 1.0 if runtime.flash_attention and not old else builds.kv_factors[stack.device],
        "prefill_factor": builds.prefill_factors[stack.device] if old else 1.0,
        "copied_bytes_per_weight": builds.dequantized_bytes_per_weight if old and quant_class != "16bit" else 0.0,
        "unfused_layer_us": builds.unfused_recurrent_us if unfused else 0.0,
    }
