"""Prompt processing: arithmetic, attention over what is cached, and streaming the weights once per micro-batch."""

from __future__ import annotations

import math

from msgspec.structs import replace

from planner.sizing.records import Runtime
from planner.speed import formulas
from planner.speed.devices import Reader
from planner.speed.rates import (
    Step,
    cpu_attention_gflops,
    device_stack,
    elements_read,
    matrix_flops,
    quant_factor,
    reduce_bytes_per_s,
)
from planner.speed.reads import Share
from planner.speed.terms import Cost, work_cost


def prefill_costs(step: Step, runtime: Runtime, depth: float, tokens: float) -> tuple[Cost, ...]:
    """The terms of processing `tokens` prompt tokens after `depth`; empty when some device's arithmetic is unknown."""
    costs: list[Cost] = []
    main = next((share for share in step.shares if share.reader.device != "cpu"), None)
    for index in range(len(step.shares)):
        found = _device_costs(step, index, main, runtime, depth, tokens)
        if not found:
            return ()
        costs += found
    costs += step.once(("prompt", tokens), lambda: (*_reduced(step, tokens), _fixed(step)))
    return tuple(cost for cost in costs if cost.seconds > 0)


def _fixed(step: Step) -> Cost:
    return Cost("fixed", step.constants.prefill.fixed_ms * 1e-3 + step.extra_token_s, "launch", "per request")


def prefill_seconds(step: Step, runtime: Runtime, depth: float, tokens: float) -> float | None:
    """Seconds until `tokens` prompt tokens after `depth` are processed; None when unknown."""
    costs = prefill_costs(step, runtime, depth, tokens)
    return sum(cost.seconds for cost in costs) if costs else None


def _device_costs(
    step: Step, index: int, main: Share | None, runtime: Runtime, depth: float, tokens: float
) -> list[Cost]:
    share = step.shares[index]
    rate = step.once(("prefill", index), lambda: prefill_flops_per_s(step, share.reader))
    cards = step.placement.tensor_parallel
    if rate <= 0 or not share.reader.bandwidth_bytes_per_s:
        return []
    batches = math.ceil(tokens / runtime.ubatch)
    products, others, copied = step.once(
        ("prefill", index, tokens, batches), lambda: _steady_costs(step, share, main, batches, tokens)
    )
    costs = [*products, _attention(step, share, share.reader, runtime, depth, tokens), *others]
    if copied and main is not None:
        moved = [*copied, _attention(step, share, main.reader, runtime, depth, tokens)]
        if sum(cost.seconds for cost in moved) < sum(cost.seconds for cost in costs):
            costs = moved
    if cards > 1 and share.reader.device != "cpu":
        costs = [_shared(cost, cards) for cost in costs]
    return costs


def _steady_costs(
    step: Step, share: Share, main: Share | None, batches: int, tokens: float
) -> tuple[tuple[Cost, ...], tuple[Cost, ...], tuple[Cost, ...]]:
    """The same at every depth: products, what comes after attention, and the copy to a GPU that may be faster."""
    on_cpu = share.reader.device == "cpu"
    copied = _copied(step, share, main, batches, tokens) if on_cpu and main is not None else ()
    products = _products(step, share, share.reader, tokens, tokens / batches)
    others = (_stream(step, share, batches, tokens / batches), _recurrence(step, share, tokens))
    return tuple(products), others, tuple(copied)


def prefill_flops_per_s(step: Step, reader: Reader) -> float:
    """FLOPs per second of prompt processing on this device; 0 when nothing is known of it."""
    prefill = step.constants.prefill
    factor = device_stack(step, reader).prefill_factor * step.prefill_factor
    if reader.device == "cpu":
        moe = prefill.cpu_moe_factor if step.expanded.shape.experts else 1.0
        return (reader.cores or 0.0) * step.constants.cpu.prefill_gflops_per_core[reader.isa] * 1e9 * factor * moe
    quant = quant_factor(step, reader, prefill.quant_factors)
    return matrix_flops(reader, step.constants) * quant * factor


def _products(step: Step, share: Share, reader: Reader, tokens: float, batch_tokens: float) -> list[Cost]:
    """The matrix products of `share` computed on `reader`; experts at the rate that their few tokens allow."""
    rate, where = prefill_flops_per_s(step, reader), reader.name
    (dense, experts), shape = elements_read(step, share), step.expanded.shape
    if not shape.experts or reader.device == "cpu":
        return [work_cost(f"arithmetic on {where}", 2.0 * (dense + experts) * tokens, rate)]
    each = batch_tokens * shape.active_experts / shape.experts
    filled = each / (each + device_stack(step, reader).expert_half_tokens)
    return [
        work_cost(f"arithmetic on {where}", 2.0 * dense * tokens, rate),
        work_cost(f"arithmetic of experts on {where}", 2.0 * experts * tokens, rate * filled),
    ]


def _recurrence(step: Step, share: Share, tokens: float) -> Cost:
    """Recurrent layers take the prompt's tokens one after another or in small chunks."""
    each = device_stack(step, share.reader).recurrent_prefill_us
    layers = step.facts.recurrent_layers * share.cache_share
    form = "{:.0f} recurrent layers x {:.0f} tokens x {:g} us"
    return Cost(
        f"recurrence on {share.reader.name}", layers * tokens * each * 1e-6, "launch", form, (layers, tokens, each)
    )


def _attention(step: Step, share: Share, reader: Reader, runtime: Runtime, depth: float, tokens: float) -> Cost:
    """Scores and values: full-attention layers see everything before, windowed ones at most their window. Without the
    fused kernel the scores themselves go through memory."""
    flops = share.cache_share * sum(
        formulas.attention_flops(layers, step.facts.query_width, _seen(window, depth), tokens)
        for layers, window in step.facts.attention
    )
    name = f"attention on {reader.name}"
    if reader.device == "cpu" or (runtime.flash_attention and step.kv_factor == 1.0):
        return work_cost(name, flops, step.once(("attention", id(reader)), lambda: _attention_rate(step, reader)))
    prefill, rate = step.constants.prefill, matrix_flops(reader, step.constants)
    scored = flops / (4.0 * (step.expanded.shape.head_dim or 128)) * prefill.no_flash_bytes_per_score
    bandwidth = reader.bandwidth_bytes_per_s or 1.0
    figures = (flops / 1e12, rate / 1e12, scored / 1e9, bandwidth / 1e9)
    form = "{:.2f} TFLOP / {:.2f} TFLOP/s + {:.1f} GB of scores / {:.0f} GB/s"
    return Cost(name, flops / rate + scored / bandwidth, "compute", form, figures)


def _seen(window: int | None, depth: float) -> float:
    return min(depth, float(window)) if window else depth


def _attention_rate(step: Step, reader: Reader) -> float:
    prefill = step.constants.prefill
    if reader.device == "cpu":
        if step.kv_type.k in {"f16", "bf16", "auto"}:
            return prefill_flops_per_s(step, reader) * prefill.cpu_attention_factor
        return (reader.cores or 0.0) * cpu_attention_gflops(step) * 1e9
    per_clock = device_stack(step, reader).attention_flops_per_clock
    if reader.unit_clock_per_s:
        return reader.unit_clock_per_s * per_clock
    table = prefill.flops_per_clock
    return matrix_flops(reader, step.constants) * per_clock / table["nvidia"]


def _stream(step: Step, share: Share, batches: int, batch_tokens: float) -> Cost:
    """Every weight once per micro-batch; of the experts those that the batch touches. Old builds unpack them first."""
    shape = step.expanded.shape
    coverage = formulas.expert_coverage(batch_tokens, shape.experts, shape.active_experts)
    experts = min(share.expert_bytes * coverage, max(share.expert_resident_bytes, share.expert_bytes))
    read = step.constants.prefill.stream_fraction * (share.dense_bytes + experts)
    if share.reader.device == "gpu":
        read += step.copied_bytes_per_weight * sum(elements_read(step, share))
    rate = share.reader.bandwidth_bytes_per_s or 1.0
    form, figures = "{:.0f} x {:.2f} GB / {:.0f} GB/s", (batches, read / 1e9, rate / 1e9)
    return Cost(f"weights on {share.reader.name}", batches * read / rate, "bandwidth", form, figures)


def _reduced(step: Step, tokens: float) -> list[Cost]:
    """All-reduces of a tensor split: two per layer over every prompt token, partly behind the arithmetic."""
    cards, several = step.placement.tensor_parallel, step.constants.several
    if cards <= 1:
        return []
    moved = 2 * step.expanded.shape.layers * formulas.ring_bytes(tokens, step.expanded.shape.hidden_size, cards)
    rate = reduce_bytes_per_s(step) / several.prefill_reduce_share
    return [Cost("all-reduce", moved / rate, "link", "{:.2f} GB / {:.1f} GB/s", (moved / 1e9, rate / 1e9))]


def _copied(step: Step, share: Share, main: Share, batches: int, tokens: float) -> list[Cost]:
    """Large micro-batches are computed on the GPU: the weights in RAM cross the link once per micro-batch."""
    each = share.dense_bytes + max(share.expert_resident_bytes, share.expert_bytes)
    link = link_bytes_per_s(step, main)
    if prefill_flops_per_s(step, main.reader) <= 0:
        return [Cost("unknown", math.inf, "link", "")]
    form, figures = "{:.0f} x {:.1f} GB / {:.0f} GB/s", (batches, each / 1e9, link / 1e9)
    return [
        Cost("weights over the link", batches * each / link, "link", form, figures),
        *_products(step, share, main.reader, tokens, tokens / batches),
    ]


def link_bytes_per_s(step: Step, share: Share) -> float:
    """What the GPU's link carries for one large copy: lanes x the usable rate of its generation, else assumed."""
    several, gpu = step.constants.several, share.reader.gpu
    link = gpu.link if gpu else None
    if link and link.kind != "pcie" and link.bytes_per_s:
        return link.bytes_per_s
    per_lane = several.pcie_gb_per_s_per_lane.get(str(link.generation)) if link else None
    if link and per_lane and link.width:
        return per_lane * link.width * 1e9
    return several.assumed_link_gb_per_s * 1e9


def _shared(cost: Cost, cards: int) -> Cost:
    """One of several cards that work at once: each card's own part, counted once."""
    form = f"{cost.form} on each of {cards} cards at once"
    return replace(cost, seconds=cost.seconds / cards, form=form)
