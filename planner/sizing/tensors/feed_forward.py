"""Feed-forward tensors: dense, routed experts, shared experts, routers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.sizing.records import Role
from planner.sizing.tensors.blueprint import Blueprint, Parts

if TYPE_CHECKING:
    from planner.catalog.records.architecture import Moe


def dense(plan: Blueprint, parts: Parts) -> None:
    """The dense feed-forward part: gate, up and down, or up and down alone (`ungated`); Phi stores gate and up
    as one tensor (`fused_gate_up`)."""
    width, wide = plan.arch.intermediate_size or 0, plan.arch.wide_intermediate_size
    if wide is None:
        _dense(plan, parts, width, plan.dense_layers)
        return
    first_wide = plan.arch.layers - plan.arch.kv_shared_layers
    _dense(plan, parts, width, tuple(n for n in plan.dense_layers if n < first_wide))
    _dense(plan, parts, wide, tuple(n for n in plan.dense_layers if n >= first_wide))


def _dense(plan: Blueprint, parts: Parts, width: int, layers: tuple[int, ...]) -> None:
    hidden, role = plan.arch.hidden_size, Role.FFN
    fused = plan.has("fused_gate_up")
    if not (fused or plan.has("ungated")):
        parts.block(role, "ffn_gate.weight", (hidden, width), layers)
    parts.block(role, "ffn_up.weight", (hidden, 2 * width if fused else width), layers)
    parts.block(role, "ffn_down.weight", (width, hidden), layers)
    if plan.has("xielu"):
        # Two learned numbers per layer, kept as metadata in a GGUF file.
        parts.block(role, "ffn_act.alpha", (2,), layers, gguf=False)


def experts(plan: Blueprint, parts: Parts) -> None:
    """Router, routed experts and shared experts of the expert layers."""
    moe = plan.arch.moe
    if moe is None:
        return
    layers = plan.expert_layers
    _router(plan, parts, moe, layers)
    _routed(plan, parts, moe, layers)
    _shared(plan, parts, moe, layers)


def _router(plan: Blueprint, parts: Parts, moe: Moe, layers: tuple[int, ...]) -> None:
    hidden = plan.arch.hidden_size
    # Routers stay F32 in every conversion: llama.cpp never quantizes `ffn_gate_inp`.
    parts.block(Role.ROUTER, "ffn_gate_inp.weight", (hidden, moe.experts), layers, fixed_type="F32")
    if plan.has("router_linear_bias"):
        parts.block(Role.ROUTER, "ffn_gate_inp.bias", (moe.experts,), layers)
    hashed = plan.arch.extras.get("hash_layers", 0)
    if hashed:
        shape = (moe.active, plan.arch.vocabulary_size)
        parts.block(Role.ROUTER, "ffn_gate_tid2eid.weight", shape, layers[:hashed], fixed_type="I32")
    if plan.has("router_bias") or plan.has("uncounted_router_bias"):
        name = "exp_probs_b" if plan.has("bare_router_bias") else "exp_probs_b.bias"
        parts.block(Role.ROUTER, name, (moe.experts,), layers[hashed:], stored=plan.has("router_bias"))


def _routed(plan: Blueprint, parts: Parts, moe: Moe, layers: tuple[int, ...]) -> None:
    hidden, role = plan.arch.hidden_size, Role.EXPERT
    inner, width, count = moe.router_latent_size or hidden, moe.intermediate_size, moe.experts
    if moe.router_latent_size:
        name = "routed" if plan.has("routed_norm") else "latent"
        parts.block(Role.FFN, f"ffn_{name}_down.weight", (hidden, inner), layers)
        parts.block(Role.FFN, f"ffn_{name}_up.weight", (inner, hidden), layers)
        if plan.has("routed_norm"):
            parts.block(Role.NORM, "ffn_routed_norm.weight", (inner,), layers)
    fused = plan.has("fused_expert_gate_up")
    if not (fused or plan.has("ungated")):
        parts.block(role, "ffn_gate_exps.weight", (inner, width, count), layers)
    name = "ffn_gate_up_exps.weight" if fused else "ffn_up_exps.weight"
    parts.block(role, name, (inner, 2 * width if fused else width, count), layers)
    parts.block(role, "ffn_down_exps.weight", (width, inner, count), layers)
    if plan.has("expert_bias"):
        parts.block(role, "ffn_gate_exps.bias", (width, count), layers)
        parts.block(role, "ffn_up_exps.bias", (width, count), layers)
        parts.block(role, "ffn_down_exps.bias", (inner, count), layers)


def _shared(plan: Blueprint, parts: Parts, moe: Moe, layers: tuple[int, ...]) -> None:
    width = shared_width(moe)
    if not width or plan.has("experts_beside_dense"):
        return
    hidden, role = plan.arch.hidden_size, Role.SHARED_EXPERT
    if plan.has("shared_gate"):
        parts.block(role, "ffn_gate_inp_shexp.weight", (hidden,), layers)
    if not plan.has("ungated"):
        parts.block(role, "ffn_gate_shexp.weight", (hidden, width), layers)
    parts.block(role, "ffn_up_shexp.weight", (hidden, width), layers)
    parts.block(role, "ffn_down_shexp.weight", (width, hidden), layers)


def shared_width(moe: Moe) -> int:
    """Width of the shared experts together, 0 when there are none."""
    if moe.shared_intermediate_size is not None:
        return moe.shared_intermediate_size
    return moe.shared_experts * moe.intermediate_size
