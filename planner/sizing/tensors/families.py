"""Peculiarities that a llama.cpp architecture name brings with it. A model's own `traits` add to these or, with a
leading `-`, take one away.

Traits of norms: `sandwich_norm` (four per block), `post_norm` (two, after each half), `one_norm` (a block is
one half), `ffn_norm_is_post_attention` (two, the second under llama.cpp's name `post_attention_norm`),
`embedding_norm`, `no_output_norm`, `bare_ffn_norm` (llama.cpp names it without `.weight`).
Attention: `qk_norm` (per head), `derived_qk_norm` (written by the conversion), `qk_norm_full` (over the whole width),
`qkv_bias`, `o_bias`, `fused_qkv`, `gate_in_q` (the query projection is twice as wide), `wide_gate` and `head_gate` (a
projection of its own, per element or per head), `sinks`, `sliding_sinks`, `k_is_v_on_full`,
`shared_kv_has_no_weights`.
Feed-forward: `ungated`, `fused_gate_up`, `fused_expert_gate_up`, `router_bias` (selection bias per expert;
`uncounted_router_bias`: a buffer that the published count leaves out; `bare_router_bias`: named without `.bias`),
`router_linear_bias`, `expert_bias`, `shared_gate`, `experts_beside_dense`.
Prediction layers: `gguf_mtp` (kept by the GGUF conversion), `mtp_embeddings` (copies of embedding and head),
`mtp_head`, `mtp_no_head_norm`, `mtp_dense`, `mtp:sliding` (their attention kind).
Others are named where they are used. Sources: llama.cpp's tensor tables, transformers' model classes."""

from __future__ import annotations

_QWEN3_NEXT = ("qk_norm", "gate_in_q", "ffn_norm_is_post_attention", "shared_gate")

FAMILIES: dict[str, tuple[str, ...]] = {
    "llama": (),
    "llama4": ("rope_freqs",),
    "mistral3": (),
    "mistral4": (),
    "granite": (),
    "smollm3": (),
    "ernie4_5": (),
    "ernie4_5-moe": ("router_bias",),
    "qwen2": ("qkv_bias",),
    "qwen3": ("qk_norm",),
    "qwen3moe": ("qk_norm",),
    "qwen3vl": ("qk_norm",),
    "qwen3vlmoe": ("qk_norm",),
    "qwen3next": (*_QWEN3_NEXT, "joint_ba"),
    "qwen35": _QWEN3_NEXT,
    "qwen35moe": _QWEN3_NEXT,
    "qwen4exp": (
        "qk_norm", "gate_in_q", "shared_gate", "gated_residuals", "ngram_tables", "block_indexer",
    ),
    "muse-glimmer": ("wide_gate", "sandwich_norm", "derived_qk_norm"),
    "phi3": ("fused_qkv", "fused_gate_up"),
    "deepseek2": ("router_bias",),
    "deepseek32": ("router_bias",),
    "deepseek4": ("router_bias", "hyper_connections", "hyper_head", "mtp:sliding"),
    "glm-dsa": ("router_bias", "gguf_mtp"),
    "glm4": ("fused_gate_up", "sandwich_norm"),
    "glm4moe": ("qkv_bias", "ffn_norm_is_post_attention", "router_bias", "gguf_mtp"),
    "glm5-next": ("router_bias", "hyper_connections"),
    "gpt-oss": ("qkv_bias", "o_bias", "sinks", "ffn_norm_is_post_attention", "router_linear_bias", "expert_bias"),
    "gemma2": ("sandwich_norm",),
    "gemma3": ("sandwich_norm", "qk_norm"),
    "gemma-embedding": ("sandwich_norm", "qk_norm", "bidirectional"),
    "gemma3n": ("sandwich_norm", "qk_norm", "per_layer_inputs", "altup"),
    "gemma4": ("sandwich_norm", "qk_norm", "layer_scale", "rope_freqs", "fused_expert_gate_up"),
    "kimi-linear": ("router_bias",),
    "kimi-k3": ("router_bias", "kda_full_output_gate", "wide_gate", "attention_residuals", "routed_norm"),
    "bailingmoe3": ("router_bias", "kda_full_gate", "head_gate"),
    "minimax-m2": ("qk_norm_full", "router_bias"),
    "minimax-m3": ("qk_norm", "router_bias", "block_indexer"),
    "granitehybrid": (),
    "nemotron_h": ("ungated", "one_norm"),
    "nemotron_h_moe": ("ungated", "one_norm", "router_bias", "mtp:full+moe"),
    "falcon-h1": ("bare_ffn_norm",),
    "seed_oss": ("qkv_bias", "ffn_norm_is_post_attention"),
    "exaone4": ("post_norm", "qk_norm"),
    "exaone-moe": ("qk_norm", "router_bias", "gguf_mtp"),
    "olmo2": ("post_norm", "qk_norm_full"),
    "lfm2": ("qk_norm", "output_norm_is_embedding_norm"),
    "lfm2moe": ("qk_norm", "output_norm_is_embedding_norm", "router_bias"),
    "step35": ("qk_norm", "head_gate", "router_bias", "mtp:sliding", "mtp_dense", "mtp_head"),
    "hy_v3": ("qk_norm", "router_bias", "bare_router_bias"),
    "hunyuan-moe": ("qk_norm",),
    "hunyuan-dense": ("qk_norm",),
    "mimo2": ("sliding_sinks", "router_bias", "mtp:sliding", "mtp_dense"),
    "laguna": ("qk_norm", "head_gate", "router_bias"),
    "afmoe": ("qk_norm", "wide_gate", "sandwich_norm", "router_bias"),
    "apertus": ("qk_norm", "ungated", "xielu"),
    "mellum": ("qk_norm",),
    "cohere2": ("one_norm",),
    "command-r": ("one_norm",),
    "gemma": (),
    "internlm2": (),
    "minicpm": (),
    "granitemoe": (),
    "olmoe": ("qk_norm_full",),
    "dots1": ("qk_norm", "router_bias"),
    "qwen2vl": ("qkv_bias",),
    "qwen2moe": ("qkv_bias", "shared_gate"),
    "bert": ("pooler",),
    "nomic-bert": ("no_bias", "fused_qkv", "gated"),
    "modern-bert": (),
    "mllama": (),
}  # fmt: skip


def family_traits(gguf: str | None) -> tuple[str, ...]:
    """Traits of a llama.cpp architecture; none for a name that is not known here."""
    return FAMILIES.get(gguf or "", ())


def is_known(gguf: str | None, traits: tuple[str, ...] = ()) -> bool:
    """Whether the tensors are known here: of the family, or of a model that llama.cpp has no name for and whose
    `traits` say `standard`."""
    return gguf in FAMILIES or "standard" in traits
