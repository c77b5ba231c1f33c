"""Residual streams wider than one: hyper-connections (DeepSeek-V4, GLM-5-Next), attention residuals (Kimi-K3), the
gated residuals and n-gram tables of Qwen4-Exp; and indexers over ordinary keys. Shapes: transformers' classes."""

from __future__ import annotations

from planner.sizing.records import Role
from planner.sizing.tensors.blueprint import Blueprint, Parts

_O, _N = Role.OTHER, Role.NORM


def hyper_connections(plan: Blueprint, parts: Parts) -> None:
    """Manifold hyper-connections: before each half of a block the streams are mixed by weights computed from them:
    one per stream in, one per stream out, and a matrix between them. `hyper_head` ends in a mixer of its own."""
    if not plan.has("hyper_connections"):
        return
    streams = plan.number("hyper_connections")
    mixed, width = (2 + streams) * streams, streams * plan.arch.hidden_size
    for half in ("attn", "ffn"):
        parts.block(_O, f"hc_{half}_fn.weight", (width, mixed), plan.every_layer)
        parts.block(_O, f"hc_{half}_base.weight", (mixed,), plan.every_layer)
        parts.block(_O, f"hc_{half}_scale.weight", (3,), plan.every_layer)
    if plan.has("hyper_head"):
        parts.single(_O, "hc_head_fn.weight", (width, streams))
        parts.single(_O, "hc_head_base.weight", (streams,))
        parts.single(_O, "hc_head_scale.weight", (1,))
        if plan.mtp:
            parts.block(Role.MTP, "nextn.hc_head_fn.weight", (width, streams), plan.mtp)
            parts.block(Role.MTP, "nextn.hc_head_base.weight", (streams,), plan.mtp)
            parts.block(Role.MTP, "nextn.hc_head_scale.weight", (1,), plan.mtp)


def attention_residuals(plan: Blueprint, parts: Parts) -> None:
    """Kimi-K3: each half of a block attends over the outputs of earlier blocks. The checkpoint's norm and projection
    are only used as their product, which is what the GGUF file holds."""
    if not plan.has("attention_residuals"):
        return
    width = (plan.arch.hidden_size,)
    for half in ("attn", "ffn"):
        parts.block(_O, f"{half}_res_score.weight", width, plan.every_layer)
        parts.block(_O, f"{half}_res_proj.weight", width, plan.every_layer, gguf=False)
    parts.single(_O, "output_res_score.weight", width)
    parts.single(_O, "output_res_proj.weight", width, gguf=False)


def gated_residuals(plan: Blueprint, parts: Parts) -> None:
    """Qwen4-Exp: a low-rank gate over all streams before each half of a block, and one more after the last block;
    they hold the norms, so the blocks have none."""
    if not plan.has("gated_residuals"):
        return
    width, rank = plan.number("hyper_connections") * plan.arch.hidden_size, plan.number("hyper_rank")
    for half in ("attn", "ffn"):
        _gate(parts, f"hc_{half}", width, rank, plan.every_layer)
        parts.block(_O, f"hc_{half}_inject.weight", (width, plan.number("hyper_connections")), plan.every_layer)
    parts.single(_N, "hc_head_norm.weight", (width,))
    parts.single(_O, "hc_head_down.weight", (width, rank))
    parts.single(_O, "hc_head_up.weight", (rank, width))
    if plan.mtp:
        _gate(parts, "nextn.hc", width, rank, plan.mtp)


def _gate(parts: Parts, name: str, width: int, rank: int, layers: tuple[int, ...]) -> None:
    parts.block(_N, f"{name}_norm.weight", (width,), layers)
    parts.block(_O, f"{name}_down.weight", (width, rank), layers)
    parts.block(_O, f"{name}_up.weight", (rank, width), layers)


def ngram_tables(plan: Blueprint, parts: Parts) -> None:
    """Qwen4-Exp: hashed n-gram embeddings, looked up and injected into every stream before one layer. The table is
    read by row, so it may lie in slow memory."""
    if not plan.has("ngram_tables"):
        return
    hidden, streams = plan.arch.hidden_size, plan.number("hyper_connections")
    layers, width = (plan.number("ngram_layer"),), plan.number("ngram_width")
    row = width // plan.number("ngram_heads")
    parts.single(Role.LOOKUP, "ple_embd.weight", (row, plan.number("ngram_rows")))
    parts.block(_O, "ple_key.weight", (width, streams * hidden), layers)
    parts.block(_O, "ple_value.weight", (width, hidden), layers)
    for norm in ("key", "query", "conv"):
        parts.block(_N, f"ple_norm_{norm}.weight", (streams * hidden,), layers)
    parts.block(_O, "ple_conv1d.weight", (plan.number("ngram_conv"), streams * hidden), layers)


def block_indexer(plan: Blueprint, parts: Parts) -> None:
    """Block-sparse attention with an indexer over ordinary keys (MiniMax-M3, Qwen4-Exp): its queries and one key
    come from the hidden state. Qwen4-Exp's checkpoint joins both in one tensor, its GGUF file does not."""
    index = plan.arch.indexer
    if index is None or plan.arch.mla is not None or not plan.has("block_indexer"):
        return
    hidden = plan.arch.hidden_size
    layers = block_indexer_layers(plan)
    parts.block(Role.ATTENTION, "indexer.q_proj.weight", (hidden, index.heads * index.head_dim), layers)
    parts.block(Role.ATTENTION, "indexer.k_proj.weight", (hidden, index.head_dim), layers)
    parts.block(_N, "indexer.q_norm.weight", (index.head_dim,), layers)
    parts.block(_N, "indexer.k_norm.weight", (index.head_dim,), layers)


def block_indexer_layers(plan: Blueprint) -> tuple[int, ...]:
    """Attention layers with a block indexer: the last `layers` of them, all unless said."""
    index, owners = plan.arch.indexer, plan.layers("full")
    if index is None or index.layers is None:
        return owners
    return owners[len(owners) - index.layers :]
