"""What a model is made of, as its config states it. `planner.sizing.tensors` expands it to tensor groups."""

from typing import Literal

from planner.catalog.records.base import Record

LayerKind = Literal[
    "full", "sliding", "chunked", "compressed", "heavily_compressed", "cross", "linear", "mamba", "conv", "parallel",
    "mlp", "moe", "none",
]  # fmt: skip


class Mla(Record):
    """Multi-head latent attention: the cache holds `kv_lora_rank + rope_head_dim` per token and layer."""

    kv_lora_rank: int
    nope_head_dim: int
    rope_head_dim: int
    v_head_dim: int
    q_lora_rank: int | None = None


class Indexer(Record):
    """A sparse-attention indexer: it scores past tokens (or blocks) with keys of its own, kept in a cache of
    `head_dim` elements per token. `layers`: how many layers own one, all attention layers unless said."""

    heads: int
    head_dim: int
    top_k: int | None = None
    layers: int | None = None


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
    """Mixture of experts. `dense_layers` come first and have no experts; of the rest every `every`-th layer has
    them; `layers` names the expert layers where that does not tell. `shared_intermediate_size` is the width of all
    shared experts together. `router_latent_size`: experts work in a narrower space between two projections."""

    experts: int
    active: int
    intermediate_size: int
    shared_experts: int = 0
    shared_intermediate_size: int | None = None
    dense_layers: int = 0
    every: int = 1
    layers: tuple[int, ...] | None = None
    router_latent_size: int | None = None


class Architecture(Record, kw_only=True):
    """Shapes of a transformer-like model.

    `gguf` is llama.cpp's architecture name and brings the family's known peculiarities with it
    (`planner.sizing.tensors.families`); `traits` adds to those, `-name` takes one away. `layer_kinds` is a pattern
    of `kind` or `kind*count` words, repeated over the layers (`sliding*5 full`); empty means every layer is full
    attention. Layer kinds: `full` attention, `sliding` window, `chunked` window, `compressed` and
    `heavily_compressed` (attention over compressed tokens), `cross` (attention to an image), `linear` attention,
    `mamba`, `conv` (short convolution), `parallel` (attention and mamba side by side), `mlp` and `moe`
    (a block that is only a feed-forward part), `none` (a block without attention). `intermediate_size` is the width
    of dense feed-forward parts, `wide_intermediate_size` that of the layers that share their KV cache where it
    differs.
    `kv_shared_layers`: the last so many layers reuse the cache of earlier ones. `mtp_layers`: next-token-prediction
    layers in the checkpoint, which no server loads unless asked. `extras` holds the numbers of rare peculiarities."""

    hf_class: str | None = None
    gguf: str | None = None
    layers: int
    hidden_size: int
    vocabulary_size: int
    intermediate_size: int | None = None
    wide_intermediate_size: int | None = None
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
    indexer: Indexer | None = None
    linear: Linear | None = None
    mamba: Mamba | None = None
    conv_cache: int | None = None
    moe: Moe | None = None
    mtp_layers: int = 0
    traits: tuple[str, ...] = ()
    extras: dict[str, int] = {}
