"""What a runtime asks of memory beside the weights: caches by layer and work buffers; remembered per runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from planner.sizing.buffers import compute_buffer, host_buffer_bytes, output_buffer_bytes
from planner.sizing.identity import IdentityCache
from planner.sizing.kv_cache import layer_caches

if TYPE_CHECKING:
    from planner.sizing.records import Allocation, ExpandedModel, Part, Runtime

_REMEMBERED: Final = 4096


class Demand(msgspec.Struct, frozen=True):
    """Caches of each block over all slots and ranks, and buffers. `growing_bytes` per further token of one sequence;
    `compute` is one device's; `host_bytes` what a GPU's graph keeps on the host, `output_bytes` the logits there."""

    kv: tuple[int, ...]
    state: tuple[int, ...]
    kv_bytes: int
    state_bytes: int
    growing_bytes: int
    compute: Part
    host_bytes: int
    output_bytes: int


_demands: IdentityCache[Demand] = IdentityCache(_REMEMBERED)


def memory_demand(expanded: ExpandedModel, runtime: Runtime, allocation: Allocation, ranks: int, blocks: int) -> Demand:
    """The demand over `blocks` blocks. Raises PlannerError for cache types that the engine refuses."""
    runtime = _with_batch(runtime, allocation)
    key = (runtime, allocation, ranks, blocks)
    return _demands.value((expanded,), key, lambda: _demand(expanded, runtime, allocation, ranks, blocks))


def _with_batch(runtime: Runtime, allocation: Allocation) -> Runtime:
    """The step that the server sets itself: vLLM's tokens of one step, llama.cpp's micro-batch of an encoder."""
    tokens = allocation.batch_tokens
    if tokens is None:
        return runtime
    if allocation.policy == "vllm":
        return replace(runtime, batch=max(tokens, runtime.parallel))
    return replace(runtime, ubatch=max(runtime.ubatch, min(tokens, runtime.context_tokens)))


def _demand(expanded: ExpandedModel, runtime: Runtime, allocation: Allocation, ranks: int, blocks: int) -> Demand:
    kv, state, growing = [0] * blocks, [0] * blocks, 0.0
    for cache in layer_caches(expanded, runtime, allocation, ranks):
        growing += cache.growing * len(cache.layers)
        for layer in cache.layers:
            kv[layer] += cache.kv
            state[layer] += cache.state
    return Demand(
        kv=tuple(kv),
        state=tuple(state),
        kv_bytes=sum(kv),
        state_bytes=sum(state),
        growing_bytes=round(growing),
        compute=compute_buffer(expanded, runtime, allocation, ranks),
        host_bytes=host_buffer_bytes(expanded, runtime, allocation),
        output_bytes=output_buffer_bytes(expanded, runtime, allocation),
    )
