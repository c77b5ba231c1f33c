"""From a placed footprint to seconds: the one entry of the speed floor."""

from __future__ import annotations

from typing import Final

from planner.catalog.records.quant import Quant
from planner.hardware.facts import Hardware
from planner.sizing.identity import IdentityCache
from planner.sizing.records import ExpandedModel, Footprint, Placement, Pool, Runtime
from planner.speed import formulas, ranges
from planner.speed.builds import build_factors
from planner.speed.checks import check_hardware, check_placement, check_request
from planner.speed.classes import engine_of, placement_class
from planner.speed.constants import SpeedConstants, load_constants
from planner.speed.decode import step_costs, step_seconds
from planner.speed.prefill import prefill_seconds
from planner.speed.rates import Step
from planner.speed.reads import device_shares
from planner.speed.records import Range, Speed
from planner.speed.terms import bound_by

_steps: Final[IdentityCache[Step]] = IdentityCache(512)


def estimate_speed(
    expanded: ExpandedModel,
    quant: Quant,
    footprint: Footprint,
    hardware: Hardware,
    pools: tuple[Pool, ...],
    placement: Placement,
    *,
    stack: str,
    runtime: Runtime,
    depth: int,
    prompt_tokens: int,
    output_tokens: int,
    concurrency: int,
    engine_build: str | None = None,
    constants: SpeedConstants | None = None,
) -> Speed:
    """Decode per user at `depth`, prefill and time to first token of `prompt_tokens` after `depth`, and output
    tokens of all users over whole requests, each as an 80 % range; None where a rate is unknown.

    `stack` is engine and backend (`llama.cpp-cuda`, `vllm-rocm`, `mlx`, `ollama-cuda`); `engine_build` an engine
    version as people quote it (`b4384`, `May 2024`). Users beyond `runtime.parallel` sequences per copy wait.
    Raises UsageError or PlannerError for impossible input, CatalogError for a stack without constants."""
    check_request(runtime, depth, prompt_tokens, output_tokens, concurrency)
    check_placement(expanded, footprint, hardware, placement)
    check_hardware(hardware, pools)
    known = constants or load_constants()
    step = gathered(expanded, quant, footprint, hardware, pools, placement, stack, runtime, engine_build, known)
    request = _Request(step, runtime, depth, prompt_tokens, output_tokens, concurrency)
    kind = step.once("class", lambda: placement_class(expanded, placement, step.stack))
    remarks = step.once(("remarks", concurrency, runtime.parallel), lambda: _remarks(step, request, stack, known))
    if any(share.reader.bandwidth_bytes_per_s is None for share in step.shares):
        return _unknown(request, remarks)
    factor, narrower, sentence = ranges.calibrated(hardware, known, stack, kind, footprint.model, footprint.quant)
    sources = (*remarks, sentence) if sentence else remarks
    return _speed(request, kind, factor, narrower, sources)


class _Request:
    """One question: the step, and how many tokens and users."""

    def __init__(
        self, step: Step, runtime: Runtime, depth: int, prompt_tokens: int, output_tokens: int, concurrency: int
    ) -> None:
        self.step, self.runtime, self.depth = step, runtime, depth
        self.prompt_tokens, self.output_tokens, self.concurrency = prompt_tokens, output_tokens, concurrency
        self.instances = max(1, step.placement.instances)
        waiting_free = max(1, runtime.parallel)
        self.sequences = min(max(1.0, concurrency / self.instances), float(waiting_free))

    @property
    def doubts(self) -> tuple[str, ...]:
        shares = self.step.shares
        return self.step.once("doubts", lambda: tuple(doubt for share in shares for doubt in share.reader.doubts))


def gathered(
    expanded: ExpandedModel,
    quant: Quant,
    footprint: Footprint,
    hardware: Hardware,
    pools: tuple[Pool, ...],
    placement: Placement,
    stack_name: str,
    runtime: Runtime,
    engine_build: str | None,
    constants: SpeedConstants,
    *,
    sampled: bool = True,
) -> Step:
    """What the seconds of one deployment depend on. Raises CatalogError for a stack without constants.

    `sampled`: the server draws each token from all logits; benchmarks of the engine alone do not.
    Footprints that put the same weights into the same pools (another context, another depth) share one."""
    uses = tuple(
        (use.pool, use.dense_read_bytes, use.expert_read_bytes, use.expert_bytes, use.weights_bytes, use.layers)
        for use in footprint.pools
    )
    shares = tuple(use.cache_share for use in footprint.pools)
    kv_type = runtime.kv_type
    flash = runtime.flash_attention
    key = (stack_name, engine_build, quant.speed_class, kv_type.k, kv_type.v, flash, uses, shares, sampled)

    def build() -> Step:
        vendor = hardware.gpus[placement.gpus[0]].vendor if placement.gpus else None
        stack, extra_s = constants.stack(stack_name, vendor, hardware.os.name)
        factors = build_factors(
            engine_of(stack_name), stack, engine_build, runtime, quant.speed_class, constants.builds
        )
        return Step(
            expanded=expanded,
            shares=device_shares(footprint, hardware, pools, placement, stack, constants),
            placement=placement,
            stack=stack,
            constants=constants,
            quant_class=quant.speed_class,
            kv_type=runtime.kv_type,
            extra_token_s=extra_s,
            host_logits=expanded.shape.vocabulary_size if sampled and stack.host_sampling else 0,
            **factors,
        )

    return _steps.value((expanded, hardware, placement, constants, *pools), key, build)


def _speed(request: _Request, kind: str, factor: float, narrower: float, sources: tuple[str, ...]) -> Speed:
    step = request.step
    costs = step_costs(step, request.depth, request.sequences)
    decode = factor / sum(cost.seconds for cost in costs)
    limits = step.constants.ranges
    doubts, stack_factor = request.doubts, step.stack.range_factor
    deep = request.depth >= limits.deep_tokens
    width = step.once(
        ("decode width", kind, deep, request.concurrency > 1),
        lambda: ranges.decode_width(
            limits,
            kind,
            depth=request.depth,
            concurrency=request.concurrency,
            doubts=doubts,
            stack_factor=stack_factor,
        ),
    )
    width **= narrower
    prefill_s = prefill_seconds(step, request.runtime, request.depth, request.prompt_tokens)
    prefill_width = step.once(
        ("prefill width", kind, deep),
        lambda: ranges.prefill_width(limits, kind, depth=request.depth, doubts=doubts, stack_factor=stack_factor),
    )
    return Speed(
        decode_tokens_per_s=ranges.rate_range(decode, width),
        prefill_tokens_per_s=_prefill_range(request.prompt_tokens, prefill_s, prefill_width),
        ttft_s=ranges.rate_range(prefill_s, prefill_width) if prefill_s else None,
        aggregate_tokens_per_s=_aggregate(request, factor, prefill_s, width),
        bound_by=bound_by(costs),
        placement=step.placement,
        sources=sources,
        terms=tuple(cost.term for cost in costs),
        depth_tokens=request.depth,
        concurrency=request.concurrency,
        prompt_tokens=request.prompt_tokens,
        output_tokens=request.output_tokens,
    )


def _prefill_range(tokens: int, seconds: float | None, width: float) -> Range | None:
    return ranges.rate_range(tokens / seconds, width) if seconds else None


def _aggregate(request: _Request, factor: float, prefill_s: float | None, width: float) -> Range | None:
    """Whole requests at their mean depth, over all copies; the prompt's share that batching does not hide."""
    step = request.step
    if prefill_s is None:
        return None
    mean_depth = min(request.depth + request.prompt_tokens + request.output_tokens / 2, request.runtime.context_tokens)
    step_s = step_seconds(step, mean_depth, request.sequences) / factor
    shown = step.stack.batch_prefill_fraction if request.sequences > 1 else 1.0
    rate = formulas.aggregate_rate(request.sequences, request.output_tokens, prefill_s * shown, step_s)
    return ranges.rate_range(rate * min(request.instances, request.concurrency), width)


def _unknown(request: _Request, remarks: tuple[str, ...]) -> Speed:
    return Speed(
        bound_by="unknown",
        placement=request.step.placement,
        sources=remarks,
        depth_tokens=request.depth,
        concurrency=request.concurrency,
        prompt_tokens=request.prompt_tokens,
        output_tokens=request.output_tokens,
    )


def _remarks(step: Step, request: _Request, stack: str, constants: SpeedConstants) -> tuple[str, ...]:
    """Where the figures come from and what is assumed, one sentence each, without repeats."""
    said = [f"{stack}: {step.stack.source}"]
    for share in step.shares:
        said += share.reader.remarks
        if "assumed_bandwidth" in share.reader.doubts:
            said.append(f"{share.reader.name}: memory bandwidth is assumed, range widened")
        if "unknown_compute" in share.reader.doubts:
            said.append(f"{share.reader.name}: FP16 peak unknown: prefill as of a usual card, range widened")
    waiting = request.concurrency - request.instances * request.runtime.parallel
    if waiting > 0:
        said.append(f"{waiting} of {request.concurrency} users wait: {request.runtime.parallel} sequences run at once")
    if step.extra_token_s:
        said.append(f"server around the engine: {constants.ollama_source}")
    return tuple(dict.fromkeys(said))
