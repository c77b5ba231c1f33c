"""What will bite: checks over a finished decision, each with a rule id, and the fix. Assumed facts come first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from planner.hardware.facts import Hardware
from planner.planning.ability import kl_divergence
from planner.planning.eligibility import is_commercial
from planner.planning.machine import pool_plans
from planner.planning.placement import Site, compute_nodes
from planner.planning.plan import Warning
from planner.planning.rank import Candidate, missed_targets
from planner.planning.roles import Case, Chosen, Services
from planner.planning.services import sampling_intent
from planner.units import format_gib, format_rate, format_tokens

# Loss above which chains of thought suffer: that of IQ4_XS with the worst imatrix measured, 0.036 nats
# (llama.cpp tools/perplexity/README.md); vendors advise about 4 bits for reasoning.
REASONING_KL = 0.05

# A wait on a prompt that people call hanging; the plan says so when the CPU reads the prompt.
SLOW_PREFILL_S = 30.0

# Ranges wider than this factor between low and high rest on few measurements.
WIDE_RANGE = 3.0

# Above this context, retrieval usually beats longer prompts.
LONG_CONTEXT_TOKENS = 32768


class View(NamedTuple):
    """What the checks look at."""

    case: Case
    services: Services
    site: Site

    @property
    def hardware(self) -> Hardware:
        """The machine."""
        return self.case.hardware


Check = Callable[[View], Iterator[Warning]]


def warnings_of(case: Case, services: Services, site: Site) -> tuple[Warning, ...]:
    """All that applies, in the order of `CHECKS`, without repeats."""
    view = View(case, services, site)
    return tuple(dict.fromkeys(warning for check in CHECKS for warning in check(view)))


def _uses_ram(candidate: Candidate) -> bool:
    return candidate.placement.kind in {"cpu", "experts-in-ram", "split"}


def assumed_bandwidth(view: View) -> Iterator[Warning]:
    """A bandwidth that nobody measured or named stands behind the speed."""
    ram = any(_uses_ram(one.candidate) for one in view.services.chosen)
    gpus = {index for one in view.services.chosen for index in one.candidate.placement.gpus}
    for path, fact in sorted(view.hardware.sources.items()):
        if fact.source != "assumed" or "bandwidth" not in path:
            continue
        gpu = path.startswith("gpus.")
        if (gpu and int(path.split(".")[1]) not in gpus) or (not gpu and not ram):
            continue
        option = "--gpu-bandwidth" if gpu else "--ram-bandwidth"
        what = "GPU" if gpu else "RAM"
        yield Warning(
            rule_id="assumed-bandwidth",
            severity="warning",
            text=f"{what} bandwidth is assumed ({fact.note or path}), so the speed is a guess",
            fix=f"name it with {option}, or run planner probe on the machine",
        )
        if not gpu:
            break


def assumed_cpu(view: View) -> Iterator[Warning]:
    """The CPU computes and its cores are not known."""
    if any(_uses_ram(one.candidate) for one in view.services.chosen) and view.hardware.cpu.cores is None:
        yield Warning(
            rule_id="assumed-cpu",
            severity="warning",
            text="the number of CPU cores is not known, so prefill in RAM is a guess",
            fix="name it with --cores or --cpu",
        )


def targets_missed(view: View) -> Iterator[Warning]:
    """The best plan misses a target."""
    for one in view.services.chosen:
        for missed in missed_targets(one.candidate.speed, one.question.ranking.targets):
            yield Warning(
                rule_id="target-missed",
                severity="warning",
                text=f"{one.role}: {missed}",
                fix="a smaller --model, fewer --users, a shorter --context, or faster memory",
            )


def numa_unbound(view: View) -> Iterator[Warning]:
    """Several NUMA nodes, and the share in RAM is tied to none of them."""
    nodes = compute_nodes(view.hardware)
    for one in view.services.chosen:
        placement = one.candidate.placement
        if len(nodes) < 2 or not _uses_ram(one.candidate):
            continue
        if placement.numa == "none":
            yield Warning(
                rule_id="numa-unbound",
                severity="warning",
                text=f"{len(nodes)} NUMA nodes, and {one.role} is bound to none: remote reads cost a large share of the speed",
                fix="start it under numactl --cpunodebind=0 --membind=0, or --interleave=all when it needs more than one node",
            )
        elif placement.numa == "interleave":
            yield Warning(
                rule_id="numa-interleaved",
                severity="note",
                text=f"{one.role} is larger than one NUMA node, so its memory is interleaved and part of every read is remote",
                fix="fewer bits or a smaller model would fit one node",
            )


def over_quantized(view: View) -> Iterator[Warning]:
    """Reasoning below about four bits."""
    for one in view.services.chosen:
        model, quant = one.candidate.model, one.candidate.quant
        reasons = view.case.workload.id == "reasoning" or model.thinking in {"always", "effort"}
        if model.kind == "llm" and reasons and kl_divergence(quant)[0] > REASONING_KL:
            yield Warning(
                rule_id="over-quantized-reasoning",
                severity="warning",
                text=f"{quant.id} loses {kl_divergence(quant)[0]:.2f} nats a token: chains of thought break first",
                fix="--min-quant IQ4_XS, or a smaller model at Q4_K_M",
            )


def context_beyond_native(view: View) -> Iterator[Warning]:
    """More context than the model was trained for."""
    for one in view.services.chosen:
        context = one.candidate.model.context
        asked = one.candidate.footprint.context_tokens
        if context is not None and asked > context.native_tokens:
            how = context.how or "an extension method"
            yield Warning(
                rule_id="context-beyond-native",
                severity="warning",
                text=f"{format_tokens(asked)} tokens of context, trained for {format_tokens(context.native_tokens)}: needs {how}",
                fix=f"--context {format_tokens(context.native_tokens)}, or a model with a longer context",
            )


def long_context(view: View) -> Iterator[Warning]:
    """Very long prompts cost cache and first-token time that retrieval would not."""
    for one in view.services.chosen[:1]:
        asked = one.candidate.footprint.context_tokens
        if asked > LONG_CONTEXT_TOKENS:
            yield Warning(
                rule_id="long-context",
                severity="note",
                text=f"{format_tokens(asked)} tokens of context: the cache grows with every token, attention work with its square",
                fix=view.case.row.context_advice or "retrieval or chunks of 8k to 32k tokens",
            )


def thinking_deterministic(view: View) -> Iterator[Warning]:
    """Greedy decoding was asked of a model that thinks."""
    if sampling_intent(view.case) != "deterministic":
        return
    for one in view.services.chosen:
        model = one.candidate.model
        if model.thinking in {"always", "effort"}:
            yield Warning(
                rule_id="thinking-deterministic",
                severity="warning",
                text=f"{model.name} always thinks and loops under greedy decoding: it keeps its vendor's sampling and a seed",
                fix="a model whose thinking can be switched off, or a JSON schema for the format of the output",
            )
        elif model.thinking == "hybrid":
            yield Warning(
                rule_id="thinking-off",
                severity="note",
                text=f"deterministic sampling: the thinking of {model.name} is switched off",
                fix=None,
            )


def slow_prefill(view: View) -> Iterator[Warning]:
    """The CPU reads the prompt."""
    for one in view.services.chosen:
        wait = one.candidate.speed.ttft_s
        if not _uses_ram(one.candidate) or one.role == "embedding" or wait is None or wait.expected < SLOW_PREFILL_S:
            continue
        yield Warning(
            rule_id="slow-cpu-prefill",
            severity="warning",
            text=f"prompts are read by the CPU: {format_tokens(one.candidate.speed.prompt_tokens)} tokens take about "
            f"{wait.expected:.0f} s to the first token",
            fix="--gpu-only where a GPU is there, shorter prompts, or run it overnight",
        )


def image_on_cpu(view: View) -> Iterator[Warning]:
    """Image generation without a GPU."""
    for one in view.services.chosen:
        if one.role == "image" and one.candidate.placement.kind == "cpu":
            yield Warning(
                rule_id="image-on-cpu",
                severity="warning",
                text=f"{one.candidate.model.name} has no room in VRAM and runs on the CPU: minutes per image",
                fix="a smaller language model leaves room on the GPU: --model, or --max-memory vram=",
            )


def memory_now(view: View) -> Iterator[Warning]:
    """Less memory is free now than the plan will use."""
    for bar in pool_plans(view.site, (one.candidate.footprint for one in view.services.chosen)):
        free = bar.pool.free_bytes
        if free is not None and free < bar.used_bytes:
            swap = view.hardware.memory.swap_total_bytes
            yield Warning(
                rule_id="less-free-now",
                severity="warning",
                text=f"{bar.pool.id}: {format_gib(free)} free now, the plan uses {format_gib(bar.used_bytes)}",
                fix="stop what uses it, or plan with --memory now",
            )
            if bar.pool.kind != "gpu" and swap:
                yield Warning(
                    rule_id="swap",
                    severity="warning",
                    text=f"{format_gib(swap)} of swap: a model that does not fit RAM is swapped and crawls instead of failing",
                    fix="free memory first; limit the service (MemorySwapMax=0)",
                )


def container_limit(view: View) -> Iterator[Warning]:
    """A container's limit is below the machine's memory."""
    memory = view.hardware.memory
    if memory.limit_bytes is not None and memory.total_bytes is not None and memory.limit_bytes < memory.total_bytes:
        yield Warning(
            rule_id="container-limit",
            severity="note",
            text=f"this container may use {format_gib(memory.limit_bytes)} of {format_gib(memory.total_bytes)}: planned within it",
            fix="raise the memory limit of the container, or plan on the host",
        )


def licences(view: View) -> Iterator[Warning]:
    """Gated downloads and licences that forbid commercial use."""
    for one in view.services.chosen:
        model = one.candidate.model
        if model.gated:
            yield Warning(
                rule_id="gated-model",
                severity="warning",
                text=f"{model.name} is gated: the download needs an account that accepted its terms",
                fix="accept the terms on the model's page and set HF_TOKEN, or --exclude it",
            )
        if model.license is not None and not is_commercial(model.license):
            yield Warning(
                rule_id="license-non-commercial",
                severity="warning",
                text=f"{model.name} is licensed {model.license}: no commercial use",
                fix="--license commercial plans without such models",
            )


def thin_data(view: View) -> Iterator[Warning]:
    """A speed that is not known, or known only within a wide range."""
    for one in view.services.chosen:
        rate = one.candidate.speed.decode_tokens_per_s
        if one.role in {"embedding", "image"}:
            continue
        if rate is None:
            yield Warning(
                rule_id="speed-unknown",
                severity="warning",
                text=f"{one.role}: the speed is not known, since a memory bandwidth is not",
                fix=_bandwidth_option(one),
            )
        elif rate.high > WIDE_RANGE * rate.low:
            low, high = format_rate(rate.low), format_rate(rate.high)
            yield Warning(
                rule_id="thin-data",
                severity="note",
                text=f"{one.role}: {low} to {high} tok/s rests on few measurements of this kind of placement",
                fix="planner bench --save measures it once and narrows the range",
            )


def _bandwidth_option(one: Chosen) -> str:
    return "name it with --gpu-bandwidth" if one.candidate.placement.gpus else "name it with --ram-bandwidth"


CHECKS: tuple[Check, ...] = (
    assumed_bandwidth,
    assumed_cpu,
    targets_missed,
    slow_prefill,
    image_on_cpu,
    memory_now,
    numa_unbound,
    over_quantized,
    context_beyond_native,
    thinking_deterministic,
    licences,
    thin_data,
    container_limit,
    long_context,
)
