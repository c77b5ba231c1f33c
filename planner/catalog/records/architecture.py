"""What a model is made of, as its config states it. `planner.sizing.tensors` expands it to tensor groups."""

from __future__ import annotations

from typing import Literal

from planner.catalog.records.base import Record

LayerKind = Literal["full", "sliding", "linear", "mamba", "conv", "cross", "none"]


class Mla(Record):
    """Multi-head latent attention: the cache holds `kv_lora_rank + rope_head_dim` per token and layer."""

    kv_lora_rank: int
    nope_head_dim: int
    rope_head_dim: int
    v_head_dim: int
    q_lora_rank: int | None = None


class Linear(Record):
    """Linear-attention layers with a recurrent state."""

    kind: Literal["gated_delta_net", "kda", "lightning"]
    key_heads: int
    value_heads: int
    key_head_dim: int
    value_head_dim: int
    conv_kernel: int | None = None


class Mamba(Record):
    """Mamba-2 layers: inner size = heads x head_dim."""

    heads: int
    head_dim: int
    groups: int
    state_size: int
    conv_kernel: int


class Moe(Record):
    """Mixture of experts. `dense_layers` come first and have no experts; `layers` names the expert
    layers where that is not all the rest."""

    experts: int
    active: int
    intermediate_size: int
    shared_experts: int = 0
    shared_intermediate_size: int | None = None
    dense_layers: int = 0
    layers: tuple[int, ...] | None = None
    router_latent_size: int | None = None


class Architecture(Record):
    """Shapes of a transformer-like model.

    `layer_kinds` is a pattern repeated over the layers (`sliding*5 full`) or the full list; empty means every
    layer is full attention. `traits` are named peculiarities that the tensor expansion knows
    (`qk_norm`, `attention_bias`, `output_gate`, ...)."""

    hf_class: str | None = None
    gguf: str | None = None
    layers: int
    hidden_size: int
    vocabulary_size: int
    intermediate_size: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    tied_embeddings: bool = False
    layer_kinds: tuple[str, ...] = ()
    window: int | None = None
    sliding_heads: int | None = None
    sliding_kv_heads: int | None = None
    sliding_head_dim: int | None = None
    kv_shared_layers: int = 0
    mla: Mla | None = None
    linear: Linear | None = None
    mamba: Mamba | None = None
    conv_cache: int | None = None
    moe: Moe | None = None
    mtp_layers: int = 0
    traits: tuple[str, ...] = ()
    extras: dict[str, int] = {}
