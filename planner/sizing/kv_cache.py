"""Caches of keys, values and recurrent states, per layer, as each engine lays them out.

llama.cpp: `src/llama-kv-cache.cpp`, `llama-kv-cache-iswa.cpp`, `llama-memory-recurrent.cpp` (cells padded to 256).
mlx-lm: `models/cache.py` (grown in steps of 256, rotating windows). vLLM: `planner.sizing.kv_pages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from planner.errors import PlannerError
from planner.sizing.blocks import BLOCKS, row_bytes
from planner.sizing.kv_pages import paged_caches

if TYPE_CHECKING:
    from planner.sizing.records import Allocation, ExpandedModel, LayerCache, Runtime

_CELL_STEP: Final = 256
_F32_BYTES: Final = 4
# mlx-lm's default `--prefill-step-size`.
_MLX_PREFILL_TOKENS: Final = 2048
_LLAMA_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
# Bits per element: the bits themselves and a 16-bit scale and bias per 64.
_MLX_BITS: Final = {"f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q8": 8.5, "q4_0": 4.5, "q4": 4.5}


class LayerBytes(msgspec.Struct, frozen=True):
    """Cache bytes of one layer, the same for each of `layers`; `growing` per further token of one sequence."""

    layers: tuple[int, ...]
    kv: int
    state: int
    growing: float


class Cells(msgspec.Struct, frozen=True):
    """llama.cpp's cache geometry: cells per stream of full layers, sequences that share a stream, streams."""

    n_ctx: int
    per_sequence: int
    streams: int
    ubatch: int

    def window(self, window: int, runtime: Runtime) -> int:
        """Cells of a sliding-window layer."""
        if runtime.swa_full:
            return self.per_sequence
        sharing = runtime.parallel if runtime.kv_unified else 1
        return padded(min(self.per_sequence, window * sharing + self.ubatch))


def padded(tokens: int) -> int:
    """Rounded up to the step in which caches are allocated."""
    return -(-tokens // _CELL_STEP) * _CELL_STEP


def llama_cells(runtime: Runtime) -> Cells:
    """Cells for `context_tokens` per user: the flag `-c` is the total over slots in both modes."""
    if runtime.kv_unified:
        total = padded(runtime.context_tokens * runtime.parallel)
        per_sequence, streams = total, 1
    else:
        per_sequence, streams = padded(runtime.context_tokens), runtime.parallel
        total = per_sequence * streams
    return Cells(total, per_sequence, streams, min(runtime.ubatch, runtime.batch, total))


def layer_caches(
    expanded: ExpandedModel, runtime: Runtime, allocation: Allocation, tensor_parallel: int = 1
) -> tuple[LayerBytes, ...]:
    """Cache bytes of every layer that keeps something, over all slots (and all ranks of `tensor_parallel`).

    Raises PlannerError for cache types that the engine refuses with this model."""
    if runtime.context_tokens < 1 or runtime.parallel < 1:
        raise PlannerError("context and parallel must be at least 1", hint="give positive numbers")
    if allocation.policy == "vllm":
        return tuple(LayerBytes(*entry) for entry in paged_caches(expanded, runtime, tensor_parallel))
    if allocation.policy == "mlx":
        return tuple(_mlx(cache, runtime) for cache in expanded.caches)
    cells = llama_cells(runtime)
    caches = expanded.caches if runtime.flash_attention else _padded_values(expanded.caches)
    return tuple(_llama(cache, runtime, cells, expanded.shape.gguf_architecture) for cache in caches)


def _padded_values(caches: tuple[LayerCache, ...]) -> tuple[LayerCache, ...]:
    """Without flash attention llama.cpp keeps values transposed, every layer's as wide as the widest."""
    widest = max((cache.v_width for cache in caches), default=0)
    return tuple(replace(cache, v_width=widest) if 0 < cache.v_width < widest else cache for cache in caches)


def _llama(cache: LayerCache, runtime: Runtime, cells: Cells, architecture: str | None) -> LayerBytes:
    if cache.kind == "recurrent":
        state = runtime.parallel * _F32_BYTES * (cache.conv_elements + cache.state_elements)
        return LayerBytes(cache.layers, 0, state, 0.0)
    _check_llama_types(cache, runtime)
    per_cell = row_bytes(runtime.kv_type.k.upper(), cache.k_width) if cache.k_width else 0
    per_cell += row_bytes(runtime.kv_type.v.upper(), cache.v_width) if cache.v_width else 0
    per_cell += _index_bytes(cache, runtime)
    count = cells.per_sequence
    windowed = cache.kind == "window" and cache.window is not None and architecture != "phi3"
    if windowed and cache.window is not None:
        count = cells.window(cache.window, runtime)
    count = -(-count // cache.compress)
    growing = 0.0 if windowed else per_cell / cache.compress
    return LayerBytes(cache.layers, cells.streams * count * per_cell, 0, growing)


def _index_bytes(cache: LayerCache, runtime: Runtime) -> int:
    """An indexer's keys per cell, in the cache's types. Beside ordinary attention its cache has a value half too, which
    nothing fills (logged by build 11669 for glm-dsa and minimax-m3)."""
    if not cache.indexer_width:
        return 0
    types = (runtime.kv_type.k,) if cache.mla else (runtime.kv_type.k, runtime.kv_type.v)
    return sum(row_bytes(name.upper(), cache.indexer_width) for name in types)


def _check_llama_types(cache: LayerCache, runtime: Runtime) -> None:
    k, v = runtime.kv_type.k, runtime.kv_type.v
    for name in (k, v):
        if name not in _LLAMA_TYPES:
            raise PlannerError(f"llama.cpp has no cache type {name!r}", hint=f"one of {', '.join(_LLAMA_TYPES)}")
    if BLOCKS[v.upper()].elements > 1 and not runtime.flash_attention:
        raise PlannerError(f"a {v} value cache needs flash attention", hint="turn it on, or keep values in f16")
    if cache.mla and k != v:
        raise PlannerError(f"latent attention stores one cache: {k} and {v} differ", hint="use one cache type")
    for name, width in ((k, cache.k_width), (v, cache.v_width)):
        block, head = BLOCKS[name.upper()].elements, width // cache.heads
        if head % block:
            hint = "use f16, or another model"
            raise PlannerError(f"head size {head} is not a multiple of {name}'s block of {block}", hint=hint)


def _mlx(cache: LayerCache, runtime: Runtime) -> LayerBytes:
    if cache.kind == "recurrent":
        # The convolution's tail is kept in 16 bit, the state in 32 (mlx-lm `models/gated_delta.py`).
        state = runtime.parallel * (2 * cache.conv_elements + _F32_BYTES * cache.state_elements)
        return LayerBytes(cache.layers, 0, state, 0.0)
    per_token = sum(
        width * _mlx_bits(name) / 8
        for name, width in ((runtime.kv_type.k, cache.k_width), (runtime.kv_type.v, cache.v_width))
    )
    per_token = per_token / cache.compress + 2 * cache.indexer_width
    tokens, growing = padded(runtime.context_tokens), per_token
    if cache.kind == "window" and cache.window is not None:
        tokens, growing = min(tokens, cache.window + _MLX_PREFILL_TOKENS - 1), 0.0
    return LayerBytes(cache.layers, round(runtime.parallel * tokens * per_token), 0, growing)


def _mlx_bits(name: str) -> float:
    bits = _MLX_BITS.get(name)
    if bits is None:
        raise PlannerError(f"mlx-lm has no cache type {name!r}", hint=f"one of {', '.join(_MLX_BITS)}")
    return bits
