"""Widths of a model's compute graph, read off its tensor groups once per model: what work buffers depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from planner.sizing.identity import IdentityCache
from planner.sizing.records import Role

if TYPE_CHECKING:
    from planner.sizing.records import ExpandedModel, LayerCache

_KEPT_ARCHITECTURES_WITHOUT_WINDOW: Final = frozenset({"phi3"})


class GraphShape(msgspec.Struct, frozen=True):
    """Widths in elements. `latent` and `rope` are those of latent attention (0 without it), `dense` is 0 when no layer
    has a dense feed-forward, `inner` and `conv` the widths of a recurrent layer and of its convolution, `state` its
    elements per slot. `gated`: feed-forwards have a gate; `expert_inner` is the width that experts work on, `looked_up`
    that of a token's per-layer inputs; `row_beside_experts`: a gate or a scaled input lies beside the experts.
    `top_k`: positions that a lightning indexer picks for one token, `index_heads` the heads of a block indexer (each 0
    without one), `altup`: several copies of the hidden state."""

    hidden: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    dense: int
    expert: int
    active_experts: int
    shared: int
    latent: int
    rope: int
    inner: int
    conv: int
    state: int
    recurrent: str
    window: int | None
    has_full: bool
    has_attention: bool
    gated: bool
    expert_inner: int
    sixth_row: bool
    row_beside_experts: bool
    layers: int
    top_k: int
    index_heads: int
    altup: bool

    @property
    def is_encoder(self) -> bool:
        """No layer keeps anything: attention is over the batch itself."""
        return not self.has_attention and self.recurrent == "none"

    looked_up: int


_GATES: Final = ("ffn_gate.weight", "ffn_gate_exps.weight", "ffn_gate_up_exps.weight")
# Architectures that keep a sixth row of the hidden state: attention and feed-forward side by side on one normalized
# input (cohere2), norms after the sum (bert).
_SIXTH_ROW: Final = frozenset({"cohere2", "command-r", "bert"})
# Experts that scale a copy of their input.
_SCALED_EXPERT_INPUT: Final = frozenset({"llama4"})
_shapes: IdentityCache[GraphShape] = IdentityCache(1024)


def graph_shape(expanded: ExpandedModel) -> GraphShape:
    """The widths of this model; remembered."""
    return _shapes.value((expanded,), (), lambda: _graph_shape(expanded))


def _graph_shape(expanded: ExpandedModel) -> GraphShape:
    shape = expanded.shape
    attention = [cache for cache in expanded.caches if cache.kind != "recurrent"]
    recurrent = next((cache for cache in expanded.caches if cache.kind == "recurrent"), None)
    latent, rope = _latent(expanded, attention)
    windows = [cache.window for cache in attention if cache.kind == "window"]
    ignored = shape.gguf_architecture in _KEPT_ARCHITECTURES_WITHOUT_WINDOW
    return GraphShape(
        hidden=shape.hidden_size,
        vocabulary=shape.vocabulary_size,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        dense=_widest(expanded, Role.FFN),
        expert=shape.expert_intermediate_size,
        active_experts=shape.active_experts if shape.experts else 0,
        shared=_widest(expanded, Role.SHARED_EXPERT),
        latent=latent,
        rope=rope,
        inner=_row(expanded, "ssm_out.weight", 0),
        conv=_row(expanded, "ssm_conv1d.weight", 1),
        state=recurrent.conv_elements + recurrent.state_elements if recurrent else 0,
        recurrent=_recurrent_kind(expanded) if recurrent else "none",
        window=windows[0] if windows and not ignored else None,
        has_full=ignored or any(cache.kind == "full" for cache in attention),
        has_attention=bool(attention),
        gated=_is_gated(expanded),
        expert_inner=_row(expanded, "ffn_up_exps.weight", 0) or shape.hidden_size,
        sixth_row=shape.gguf_architecture in _SIXTH_ROW,
        row_beside_experts=shape.gguf_architecture in _SCALED_EXPERT_INPUT
        or bool(_row(expanded, "attn_gate.weight", 0)),
        layers=shape.layers,
        top_k=max((cache.indexer_top_k for cache in attention), default=0) if latent else 0,
        index_heads=0 if latent else max((cache.indexer_heads for cache in attention), default=0),
        altup=bool(_row(expanded, "altup_proj.weight", 0)),
        looked_up=_row(expanded, "per_layer_token_embd.weight", 0),
    )


def _widest(expanded: ExpandedModel, role: Role) -> int:
    """Width of the widest feed-forward of that role: the row length of its down projection."""
    return max(
        (g.shape[0] for g in expanded.groups if g.role is role and "ffn_down" in g.name and not g.mtp), default=0
    )


def _is_gated(expanded: ExpandedModel) -> bool:
    """Whether feed-forwards have a gate: a tensor of its own, or the half of a doubled `ffn_up`."""
    if any(name in group.name for group in expanded.groups for name in _GATES):
        return True
    doubled = 2 * _row(expanded, "ffn_down.weight", 0)
    return bool(doubled) and _row(expanded, "ffn_up.weight", 1) == doubled


def _row(expanded: ExpandedModel, name: str, axis: int) -> int:
    """Extent of the first tensor of that name along `axis`, 0 when there is none."""
    return next((g.shape[axis] for g in expanded.groups if name in g.name and len(g.shape) > axis), 0)


def _latent(expanded: ExpandedModel, attention: list[LayerCache]) -> tuple[int, int]:
    width = next((cache.k_width for cache in attention if cache.mla), 0)
    if not width:
        return 0, 0
    latent = next((g.shape[1] for g in expanded.groups if "attn_k_b.weight" in g.name and len(g.shape) > 1), 512)
    latent = min(latent, width)
    return latent, width - latent


def _recurrent_kind(expanded: ExpandedModel) -> str:
    names = " ".join(group.name for group in expanded.groups)
    if "ssm_in.weight" in names:
        return "mamba"
    if "shortconv" in names:
        return "conv"
    return "delta-net"
