"""What each layer keeps per sequence: a growing cache, a window, or a fixed state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from planner.sizing.records import LayerCache
from planner.sizing.tensors.attention import indexer_layers
from planner.sizing.tensors.compressed import compressed_caches
from planner.sizing.tensors.encoder import ENCODERS
from planner.sizing.tensors.streams import block_indexer_layers

if TYPE_CHECKING:
    from planner.catalog.records.architecture import Indexer
    from planner.sizing.tensors.blueprint import Blueprint


def layer_caches(plan: Blueprint) -> tuple[LayerCache, ...]:
    """Caches of all layers. Prediction layers keep nothing in the main context, layers that share another's
    cache keep nothing either."""
    own = plan.arch.layers - plan.arch.kv_shared_layers
    found = [*_attention(plan, own), *_recurrent(plan)]
    return tuple(cache for cache in found if cache.layers)


def _attention(plan: Blueprint, own: int) -> list[LayerCache]:
    arch = plan.arch
    if arch.gguf in ENCODERS or plan.has("bidirectional"):
        return []
    if "compressed" in plan.kinds:
        return compressed_caches(plan)
    if arch.mla is not None:
        return _latent(plan, own)
    caches = []
    for kind in ("full", "parallel", "sliding", "chunked"):
        layers = tuple(layer for layer in plan.layers(kind) if layer < own)
        heads, windowed = plan.kv_heads(kind), kind in ("sliding", "chunked") and arch.window is not None
        cache = LayerCache(
            kind="window" if windowed else "full",
            layers=layers,
            k_width=heads * plan.head_dim(kind),
            v_width=heads * plan.v_head_dim(kind),
            heads=heads,
            window=arch.window if windowed else None,
        )
        caches += _with_index_keys(plan, cache)
    return caches


def _with_index_keys(plan: Blueprint, cache: LayerCache) -> list[LayerCache]:
    """Layers with a block indexer keep its keys too."""
    index = plan.arch.indexer
    if index is None or cache.kind != "full":
        return [cache]
    owners = set(block_indexer_layers(plan))
    with_keys = tuple(layer for layer in cache.layers if layer in owners)
    without = tuple(layer for layer in cache.layers if layer not in owners)
    indexed = _indexed(msgspec.structs.replace(cache, layers=with_keys), index)
    return [indexed, msgspec.structs.replace(cache, layers=without)]


def _indexed(cache: LayerCache, index: Indexer) -> LayerCache:
    return msgspec.structs.replace(
        cache, indexer_width=index.head_dim, indexer_top_k=index.top_k or 0, indexer_heads=index.heads
    )


def _latent(plan: Blueprint, own: int) -> list[LayerCache]:
    """MLA keeps one latent and one rotary key per token, shared by all heads; layers with an indexer its keys too."""
    mla, index = plan.arch.mla, plan.arch.indexer
    if mla is None:
        return []
    layers = tuple(layer for layer in plan.layers("full") if layer < own)
    width = mla.kv_lora_rank + mla.rope_head_dim
    if index is None:
        return [LayerCache(kind="full", layers=layers, k_width=width, mla=True)]
    owners = set(indexer_layers(plan))
    with_keys = tuple(layer for layer in layers if layer in owners)
    without = tuple(layer for layer in layers if layer not in owners)
    return [
        _indexed(LayerCache(kind="full", layers=with_keys, k_width=width, mla=True), index),
        LayerCache(kind="full", layers=without, k_width=width, mla=True),
    ]


def _recurrent(plan: Blueprint) -> list[LayerCache]:
    """Convolution and state values of recurrent layers (llama.cpp `llama-hparams.cpp`: n_embd_r, n_embd_s)."""
    arch, caches = plan.arch, []
    main = range(arch.layers)
    if arch.linear is not None:
        linear = arch.linear
        inner = linear.value_heads * linear.value_head_dim
        mixed = inner + 2 * linear.key_heads * linear.key_head_dim
        conv = (linear.conv_kernel - 1) * mixed if linear.conv_kernel else 0
        state = inner * linear.key_head_dim
        caches.append(_state(plan.layers("linear"), main, conv, state))
    if arch.mamba is not None:
        mamba = arch.mamba
        inner = mamba.heads * mamba.head_dim
        conv = (mamba.conv_kernel - 1) * (inner + 2 * mamba.groups * mamba.state_size)
        caches.append(_state(plan.layers("mamba", "parallel"), main, conv, inner * mamba.state_size))
    if arch.conv_cache is not None:
        caches.append(_state(plan.layers("conv"), main, (arch.conv_cache - 1) * arch.hidden_size, 0))
    return caches


def _state(layers: tuple[int, ...], main: range, conv: int, state: int) -> LayerCache:
    kept = tuple(layer for layer in layers if layer in main)
    return LayerCache(kind="recurrent", layers=kept, conv_elements=conv, state_elements=state)
