"""The shapes of a model from its Hugging Face `config.json`. Keys: configuration classes of transformers 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.catalog.config_file import Config
from planner.catalog.hf_experts import mixture
from planner.catalog.hf_indexer import hf_indexer
from planner.catalog.hf_layers import layer_kinds, stated_count
from planner.catalog.layer_pattern import layer_pattern
from planner.catalog.model_families import CONFIG_DEFAULTS, GGUF_OF_CLASS, GGUF_OF_TEXT_TYPE
from planner.catalog.records.architecture import Architecture, Linear, Mamba, Mla
from planner.errors import ModelFileError

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
# Prediction layers without experts, and without a norm before the head (published checkpoints).
_DENSE_PREDICTION = {"exaone-moe": ["mtp_dense"], "ernie4_5-moe": ["mtp_dense", "mtp_no_head_norm"]}
_ATTENTION = frozenset({"full", "sliding", "chunked", "cross", "parallel"})


def config_architecture(values: Mapping[str, Any], name: str) -> Architecture:
    """The architecture that a config states. Raises ModelFileError naming the key that is missing or wrong."""
    plain = Config(values, name)
    hf_class = next(iter(plain.names("architectures", wrapper_first=True)), None)
    gguf = gguf_name(plain, hf_class)
    config = Config(values, name, CONFIG_DEFAULTS.get(gguf or ""))
    layers = stated_count(config) if config.number(*_LAYERS) is None else config.required(*_LAYERS)
    layers = layers or config.required(*_LAYERS)
    if layers > 10_000:
        raise ModelFileError(f"{name}: num_hidden_layers: {layers} layers cannot be")
    kinds = layer_kinds(config, gguf, layers)
    mla = _mla(config)
    return Architecture(
        hf_class=hf_class,
        gguf=gguf,
        layers=layers,
        hidden_size=config.required("hidden_size", "n_embd", "d_model"),
        vocabulary_size=config.required("vocab_size"),
        intermediate_size=_dense_width(config, gguf),
        heads=config.number("num_attention_heads", "n_head", "num_heads"),
        tied_embeddings=config.flag("tie_word_embeddings"),
        layer_kinds=layer_pattern(kinds),
        window=_window(config, kinds),
        kv_shared_layers=config.number("num_kv_shared_layers") or 0,
        mla=mla,
        indexer=hf_indexer(config, layers),
        sliding_heads=_sliding_heads(config, kinds),
        linear=_linear(config),
        mamba=_mamba(config),
        conv_cache=config.number("conv_L_cache"),
        moe=mixture(config, gguf, layers),
        mtp_layers=_predicted(config),
        traits=_traits(config, gguf),
        extras=_extras(config, gguf, hf_class),
        **({} if mla else _attention(config, kinds)),
    )


def _predicted(config: Config) -> int:
    """Next-token-prediction layers; more than a hundred is a lie that would cost memory."""
    layers = config.number("num_nextn_predict_layers", "mtp_num_hidden_layers", "mtp_num_layers") or 0
    if layers > 100:
        raise ModelFileError(f"{config.name}: num_nextn_predict_layers: {layers} layers cannot be")
    return layers


def gguf_name(config: Config, hf_class: str | None) -> str | None:
    """llama.cpp's name for the class; None for a class that is not known here."""
    gguf = GGUF_OF_CLASS.get(hf_class or "")
    kind = str(config.get("model_type"))
    if hf_class == "Mistral3ForConditionalGeneration":
        gguf = GGUF_OF_TEXT_TYPE.get(kind, "deepseek2" if config.number("kv_lora_rank") else "llama")
    if gguf == "nemotron_h" and config.number("n_routed_experts"):
        gguf = "nemotron_h_moe"
    return gguf


def _attention(config: Config, kinds: list[str]) -> dict[str, int | None]:
    """Heads and their widths; Gemma 4 and MiMo give sliding layers heads of their own."""
    heads = config.number("num_attention_heads", "n_head", "num_heads")
    if not heads and _ATTENTION & set(kinds):
        raise ModelFileError(f"{config.name}: num_attention_heads: missing")
    kv_heads = config.number("num_key_value_heads", "num_attention_groups", "n_head_kv") or _grouped(config, heads)
    hidden = config.required("hidden_size", "n_embd", "d_model")
    width = config.number("head_dim", "attention_head_dim") or (hidden // heads if heads else None)
    found = {"kv_heads": kv_heads, "head_dim": width}
    wide, shared = config.number("global_head_dim"), config.number("num_global_key_value_heads")
    if wide and wide != width:
        found |= {"head_dim": wide, "sliding_head_dim": width}
    if shared and shared != kv_heads:
        found |= {"kv_heads": shared, "sliding_kv_heads": kv_heads}
    if "sliding" in kinds:
        own = config.number("swa_num_key_value_heads")
        found |= {"sliding_kv_heads": own} if own and own != kv_heads else {}
    value = config.number("v_head_dim")
    return found | ({"v_head_dim": value} if value and value != width else {})


def _grouped(config: Config, heads: int | None) -> int | None:
    """KV heads where a config says how many heads share one (DeciLM), else as many as heads."""
    blocks = config.get("block_configs")
    sizes = [
        block["attention"].get("n_heads_in_group")
        for block in (blocks if isinstance(blocks, list) else ())
        if isinstance(block, dict) and isinstance(block.get("attention"), dict)
    ]
    groups = [size for size in sizes if type(size) is int and size > 0]
    return max(1, heads // min(groups)) if heads and groups else heads


def _sliding_heads(config: Config, kinds: list[str]) -> int | None:
    """Step 3 gives its sliding layers heads of their own."""
    other = config.get("attention_other_setting")
    if not isinstance(other, dict) or "sliding" not in kinds:
        return None
    heads = Config(other, f"{config.name}: attention_other_setting").number("num_attention_heads")
    return heads if heads != config.number("num_attention_heads", "n_head", "num_heads") else None


def _dense_width(config: Config, gguf: str | None) -> int | None:
    """Width of the dense feed-forward part; LFM2 states it before its own rounding."""
    if gguf == "deci":
        return _mean_width(config)
    if gguf == "minimax-m3":
        return config.number("dense_intermediate_size", "intermediate_size")
    if gguf == "granitehybrid" and not config.number("num_local_experts"):
        return config.number("shared_intermediate_size", "intermediate_size")
    width = config.number("intermediate_size_mlp", "block_ff_dim", "intermediate_size", "ffn_hidden_size", "n_inner")
    if gguf == "lfm2" and width and config.get("block_auto_adjust_ff_dim") is not False:
        unit = config.number("block_multiple_of") or 256
        return -(-(2 * width // 3) // unit) * unit
    return width


def _mean_width(config: Config) -> int | None:
    """DeciLM gives every layer a width of its own, `ffn_mult` times two thirds of the hidden size rounded up to 256:
    the mean gives the right total."""
    blocks = config.get("block_configs")
    hidden = config.required("hidden_size")
    if not isinstance(blocks, list) or not blocks:
        return config.number("intermediate_size")
    parts = [block["ffn"] for block in blocks if isinstance(block, dict) and isinstance(block.get("ffn"), dict)]
    factors = [part.get("ffn_mult") for part in parts]
    widths = [
        -(-int(2 * factor * hidden / 3) // 256) * 256
        for factor in factors
        if isinstance(factor, float) and 0 < factor < 100
    ]
    return sum(widths) // len(blocks)


def _window(config: Config, kinds: list[str]) -> int | None:
    if "chunked" in kinds:
        return config.number("attention_chunk_size") or 8192
    windowed = {"sliding", "compressed", "heavily_compressed"} & set(kinds)
    return config.number("sliding_window", "sliding_window_size") if windowed else None


def _mla(config: Config) -> Mla | None:
    rank = config.number("kv_lora_rank")
    if not rank:
        return None
    return Mla(
        kv_lora_rank=rank,
        nope_head_dim=config.required("qk_nope_head_dim"),
        rope_head_dim=config.number("qk_rope_head_dim") or 0,
        v_head_dim=config.required("v_head_dim"),
        q_lora_rank=config.number("q_lora_rank") or None,
    )


def _linear(config: Config) -> Linear | None:
    kimi = config.get("linear_attn_config")
    if isinstance(kimi, dict):
        inner = Config(kimi, f"{config.name}: linear_attn_config")
        heads, width = inner.required("num_heads"), inner.required("head_dim")
        return Linear(
            kind="kda",
            key_heads=heads,
            value_heads=heads,
            key_head_dim=width,
            value_head_dim=width,
            conv_kernel=inner.number("short_conv_kernel_size"),
        )
    value_heads = config.number("linear_num_value_heads")
    if not value_heads:
        return None
    return Linear(
        kind="gated_delta_net",
        key_heads=config.required("linear_num_key_heads"),
        value_heads=value_heads,
        key_head_dim=config.required("linear_key_head_dim"),
        value_head_dim=config.required("linear_value_head_dim"),
        conv_kernel=config.number("linear_conv_kernel_dim"),
    )


def _mamba(config: Config) -> Mamba | None:
    heads = config.number("mamba_n_heads", "mamba_num_heads")
    state = config.number("mamba_d_state", "ssm_state_size")
    if not heads or not state:
        return None
    inner = config.number("mamba_d_ssm") or (config.number("mamba_expand") or 2) * config.required("hidden_size")
    stated = config.get("mamba_d_head", "mamba_head_dim")
    return Mamba(
        heads=heads,
        head_dim=stated if isinstance(stated, int) else inner // heads,
        groups=config.number("mamba_n_groups", "n_groups") or 1,
        state_size=state,
        conv_kernel=config.number("mamba_d_conv", "conv_kernel") or 4,
    )


def _traits(config: Config, gguf: str | None) -> tuple[str, ...]:
    """Peculiarities that the family does not always have."""
    found = []
    scaling = config.get("rope_scaling", "rope_parameters")
    kind = scaling.get("rope_type", scaling.get("type")) if isinstance(scaling, dict) else None
    if kind == "llama3" and gguf != "llama4":
        found.append("rope_freqs")
    if gguf == "phi3" and kind in ("longrope", "su"):
        found.append("rope_factors")
    if gguf == "glm4moe":
        found += ["mtp_embeddings"] if config.number("num_nextn_predict_layers") else []
        found += ["qk_norm"] if config.flag("use_qk_norm") else []
        found += ["-qkv_bias"] if config.get("attention_bias") is False else []
    if gguf == "deepseek2" and config.get("topk_method") in ("greedy", "group_limited_greedy"):
        found.append("-router_bias")
    if gguf in ("deepseek2", "deepseek32") and config.number("num_nextn_predict_layers"):
        found.append("mtp_embeddings")
    if gguf in _DENSE_PREDICTION and config.number("num_nextn_predict_layers", "mtp_num_hidden_layers"):
        found += _DENSE_PREDICTION[gguf]
    if gguf == "lfm2moe":  # `expert_bias` is in the GGUF file, and not counted among the checkpoint's parameters
        found += ["-router_bias", "uncounted_router_bias"]
    if gguf in ("llama", "glm4") and config.flag("attention_bias"):
        found.append("qkv_bias")
    if gguf == "gemma4":
        found += ["k_is_v_on_full"] if config.flag("attention_k_eq_v") else []
        found += ["experts_beside_dense"] if config.flag("enable_moe_block") else []
        found += ["per_layer_inputs"] if config.number("hidden_size_per_layer_input") else []
    if gguf is None and config.number("cross_attention_layers") is not None:
        found.append("standard")
    return tuple(found)


_EXTRAS = {
    "gemma3n": {
        "per_layer_width": "hidden_size_per_layer_input",
        "per_layer_vocabulary": "vocab_size_per_layer_input",
        "altup_inputs": "altup_num_inputs",
        "laurel_rank": "laurel_rank",
    },
    "gemma4": {
        "per_layer_width": "hidden_size_per_layer_input",
        "per_layer_vocabulary": "vocab_size_per_layer_input",
    },
    "deepseek4": {
        "q_lora_rank": "q_lora_rank",
        "o_groups": "o_groups",
        "o_lora_rank": "o_lora_rank",
        "hyper_connections": "hc_mult",
        "hash_layers": "num_hash_layers",
    },
    "bert": {"positions": "max_position_embeddings", "token_types": "type_vocab_size"},
    "nomic-bert": {"token_types": "type_vocab_size"},
}


def _extras(config: Config, gguf: str | None, hf_class: str | None) -> dict[str, int]:
    if gguf == "gemma4" and not config.number("hidden_size_per_layer_input"):
        return {}
    numbers = {ours: config.number(theirs) for ours, theirs in _EXTRAS.get(gguf or "", {}).items()}
    if (hf_class or "").startswith("XLMRoberta"):  # positions are counted from behind the padding token
        numbers["position_offset"] = 2
    return {key: value for key, value in numbers.items() if value}
