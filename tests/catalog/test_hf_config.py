"""Configs as publishers write them lead to the architectures of the catalog, whose totals are checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from planner.catalog.catalog import Catalog
from planner.catalog.draft import draft_entry
from planner.catalog.layer_pattern import layer_pattern
from planner.catalog.load import load_catalog
from planner.catalog.model_families import GGUF_OF_CLASS
from planner.catalog.read_model import read_model
from planner.errors import ModelFileError
from planner.sizing.tensors import expand

# The keys that size a model, from the publishers' config.json files.
LLAMA: dict[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
}
CONFIGS: dict[str, dict[str, object]] = {
    "llama-3.1-8b-instruct": {
        **LLAMA,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "intermediate_size": 14336,
        "tie_word_embeddings": False,
    },
    "llama-3.3-70b-instruct": {
        **LLAMA,
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "intermediate_size": 28672,
    },
    "qwen3-8b": {
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_size": 4096,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "intermediate_size": 12288,
        "max_position_embeddings": 40960,
        "model_type": "qwen3",
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "sliding_window": None,
    },
    "qwen2.5-7b-instruct": {
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "intermediate_size": 18944,
        "sliding_window": 131072,
        "use_sliding_window": False,
        "model_type": "qwen2",
    },
    "qwen3-30b-a3b-instruct-2507": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 151936,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
    },
    "gpt-oss-20b": {
        "architectures": ["GptOssForCausalLM"],
        "hidden_size": 2880,
        "num_hidden_layers": 24,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 201088,
        "intermediate_size": 2880,
        "num_local_experts": 32,
        "num_experts_per_tok": 4,
        "experts_per_token": 4,
        "sliding_window": 128,
        "attention_bias": True,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
        "rope_scaling": {"rope_type": "yarn", "factor": 32.0},
    },
    "deepseek-v3.1": {
        "architectures": ["DeepseekV3ForCausalLM"],
        "hidden_size": 7168,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "vocab_size": 129280,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "moe_layer_freq": 1,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "num_nextn_predict_layers": 1,
        "topk_method": "noaux_tc",
    },
    "deepseek-coder-v2-lite-instruct": {
        "architectures": ["DeepseekV2ForCausalLM"],
        "hidden_size": 2048,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "vocab_size": 102400,
        "intermediate_size": 10944,
        "moe_intermediate_size": 1408,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "kv_lora_rank": 512,
        "q_lora_rank": None,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "topk_method": "greedy",
    },
    "gemma-3-27b-it": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {
            "hidden_size": 5376,
            "num_hidden_layers": 62,
            "num_attention_heads": 32,
            "num_key_value_heads": 16,
            "head_dim": 128,
            "intermediate_size": 21504,
            "sliding_window": 1024,
            "model_type": "gemma3_text",
        },
        "vision_config": {"hidden_size": 1152},
    },
    "gemma-3-4b-it": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {
            "hidden_size": 2560,
            "num_hidden_layers": 34,
            "intermediate_size": 10240,
            "sliding_window": 1024,
            "model_type": "gemma3_text",
        },
        "vision_config": {"hidden_size": 1152},
    },
    "qwen3-next-80b-a3b-instruct": {
        "architectures": ["Qwen3NextForCausalLM"],
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "vocab_size": 151936,
        "intermediate_size": 5120,
        "moe_intermediate_size": 512,
        "num_experts": 512,
        "num_experts_per_tok": 10,
        "shared_expert_intermediate_size": 512,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "full_attention_interval": 4,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
    },
    "glm-4.5-air": {
        "architectures": ["Glm4MoeForCausalLM"],
        "hidden_size": 4096,
        "num_hidden_layers": 46,
        "num_attention_heads": 96,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151552,
        "intermediate_size": 10944,
        "moe_intermediate_size": 1408,
        "n_routed_experts": 128,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 1,
        "num_nextn_predict_layers": 1,
        "use_qk_norm": False,
        "attention_bias": True,
    },
    "mixtral-8x7b-instruct-v0.1": {
        "architectures": ["MixtralForCausalLM"],
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "intermediate_size": 14336,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "sliding_window": None,
    },
    "llama-4-maverick-17b-128e-instruct": {
        "architectures": ["Llama4ForConditionalGeneration"],
        "text_config": {
            "hidden_size": 5120,
            "num_hidden_layers": 48,
            "num_attention_heads": 40,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 202048,
            "intermediate_size": 8192,
            "intermediate_size_mlp": 16384,
            "num_local_experts": 128,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2,
            "attention_chunk_size": 8192,
        },
        "vision_config": {},
    },
    "kimi-linear-48b-a3b-instruct": {
        "architectures": ["KimiLinearForCausalLM"],
        "hidden_size": 2304,
        "num_hidden_layers": 27,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 163840,
        "intermediate_size": 9216,
        "head_dim": 72,
        "moe_intermediate_size": 1024,
        "num_experts": 256,
        "num_experts_per_token": 8,
        "num_shared_experts": 1,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "kv_lora_rank": 512,
        "q_lora_rank": None,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "linear_attn_config": {
            "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
            "kda_layers": [1, 2, 3],
            "head_dim": 128,
            "num_heads": 32,
            "short_conv_kernel_size": 4,
        },
    },
    "lfm2-1.2b": {
        "architectures": ["Lfm2ForCausalLM"],
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 65536,
        "block_ff_dim": 12288,
        "block_multiple_of": 256,
        "block_auto_adjust_ff_dim": True,
        "conv_L_cache": 3,
        "full_attn_idxs": [2, 5, 8, 10, 12, 14],
    },
    "granite-4.0-h-tiny": {
        "architectures": ["GraniteMoeHybridForCausalLM"],
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "vocab_size": 100352,
        "intermediate_size": 512,
        "shared_intermediate_size": 1024,
        "num_local_experts": 64,
        "num_experts_per_tok": 6,
        "tie_word_embeddings": True,
        "mamba_n_heads": 48,
        "mamba_d_head": 64,
        "mamba_n_groups": 1,
        "mamba_d_state": 128,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "layer_types": (["mamba"] * 5 + ["attention"] + (["mamba"] * 9 + ["attention"]) * 3 + ["mamba"] * 4),
    },
    "nvidia-nemotron-nano-9b-v2": {
        "architectures": ["NemotronHForCausalLM"],
        "hidden_size": 4480,
        "num_hidden_layers": 56,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 131072,
        "intermediate_size": 15680,
        "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
        "mamba_num_heads": 128,
        "mamba_head_dim": 80,
        "n_groups": 8,
        "ssm_state_size": 128,
        "conv_kernel": 4,
    },
    "phi-4": {
        "architectures": ["Phi3ForCausalLM"],
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "vocab_size": 100352,
        "intermediate_size": 17920,
        "sliding_window": None,
        "rope_scaling": None,
    },
    "minimax-m2": {
        "architectures": ["MiniMaxM2ForCausalLM"],
        "hidden_size": 3072,
        "num_hidden_layers": 62,
        "num_attention_heads": 48,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 200064,
        "intermediate_size": 1536,
        "num_local_experts": 256,
        "num_experts_per_tok": 8,
    },
}

# Towers and heads beside the language model are told by the catalog only.
LANGUAGE_PART_ONLY = {"gemma-3-27b-it", "gemma-3-4b-it", "llama-4-maverick-17b-128e-instruct"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_gives_the_shapes_of_the_catalog(catalog: Catalog, name: str) -> None:
    """Layer for layer the same kinds and caches; for complete configs the same parameter count."""
    known, read = expand(catalog.models[name]), expand(read_model(CONFIGS[name]))
    assert read.caches == known.caches
    assert read.shape.gguf_architecture == known.shape.gguf_architecture
    if name not in LANGUAGE_PART_ONLY:
        assert read.shape.total_parameters == known.shape.total_parameters


# safetensors totals of the published repositories.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("llama-3.1-8b-instruct", 8_030_261_248), ("qwen3-8b", 8_190_735_360), ("qwen2.5-7b-instruct", 7_615_616_512),
     ("mixtral-8x7b-instruct-v0.1", 46_702_792_704), ("qwen3-30b-a3b-instruct-2507", 30_532_122_624),
     ("phi-4", 14_659_507_200)],
)  # fmt: skip
def test_a_config_gives_the_published_parameter_count(name: str, parameters: int) -> None:
    assert expand(read_model(CONFIGS[name])).shape.total_parameters == parameters


def test_every_class_of_the_catalog_is_known(catalog: Catalog) -> None:
    """A class that the catalog pairs with a llama.cpp architecture is paired the same way when a config is read.

    Vision wrappers of Mistral and hybrid Nemotron models have several, chosen by other keys."""
    several = {"Mistral3ForConditionalGeneration", "NemotronHForCausalLM"}
    wrong = {
        arch.hf_class: arch.gguf
        for model in catalog.models.values()
        if (arch := model.architecture) and arch.hf_class and arch.gguf and arch.hf_class not in several
        and GGUF_OF_CLASS.get(arch.hf_class) != arch.gguf
    }  # fmt: skip
    assert not wrong


def test_wrappers_are_told_by_their_text_part() -> None:
    text = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 9,
        "intermediate_size": 8,
    }

    def name(model_type: str, **more: object) -> str | None:
        config = {
            "architectures": ["Mistral3ForConditionalGeneration"],
            "text_config": {**text, "model_type": model_type, **more},
        }
        arch = read_model(config).architecture
        return arch.gguf if arch else None

    mla = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
    assert name("mistral") == "llama"
    assert name("ministral3") == "mistral3"
    assert name("mistral4", **mla) == "mistral4"
    assert name("deepseek_v3", **mla) == "deepseek2"


def test_a_class_that_is_not_known_still_has_its_shapes() -> None:
    config = {**CONFIGS["qwen3-8b"], "architectures": ["BrandNewForCausalLM"]}
    arch = read_model(config).architecture
    assert arch is not None
    assert (arch.gguf, arch.hf_class, arch.layers, arch.kv_heads) == (None, "BrandNewForCausalLM", 36, 8)


def test_context_images_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "Qwen3-8B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIGS["qwen3-8b"]))
    model = read_model(folder / "config.json")
    assert (model.id, model.name, model.modalities) == ("qwen3-8b", "Qwen3-8B", ("text",))
    assert model.context is not None
    assert model.context.native_tokens == 40960
    assert read_model(folder) == model
    assert read_model(str(folder / "config.json")) == model
    assert read_model({**CONFIGS["qwen3-8b"], "_name_or_path": "Qwen/Qwen3-8B"}).repo == "Qwen/Qwen3-8B"
    assert read_model({**CONFIGS["qwen3-8b"], "_name_or_path": "/home/me/Qwen3-8B"}).repo is None
    assert read_model(CONFIGS["gemma-3-27b-it"]).modalities == ("text", "image")


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_a_missing_key_is_named(key: str) -> None:
    config = {name: value for name, value in CONFIGS["qwen3-8b"].items() if name != key}
    with pytest.raises(ModelFileError, match=f"{key}: missing"):
        read_model(config)


@pytest.mark.parametrize("value", ["36", -1, 1.5, True, [], {}, 2**60, float("nan"), 100_000])
def test_a_wrong_value_is_named(value: object) -> None:
    with pytest.raises(ModelFileError, match="num_hidden_layers"):
        read_model({**CONFIGS["qwen3-8b"], "num_hidden_layers": value})


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", "[" * 100_000, "\x00"])
def test_files_that_are_no_config_are_errors(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(ModelFileError, match=r"config\.json: "):
        read_model(path)


def test_an_unknown_layer_kind_is_named() -> None:
    with pytest.raises(ModelFileError, match="layer_types: unknown kind 'warp_attention'"):
        read_model({**CONFIGS["gpt-oss-20b"], "layer_types": ["warp_attention"] * 24})


_PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.integers(), max_size=3)
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_ends_in_a_model_or_a_named_error(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    config: dict[str, Any] = dict(CONFIGS[name])
    part: dict[str, Any] = config
    if isinstance(config.get("text_config"), dict):
        part = config["text_config"] = dict(config["text_config"])
    for _ in range(data.draw(st.integers(1, 3))):
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(_PLAIN)
    try:
        assert read_model(config).architecture is not None
    except ModelFileError as error:
        assert ": " in error.message  # noqa: PT017 - either outcome is right


def test_layer_patterns() -> None:
    assert layer_pattern(["full"] * 4) == ()
    assert layer_pattern((["sliding"] * 5 + ["full"]) * 6) == ("sliding*5", "full")
    assert layer_pattern((["sliding"] * 5 + ["full"]) * 5 + ["sliding"] * 4) == ("sliding*5", "full")
    assert layer_pattern(["parallel"] * 3) == ("parallel",)
    assert layer_pattern([]) == ()


def test_a_draft_is_an_entry_that_the_catalog_reads(tmp_path: Path) -> None:
    """Drafted files, put into an own catalog folder, give the models that were read."""
    read = [read_model({**config, "_name_or_path": f"someone/{name}-draft"}) for name, config in CONFIGS.items()]
    (tmp_path / "models").mkdir()
    for model in read:
        (tmp_path / "models" / f"{model.id}.yaml").write_text(draft_entry(model))
    catalog = load_catalog(tmp_path)
    assert [catalog.model(model.id) for model in read] == read


def test_a_draft_asks_for_what_no_file_says() -> None:
    text = draft_entry(read_model(CONFIGS["qwen3-8b"]))
    for key in ("vendor", "license", "released", "repo"):
        assert f"# {key}: " in text
