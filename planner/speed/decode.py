"""One decode step: seconds per token, term by term, over the devices that hold the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.speed import formulas
from planner.speed.rates import (
    Step,
    batch_flops_per_s,
    device_stack,
    elements_read,
    reduce_bytes_per_s,
)
from planner.speed.reads import Share, cache_bytes
from planner.speed.terms import Cost, read_cost, work_cost

if TYPE_CHECKING:
    from planner.sizing.records import Placement


def step_seconds(step: Step, depth: float, sequences: float) -> float:
    """Seconds of one step in which each of `sequences` users gets a token at `depth`."""
    return sum(cost.seconds for cost in step_costs(step, depth, sequences))


def step_costs(step: Step, depth: float, sequences: float = 1.0) -> tuple[Cost, ...]:
    """The terms of one step. Several terms of tensor-parallel cards run at once: only the slowest card counts."""
    whole = cache_bytes(step.expanded, step.kv_type, depth, step.placement.tensor_parallel)
    per_share = [_share_costs(step, index, whole, sequences) for index in range(len(step.shares))]
    if step.placement.tensor_parallel > 1:
        gpu = [costs for costs, share in zip(per_share, step.shares, strict=True) if share.reader.device != "cpu"]
        rest = [costs for costs, share in zip(per_share, step.shares, strict=True) if share.reader.device == "cpu"]
        slowest = max(gpu, key=lambda costs: sum(cost.seconds for cost in costs), default=[])
        per_share = [slowest, *rest]
    costs = [cost for costs in per_share for cost in costs]
    return (
        *costs,
        *step.once(
            ("around", sequences), lambda: (*_launch(step), *_sampling(step, sequences), *_between(step, sequences))
        ),
    )


def _share_costs(step: Step, index: int, cache_bytes_of_one: float, sequences: float) -> list[Cost]:
    share = step.shares[index]
    before, after = step.once(("reads", index, sequences), lambda: _steady_costs(step, index, sequences))
    quantity = cache_bytes_of_one * _cache_part(step, share) * sequences
    cache = read_cost(f"cache on {share.reader.name}", quantity, step.rates[index][1])
    return [*before, cache, *after] if cache.seconds > 0 else [*before, *after]


def _steady_costs(step: Step, index: int, sequences: float) -> tuple[tuple[Cost, ...], tuple[Cost, ...]]:
    """What comes before the cache, and after it: the same at every depth."""
    share = step.shares[index]
    shape, where, (rate, _) = step.expanded.shape, share.reader.name, step.rates[index]
    coverage = formulas.expert_coverage(sequences, shape.experts, shape.active_experts)
    expert_bytes = min(share.expert_bytes * coverage, max(share.expert_bytes, share.expert_resident_bytes))
    state = step.facts.state_bytes * share.cache_share * sequences
    before = [
        read_cost(f"weights on {where}", share.dense_bytes, rate),
        read_cost(f"experts on {where}", expert_bytes, rate * device_stack(step, share.reader).expert_fraction),
    ]
    after = [read_cost(f"state on {where}", state, rate)]
    if sequences > 1:
        after.append(_arithmetic(step, share, sequences))
    kept = [tuple(cost for cost in costs if cost.seconds > 0) for costs in (before, after)]
    return kept[0], kept[1]


def _cache_part(step: Step, share: Share) -> float:
    """The part of the (already divided) cache in this pool: all of a card's own part under tensor parallelism."""
    return 1.0 if step.placement.tensor_parallel > 1 and share.cache_share else share.cache_share


def _arithmetic(step: Step, share: Share, sequences: float) -> Cost:
    """FLOPs of the users beyond the first: 2 per weight element read, at the share of the peak that batches reach."""
    flops = 2.0 * sum(elements_read(step, share)) * (sequences - 1.0)
    rate = batch_flops_per_s(step, share)
    return work_cost(f"arithmetic on {share.reader.name}", flops if rate else 0.0, rate or 1.0)


def _launch(step: Step) -> list[Cost]:
    shape, stack = step.expanded.shape, step.stack
    norms = max(0.0, step.facts.norms_per_layer - 2.0)
    layer_us = stack.layer_us * (1.0 + stack.norm_share * norms) * step.launch_factor
    counted = [(shape.layers, layer_us, "{:.0f} layers x {:.4g} us")]
    if shape.moe_layers:
        counted.append((shape.moe_layers, stack.moe_layer_us * step.launch_factor, "{:.0f} expert layers x {:.4g} us"))
    recurrent = step.facts.recurrent_layers
    recurrent_us = stack.recurrent_layer_us + step.unfused_layer_us
    if recurrent and recurrent_us:
        counted.append((recurrent, recurrent_us, "{:.0f} recurrent layers x {:g} us"))
    if stack.token_us:
        counted.append((1, stack.token_us, "{:.0f} token x {:g} us"))
    seconds = sum(count * micros for count, micros, _ in counted) * 1e-6
    figures = tuple(figure for count, micros, _ in counted for figure in (count, micros))
    costs = [Cost("launch", seconds, "launch", " + ".join(form for _, _, form in counted), figures)]
    if step.extra_token_s:
        costs.append(Cost("server", step.extra_token_s, "launch", "per token in the server around the engine"))
    return costs


def _sampling(step: Step, sequences: float) -> list[Cost]:
    """Drawing each user's token from all logits, on one core of the host."""
    nanos = step.constants.sampling_ns_per_logit
    if not step.host_logits:
        return []
    figures = (sequences, step.host_logits, nanos)
    seconds = sequences * step.host_logits * nanos * 1e-9
    return [Cost("sampling", seconds, "launch", "{:.0f} x {:.0f} logits x {:g} ns", figures)]


def _between(step: Step, sequences: float) -> list[Cost]:
    """What moving between devices costs: cards of a layer split, all-reduces, layers handed to the CPU."""
    several, placement, shape = step.constants.several, step.placement, step.expanded.shape
    cards = sum(1 for share in step.shares if share.reader.device != "cpu")
    costs: list[Cost] = []
    if placement.tensor_parallel > 1:
        costs.append(_reduce(step, placement.tensor_parallel, sequences))
    elif cards > 1:
        figures = (cards - 1, several.card_us)
        seconds = (cards - 1) * several.card_us * 1e-6
        costs.append(Cost("between cards", seconds, "link", "{:.0f} more cards x {:g} us", figures))
    handed = handed_layers(placement, shape.layers) if cards else 0
    if handed:
        seconds = handed * several.handoff_us * 1e-6
        costs.append(
            Cost("GPU to CPU and back", seconds, "link", "{:.0f} layers x {:g} us", (handed, several.handoff_us))
        )
    return costs


def handed_layers(placement: Placement, layers: int) -> int:
    """Layers that wait for the CPU: those whose experts lie in RAM, or that lie there whole."""
    if placement.cpu_expert_layers:
        return min(placement.cpu_expert_layers, layers)
    return max(0, layers - placement.gpu_layers) if placement.gpu_layers is not None else 0


def _reduce(step: Step, cards: int, sequences: float) -> Cost:
    several, shape = step.constants.several, step.expanded.shape
    rate = reduce_bytes_per_s(step)
    moved = formulas.ring_bytes(sequences, shape.hidden_size, cards)
    seconds = 2 * shape.layers * (several.reduce_us * 1e-6 + moved / rate)
    figures = (shape.layers, several.reduce_us, moved / 1e3, rate / 1e9)
    form = "2 x {:.0f} all-reduces x ({:g} us + {:.0f} kB / {:.1f} GB/s)"
    return Cost("all-reduce", seconds, "link", form, figures)
