"""One decode step: seconds per token, term by term, over the devices that hold the model."""

from __future__ import annotations

from planner.speed import formulas
from planner.speed.rates import Step, batch_flops_per_s, device_stack, elements_read
from planner.speed.reads import Share, cache_bytes
from planner.speed.terms import Cost, read_cost, work_cost
from planner.speed.waits import waits


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
        *step.once(("around", sequences), lambda: waits(step, sequences)),
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
