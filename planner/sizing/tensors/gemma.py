"""Gemma 3n and Gemma 4: per-layer input embeddings, alternating updates, learned augmented residuals, the second
feed-forward path of the Gemma 4 MoE. Names: llama.cpp `gemma3n`, `gemma4`."""

from __future__ import annotations

from planner.sizing.records import Role
from planner.sizing.tensors.blueprint import Blueprint, Parts

_O, _N = Role.OTHER, Role.NORM


def per_layer_inputs(plan: Blueprint, parts: Parts) -> None:
    """A second embedding row per token and layer, looked up (never multiplied) and mixed into each block."""
    if not plan.has("per_layer_inputs"):
        return
    hidden, width = plan.arch.hidden_size, plan.number("per_layer_width")
    total = width * plan.arch.layers
    rows = plan.number("per_layer_vocabulary")
    padded = rows < plan.arch.vocabulary_size
    parts.single(Role.LOOKUP, "per_layer_token_embd.weight", (total, rows), gguf=not padded)
    if padded:
        # The conversion fills the table up with rows of zeros, one for each token of the other modalities.
        shape = (total, plan.arch.vocabulary_size)
        parts.single(Role.LOOKUP, "per_layer_token_embd.weight", shape, stored=False)
    parts.single(_O, "per_layer_model_proj.weight", (hidden, total))
    parts.single(_N, "per_layer_proj_norm.weight", (width,))
    parts.block(_O, "inp_gate.weight", (hidden, width), plan.every_layer)
    parts.block(_O, "proj.weight", (width, hidden), plan.every_layer)
    parts.block(_N, "post_norm.weight", (hidden,), plan.every_layer)


def alternating_updates(plan: Blueprint, parts: Parts) -> None:
    """AltUp: several copies of the hidden state, one of them updated per block, the others predicted."""
    if not plan.has("altup"):
        return
    hidden, copies, layers = plan.arch.hidden_size, plan.number("altup_inputs"), plan.every_layer
    parts.single(_O, "altup_proj.weight", (hidden, hidden, copies - 1))
    parts.single(_O, "altup_unembd_proj.weight", (hidden, hidden, copies - 1))
    parts.block(_O, "altup_correct_coef.weight", (copies, copies), layers)
    parts.block(_O, "altup_correct_scale.weight", (hidden,), layers)
    parts.block(_O, "altup_predict_coef.weight", (copies, copies * copies), layers)
    parts.block(_O, "altup_router.weight", (hidden, copies), layers)
    parts.block(_N, "altup_router_norm.weight", (hidden,), layers)
    rank = plan.number("laurel_rank")
    parts.block(_O, "laurel_l.weight", (hidden, rank), layers)
    parts.block(_O, "laurel_r.weight", (rank, hidden), layers)
    parts.block(_N, "laurel_post_norm.weight", (hidden,), layers)


def layer_scales(plan: Blueprint, parts: Parts) -> None:
    """Gemma 4 scales the output of every block, and in the MoE the router's input and each expert's output."""
    if plan.has("layer_scale"):
        parts.block(_O, "layer_output_scale.weight", (1,), plan.every_layer)
    moe = plan.arch.moe
    if moe is None or not plan.has("experts_beside_dense"):
        return
    hidden, layers = plan.arch.hidden_size, plan.expert_layers
    parts.block(Role.ROUTER, "ffn_gate_inp.scale", (hidden,), layers)
    parts.block(Role.ROUTER, "ffn_down_exps.scale", (moe.experts,), layers)
    for norm in ("post_ffw_norm_1", "post_ffw_norm_2", "pre_ffw_norm_2"):
        parts.block(_N, f"{norm}.weight", (hidden,), layers)
