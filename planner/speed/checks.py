"""Calls that make no sense are refused here, with what was wrong and what to do."""

from __future__ import annotations

import math
from typing import Final

from planner.errors import PlannerError, UsageError
from planner.hardware.facts import Hardware
from planner.sizing.identity import IdentityCache
from planner.sizing.records import ExpandedModel, Footprint, Placement, Pool, Runtime

_sound: Final[IdentityCache[bool]] = IdentityCache(256)


def check_request(runtime: Runtime, depth: int, prompt_tokens: int, output_tokens: int, concurrency: int) -> None:
    """Raises UsageError for counts below their least value and for a depth beyond the context."""
    if prompt_tokens < 1 or output_tokens < 1 or concurrency < 1 or depth < 0:
        least = (("prompt_tokens", prompt_tokens), ("output_tokens", output_tokens), ("concurrency", concurrency))
        name, value, minimum = next(((n, v, 1) for n, v in least if v < 1), ("depth", depth, 0))
        raise UsageError(f"{name} {value} must be at least {minimum}")
    if depth > runtime.context_tokens:
        raise UsageError(
            f"depth {depth} is beyond the context of {runtime.context_tokens} tokens",
            hint=f"give --context {depth} or more, or a smaller --depth",
        )


def check_placement(expanded: ExpandedModel, footprint: Footprint, hardware: Hardware, placement: Placement) -> None:
    """Raises PlannerError for a footprint that was not placed, unknown GPUs and a split that heads do not allow."""
    shape, degree = expanded.shape, placement.tensor_parallel
    if not footprint.pools:
        raise PlannerError(f"{shape.id}: no bytes per pool", hint="give size_model a placement and pools")
    missing = [index for index in placement.gpus if index >= len(hardware.gpus) or index < 0]
    if missing:
        raise UsageError(f"placement names GPU {missing[0]}, the machine has {len(hardware.gpus)}")
    if degree < 1:
        raise UsageError(f"tensor_parallel {degree} must be at least 1")
    if shape.heads and shape.heads % degree:
        fitting = ", ".join(str(n) for n in range(1, 17) if shape.heads % n == 0)
        raise UsageError(
            f"{shape.heads} attention heads of {shape.id} cannot be divided by tensor_parallel {degree}",
            hint=f"degrees that divide them: {fitting}",
        )


def check_hardware(hardware: Hardware, pools: tuple[Pool, ...]) -> None:
    """Raises PlannerError for rates that are zero, negative or not finite (unknown is None)."""
    _sound.value((hardware, *pools), (), lambda: _check_rates(hardware, pools))


def _check_rates(hardware: Hardware, pools: tuple[Pool, ...]) -> bool:
    figures: dict[str, float | None] = {}
    for index, gpu in enumerate(hardware.gpus):
        figures[f"gpus.{index}.bandwidth_bytes_per_s"] = gpu.bandwidth_bytes_per_s
        figures[f"gpus.{index}.fp16_flops_per_s"] = gpu.fp16_flops_per_s
        figures[f"gpus.{index}.fp32_flops_per_s"] = gpu.fp32_flops_per_s
    for index, node in enumerate(hardware.numa_nodes):
        figures[f"numa_nodes.{index}.bandwidth_bytes_per_s"] = node.bandwidth_bytes_per_s
    for pool in pools:
        figures[f"pools.{pool.id}.bandwidth_bytes_per_s"] = pool.bandwidth_bytes_per_s
    figures |= {
        f"cpu.{name}": getattr(hardware.cpu, name) for name in ("cores", "threads", "usable_cpus", "quota_cpus")
    }
    for index, row in enumerate(hardware.calibration):
        figures[f"calibration.{index}.measured_over_predicted"] = row.measured_over_predicted
        figures[f"calibration.{index}.rows"] = row.rows
    for path, value in figures.items():
        if value is not None and (value <= 0 or not math.isfinite(value)):
            raise PlannerError(f"hardware: {path} is {value:g}", hint="a rate must be more than zero; unknown is null")
    return True
