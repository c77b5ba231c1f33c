"""Bidirectional encoders for embeddings: BERT, XLM-RoBERTa, NomicBERT, ModernBERT. They keep no cache."""

from __future__ import annotations

from planner.sizing.records import Role
from planner.sizing.tensors.blueprint import Blueprint, Parts

_A, _F, _N = Role.ATTENTION, Role.FFN, Role.NORM
ENCODERS = frozenset({"bert", "nomic-bert", "modern-bert"})


def encoder(plan: Blueprint, parts: Parts) -> None:
    """All tensors of an encoder. llama.cpp names."""
    if plan.arch.gguf == "modern-bert":
        _modern(plan, parts)
        return
    _embeddings(plan, parts)
    _attention(plan, parts)
    _feed_forward(plan, parts)
    if plan.has("pooler"):
        hidden = plan.arch.hidden_size
        parts.single(Role.OTHER, "pooler.weight", (hidden, hidden), gguf=False)
        parts.single(Role.OTHER, "pooler.bias", (hidden,), gguf=False)


def _embeddings(plan: Blueprint, parts: Parts) -> None:
    arch, extras = plan.arch, plan.arch.extras
    parts.single(Role.EMBEDDING, "token_embd.weight", (arch.hidden_size, arch.vocabulary_size))
    if extras.get("positions"):
        offset = extras.get("position_offset", 0)
        parts.single(Role.LOOKUP, "position_embd.weight", (arch.hidden_size, extras["positions"]), gguf=not offset)
        if offset:
            # XLM-RoBERTa counts positions behind its padding row; the conversion drops the rows before.
            shape = (arch.hidden_size, extras["positions"] - offset)
            parts.single(Role.LOOKUP, "position_embd.weight", shape, stored=False)
    if extras.get("token_types"):
        parts.single(Role.LOOKUP, "token_types.weight", (arch.hidden_size, extras["token_types"]))
    _norm(parts, "token_embd_norm", arch.hidden_size)


def _norm(parts: Parts, name: str, width: int) -> None:
    parts.single(_N, f"{name}.weight", (width,))
    parts.single(_N, f"{name}.bias", (width,))


def _linear(plan: Blueprint, parts: Parts, role: Role, name: str, shape: tuple[int, int]) -> None:
    parts.block(role, f"{name}.weight", shape, plan.every_layer)
    if not plan.has("no_bias"):
        parts.block(role, f"{name}.bias", (shape[1],), plan.every_layer)


def _attention(plan: Blueprint, parts: Parts) -> None:
    hidden = plan.arch.hidden_size
    if plan.has("fused_qkv"):
        _linear(plan, parts, _A, "attn_qkv", (hidden, 3 * hidden))
    else:
        for part in "qkv":
            _linear(plan, parts, _A, f"attn_{part}", (hidden, hidden))
    _linear(plan, parts, _A, "attn_output", (hidden, hidden))
    for name in ("attn_output_norm", "layer_output_norm"):
        parts.block(_N, f"{name}.weight", (hidden,), plan.every_layer)
        parts.block(_N, f"{name}.bias", (hidden,), plan.every_layer)


def _feed_forward(plan: Blueprint, parts: Parts) -> None:
    hidden, width = plan.arch.hidden_size, plan.arch.intermediate_size or 0
    if plan.has("gated"):
        _linear(plan, parts, _F, "ffn_gate", (hidden, width))
    _linear(plan, parts, _F, "ffn_up", (hidden, width))
    _linear(plan, parts, _F, "ffn_down", (width, hidden))


def _modern(plan: Blueprint, parts: Parts) -> None:
    """ModernBERT: no biases, norms before each half (the first block's attention has none), gate and up fused."""
    arch, hidden, width = plan.arch, plan.arch.hidden_size, plan.arch.intermediate_size or 0
    every = plan.every_layer
    parts.single(Role.EMBEDDING, "token_embd.weight", (hidden, arch.vocabulary_size))
    parts.single(_N, "token_embd_norm.weight", (hidden,))
    parts.single(_N, "output_norm.weight", (hidden,))
    parts.block(_N, "attn_norm.weight", (hidden,), every[1:])
    parts.block(_A, "attn_qkv.weight", (hidden, 3 * hidden), every)
    parts.block(_A, "attn_output.weight", (hidden, hidden), every)
    parts.block(_N, "ffn_norm.weight", (hidden,), every)
    parts.block(_F, "ffn_up.weight", (hidden, 2 * width), every)
    parts.block(_F, "ffn_down.weight", (width, hidden), every)
