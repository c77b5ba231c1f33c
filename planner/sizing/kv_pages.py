"""vLLM's paged caches: pages of one layer, groups of layers that share a page size.

Source: vllm/v1/kv_cache_interface.py and kv_cache_utils.py (2026). Bytes are what the slots need, each at full length;
vLLM itself fills its memory fraction with pages and refuses to start when one request does not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.sizing.records import ExpandedModel, LayerCache, Runtime

BLOCK_TOKENS: Final = 16
_ELEMENT_BYTES: Final = {
    "auto": 2.0,
    "f16": 2.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "bfloat16": 2.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "nvfp4": 0.5 + 1 / 16,
}
# DeepSeek's own FP8 latent: 512 bytes, 16 of scales, 128 of rope in 16 bit.
_FP8_DS_MLA_BYTES: Final = 656


def _ceil(value: int, step: int) -> int:
    return -(-value // step)


def paged_caches(
    expanded: ExpandedModel, runtime: Runtime, tensor_parallel: int
) -> list[tuple[tuple[int, ...], int, int, float]]:
    """Per kind of layer: layers, cache bytes and state bytes of one layer over all slots and ranks, bytes per
    further token of a sequence."""
    attention = [cache for cache in expanded.caches if cache.kind != "recurrent"]
    recurrent = [cache for cache in expanded.caches if cache.kind == "recurrent"]
    token_bytes = {id(cache): _token_bytes(cache, runtime, tensor_parallel) for cache in attention}
    state_bytes = max((_state_bytes(cache) for cache in recurrent), default=0)
    widest = max(token_bytes.values(), default=0.0)
    # In hybrids the attention block grows, by 16 tokens, until its page holds a layer's state.
    block = BLOCK_TOKENS
    if state_bytes and widest:
        block = max(BLOCK_TOKENS, BLOCK_TOKENS * _ceil(int(state_bytes), int(BLOCK_TOKENS * widest)))
    filler = _filler(expanded.caches)
    entries: list[tuple[tuple[int, ...], int, int, float]] = []
    for cache in attention:
        per_token = token_bytes[id(cache)]
        pages = _pages(cache, runtime, block)
        size = runtime.parallel * pages * block * per_token * filler[id(cache)]
        entries.append((cache.layers, round(size), 0, per_token if cache.kind == "full" else 0.0))
    for cache in recurrent:
        page = max(_state_bytes(cache), block * widest)
        entries.append((cache.layers, 0, round(runtime.parallel * page * filler[id(cache)]), 0.0))
    return entries


def _pages(cache: LayerCache, runtime: Runtime, block: int) -> int:
    if cache.kind == "window" and cache.window is not None:
        held = min(cache.window - 1 + runtime.batch, runtime.context_tokens)
        return min(_ceil(held, block) + 1, _ceil(runtime.context_tokens, block))
    return _ceil(_ceil(runtime.context_tokens, cache.compress), block)


def _filler(caches: tuple[LayerCache, ...]) -> dict[int, float]:
    """Padding of each kind: groups are as long as the shortest kind, and the last group of a kind is filled up."""
    counts = [len(cache.layers) for cache in caches]
    if len(counts) < 2:
        return {id(cache): 1.0 for cache in caches}
    shortest, longest = min(counts), max(counts)
    group = longest if longest < 1.25 * shortest else shortest
    return {id(cache): _ceil(len(cache.layers), group) * group / len(cache.layers) for cache in caches}


def _token_bytes(cache: LayerCache, runtime: Runtime, tensor_parallel: int) -> float:
    """Bytes per token and layer over all ranks: KV heads are divided, and copied where there are fewer than ranks."""
    if cache.mla:
        return tensor_parallel * (_latent_bytes(cache, runtime) / cache.compress + 2 * cache.indexer_width)
    copies = max(1.0, tensor_parallel / cache.heads)
    sizes = ((runtime.kv_type.k, cache.k_width), (runtime.kv_type.v, cache.v_width))
    per_token = sum(_element_bytes(name) * width for name, width in sizes)
    return copies * per_token / cache.compress + tensor_parallel * 2 * cache.indexer_width


def _latent_bytes(cache: LayerCache, runtime: Runtime) -> float:
    if runtime.kv_type.k == "fp8_ds_mla":
        return _FP8_DS_MLA_BYTES
    return _element_bytes(runtime.kv_type.k) * cache.k_width


def _state_bytes(cache: LayerCache) -> int:
    """One slot's state in one layer: the convolution's tail in 16 bit, the state in 32."""
    return 2 * cache.conv_elements + 4 * cache.state_elements


def _element_bytes(name: str) -> float:
    size = _ELEMENT_BYTES.get(name)
    if size is None:
        hint = f"one of {', '.join(_ELEMENT_BYTES)}; q8_0 and its kin belong to llama.cpp"
        raise PlannerError(f"vLLM has no cache type {name!r}", hint=hint)
    return size
