"""Layers with a recurrent state instead of a growing cache: gated delta net, KDA, Mamba-2, short convolution."""

from __future__ import annotations

from planner.sizing.records import Role
from planner.sizing.tensors.blueprint import Blueprint, Parts

_S, _N = Role.STATE, Role.NORM


def linear_attention(plan: Blueprint, parts: Parts) -> None:
    """Tensors of the linear-attention layers."""
    linear = plan.arch.linear
    if linear is None:
        return
    if linear.kind == "gated_delta_net":
        _delta_net(plan, parts)
    elif linear.kind == "kda":
        _kda(plan, parts)


def _delta_net(plan: Blueprint, parts: Parts) -> None:
    """Gated delta net (Qwen3-Next, Qwen3.5). Qwen3-Next joins beta and alpha in one tensor (`joint_ba`)."""
    linear, hidden = plan.arch.linear, plan.arch.hidden_size
    if linear is None:
        return
    layers, heads = plan.layers("linear"), linear.value_heads
    inner = heads * linear.value_head_dim
    mixed = inner + 2 * linear.key_heads * linear.key_head_dim
    parts.block(_S, "attn_qkv.weight", (hidden, mixed), layers)
    parts.block(_S, "attn_gate.weight", (hidden, inner), layers)
    parts.block(_S, "ssm_conv1d.weight", (linear.conv_kernel or 4, mixed), layers)
    parts.block(_S, "ssm_dt.bias", (heads,), layers)
    parts.block(_S, "ssm_a", (heads,), layers)
    parts.block(_N, "ssm_norm.weight", (linear.value_head_dim,), layers)
    parts.block(_S, "ssm_out.weight", (inner, hidden), layers)
    if plan.has("joint_ba"):
        parts.block(_S, "ssm_ba.weight", (hidden, 2 * heads), layers)
    else:
        parts.block(_S, "ssm_beta.weight", (hidden, heads), layers)
        parts.block(_S, "ssm_alpha.weight", (hidden, heads), layers)


def _kda(plan: Blueprint, parts: Parts) -> None:
    """Kimi Delta Attention: separate short convolutions for q, k and v, low-rank decay and output gates."""
    linear, hidden = plan.arch.linear, plan.arch.hidden_size
    if linear is None:
        return
    layers, heads, head = plan.layers("linear"), linear.value_heads, linear.value_head_dim
    width = heads * head
    for part in "qkv":
        parts.block(_S, f"attn_{part}.weight", (hidden, width), layers)
        parts.block(_S, f"ssm_conv1d_{part}.weight", (linear.conv_kernel or 4, 1, width), layers)
    if plan.has("kda_full_gate"):
        parts.block(_S, "ssm_f_a.weight", (hidden, width), layers)
    else:
        parts.block(_S, "ssm_f_a.weight", (hidden, head), layers)
        parts.block(_S, "ssm_f_b.weight", (head, width), layers)
    parts.block(_S, "ssm_beta.weight", (hidden, heads), layers)
    parts.block(_S, "ssm_a", (1, heads), layers)
    parts.block(_S, "ssm_dt.bias", (width,), layers)
    if plan.has("kda_full_gate") or plan.has("kda_full_output_gate"):
        parts.block(_S, "ssm_g_a.weight", (hidden, width), layers)
    else:
        parts.block(_S, "ssm_g_a.weight", (hidden, head), layers)
        parts.block(_S, "ssm_g_b.weight", (head, width), layers)
    parts.block(_N, "ssm_norm.weight", (head,), layers)
    parts.block(_S, "attn_output.weight", (width, hidden), layers)


def mamba(plan: Blueprint, parts: Parts) -> None:
    """Mamba-2: one input projection for gate, state input, B, C and time steps."""
    shape, hidden = plan.arch.mamba, plan.arch.hidden_size
    if shape is None:
        return
    layers, inner = plan.layers("mamba", "parallel"), shape.heads * shape.head_dim
    mixed = inner + 2 * shape.groups * shape.state_size
    parts.block(_S, "ssm_in.weight", (hidden, inner + mixed + shape.heads), layers)
    parts.block(_S, "ssm_conv1d.weight", (shape.conv_kernel, mixed), layers)
    parts.block(_S, "ssm_conv1d.bias", (mixed,), layers)
    parts.block(_S, "ssm_dt.bias", (shape.heads,), layers)
    parts.block(_S, "ssm_a", (1, shape.heads), layers)
    parts.block(_S, "ssm_d", (1, shape.heads), layers)
    if not plan.has("mamba_no_norm"):
        parts.block(_N, "ssm_norm.weight", (inner // shape.groups, shape.groups), layers)
    parts.block(_S, "ssm_out.weight", (inner, hidden), layers)


def short_convolution(plan: Blueprint, parts: Parts) -> None:
    """LFM2: a gated convolution over the last `conv_cache` tokens."""
    length, hidden = plan.arch.conv_cache, plan.arch.hidden_size
    if length is None:
        return
    layers = plan.layers("conv")
    parts.block(_S, "shortconv.conv.weight", (length, hidden), layers)
    parts.block(_S, "shortconv.in_proj.weight", (hidden, 3 * hidden), layers)
    parts.block(_S, "shortconv.out_proj.weight", (hidden, hidden), layers)
