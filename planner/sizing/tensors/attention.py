"""Attention tensors: grouped-query attention with its variants, and multi-head latent attention."""

from __future__ import annotations

from itertools import groupby

from planner.sizing.records import Role
from planner.sizing.tensors.blueprint import ATTENTION, Blueprint, Parts

_A, _N = Role.ATTENTION, Role.NORM


def attention(plan: Blueprint, parts: Parts) -> None:
    """Tensors of all layers with ordinary attention, one set of groups per distinct shape."""
    wanted = [kind for kind in ATTENTION if kind in plan.kinds]
    shapes = {kind: (plan.heads(kind), plan.kv_heads(kind), plan.head_dim(kind)) for kind in wanted}
    ordered = sorted(wanted, key=lambda kind: shapes[kind])
    for _, alike in groupby(ordered, key=lambda kind: (shapes[kind], _differs(plan, kind))):
        kinds = tuple(alike)
        layers = plan.layers(*kinds)
        if plan.has("fused_qkv"):
            _fused(plan, parts, kinds[0], layers)
        else:
            _separate(plan, parts, kinds[0], layers)
        _around(plan, parts, kinds[0], layers)


def _differs(plan: Blueprint, kind: str) -> bool:
    """Whether full-attention layers of this family carry other tensors than window layers."""
    return kind == "cross" or (kind == "full" and (plan.has("k_is_v_on_full") or plan.has("sliding_sinks")))


def _fused(plan: Blueprint, parts: Parts, kind: str, layers: tuple[int, ...]) -> None:
    hidden, head = plan.arch.hidden_size, plan.head_dim(kind)
    width = (plan.heads(kind) + 2 * plan.kv_heads(kind)) * head
    parts.block(_A, "attn_qkv.weight", (hidden, width), layers)


def _separate(plan: Blueprint, parts: Parts, kind: str, layers: tuple[int, ...]) -> None:
    hidden, heads, kv_heads = plan.arch.hidden_size, plan.heads(kind), plan.kv_heads(kind)
    q_width, k_width = heads * plan.head_dim(kind), kv_heads * plan.head_dim(kind)
    v_width = kv_heads * plan.v_head_dim(kind)
    gated = 2 if plan.has("gate_in_q") else 1
    owners = _own_keys(plan, layers)
    parts.block(_A, "attn_q.weight", (hidden, gated * q_width), layers)
    parts.block(_A, "attn_k.weight", (hidden, k_width), owners)
    if not (plan.has("k_is_v_on_full") and kind == "full"):
        parts.block(_A, "attn_v.weight", (hidden, v_width), owners)
    if plan.has("qkv_bias"):
        parts.block(_A, "attn_q.bias", (q_width,), layers)
        parts.block(_A, "attn_k.bias", (k_width,), owners)
        parts.block(_A, "attn_v.bias", (v_width,), owners)
    _qk_norms(plan, parts, kind, layers, owners)


def _own_keys(plan: Blueprint, layers: tuple[int, ...]) -> tuple[int, ...]:
    """Layers with key and value weights of their own: those that borrow a cache have none in some families."""
    if not plan.has("shared_kv_has_no_weights"):
        return layers
    first_shared = plan.arch.layers - plan.arch.kv_shared_layers
    return tuple(layer for layer in layers if layer < first_shared)


def _qk_norms(plan: Blueprint, parts: Parts, kind: str, layers: tuple[int, ...], owners: tuple[int, ...]) -> None:
    head = plan.head_dim(kind)
    if plan.has("qk_norm_full"):
        parts.block(_N, "attn_q_norm.weight", (plan.heads(kind) * head,), layers)
        parts.block(_N, "attn_k_norm.weight", (plan.kv_heads(kind) * head,), owners)
    elif plan.has("qk_norm") or plan.has("derived_qk_norm") or kind == "cross":
        stored = not plan.has("derived_qk_norm")
        parts.block(_N, "attn_q_norm.weight", (head,), layers, stored=stored)
        parts.block(_N, "attn_k_norm.weight", (head,), owners, stored=stored)


def _around(plan: Blueprint, parts: Parts, kind: str, layers: tuple[int, ...]) -> None:
    """Output projection, gates and sinks."""
    hidden, heads = plan.arch.hidden_size, plan.heads(kind)
    width = heads * plan.v_head_dim(kind)
    parts.block(_A, "attn_output.weight", (width, hidden), layers)
    if plan.has("o_bias"):
        parts.block(_A, "attn_output.bias", (hidden,), layers)
    if plan.has("wide_gate"):
        parts.block(_A, "attn_gate.weight", (hidden, width), layers)
    if plan.has("head_gate"):
        parts.block(_A, "attn_gate.weight", (hidden, heads), layers)
    if kind == "cross":
        parts.block(_A, "cross_attn_attn_gate", (1,), layers)
        parts.block(_A, "cross_attn_mlp_gate", (1,), layers)
    if plan.has("sinks") or (plan.has("sliding_sinks") and kind == "sliding"):
        parts.block(_A, "attn_sinks.weight", (heads,), layers)


def latent_attention(plan: Blueprint, parts: Parts) -> None:
    """MLA: queries through an optional low rank, keys and values through one latent of `kv_lora_rank`. The checkpoint's
    `kv_b_proj` is split into `attn_k_b` and `attn_v_b` by the GGUF conversion."""
    mla, hidden, heads = plan.arch.mla, plan.arch.hidden_size, plan.arch.heads or 0
    if mla is None:
        return
    layers = plan.layers("full")
    latent, nope, rope, value = mla.kv_lora_rank, mla.nope_head_dim, mla.rope_head_dim, mla.v_head_dim
    parts.block(_N, "attn_kv_a_norm.weight", (latent,), layers)
    if mla.q_lora_rank:
        parts.block(_N, "attn_q_a_norm.weight", (mla.q_lora_rank,), layers)
        parts.block(_A, "attn_q_a.weight", (hidden, mla.q_lora_rank), layers)
        parts.block(_A, "attn_q_b.weight", (mla.q_lora_rank, heads * (nope + rope)), layers)
    else:
        parts.block(_A, "attn_q.weight", (hidden, heads * (nope + rope)), layers)
    parts.block(_A, "attn_kv_a_mqa.weight", (hidden, latent + rope), layers)
    parts.block(_A, "attn_k_b.weight", (nope, latent, heads), layers)
    parts.block(_A, "attn_v_b.weight", (latent, value, heads), layers)
    parts.block(_A, "attn_output.weight", (heads * value, hidden), layers)
    if plan.has("wide_gate"):
        parts.block(_A, "attn_gate.weight", (hidden, heads * value), layers)
    if plan.has("head_gate"):
        parts.block(_A, "attn_gate.weight", (hidden, heads), layers)


def indexer(plan: Blueprint, parts: Parts) -> None:
    """The lightning indexer of DeepSeek Sparse Attention: its queries come from the query latent, its keys from the
    hidden state, one weight per head. Source: transformers `deepseek_v32`, llama.cpp `deepseek32`."""
    index, mla = plan.arch.indexer, plan.arch.mla
    if index is None or mla is None:
        return
    layers = indexer_layers(plan)
    hidden, rank = plan.arch.hidden_size, mla.q_lora_rank or plan.arch.hidden_size
    parts.block(_N, "indexer.k_norm.weight", (index.head_dim,), layers)
    parts.block(_N, "indexer.k_norm.bias", (index.head_dim,), layers)
    parts.block(_A, "indexer.proj.weight", (hidden, index.heads), layers)
    parts.block(_A, "indexer.attn_k.weight", (hidden, index.head_dim), layers)
    parts.block(_A, "indexer.attn_q_b.weight", (rank, index.heads * index.head_dim), layers)
    if plan.has("indexer_pool"):
        parts.block(_A, "indexer.pool_ape.weight", (index.head_dim, plan.number("indexer_pool")), layers)
        parts.block(_A, "indexer.pool_gate.weight", (hidden, index.head_dim), layers)


def indexer_layers(plan: Blueprint) -> tuple[int, ...]:
    """Layers that own an indexer: all attention layers, or as many as the config says, spread evenly."""
    index = plan.arch.indexer
    owners = plan.layers("full")
    if index is None or index.layers is None:
        return owners
    main = tuple(layer for layer in owners if layer < plan.arch.layers)
    chosen = tuple(main[position * len(main) // index.layers] for position in range(index.layers))
    return chosen + plan.mtp
