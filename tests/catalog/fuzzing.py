"""What fuzzing and its replay share: the seeds, one way through the readers, and when two answers are the same."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from planner.catalog.read_model import read_model
from planner.catalog.records.quant import Quant
from planner.sizing.footprint import size_model
from planner.sizing.records import Allocation, Footprint, Runtime
from planner.sizing.tensors import expand

_Q4 = Quant(id="Q4_K_M", format="gguf", scheme="k-mix", nominal_bits=4.5, speed_class="4bit-k")
_LLAMA = Allocation(policy="llama.cpp", buffers="llama.cpp")


def answer(path: Path) -> Footprint:
    """The footprint of what the file describes. Raises PlannerError for a file that describes nothing."""
    expanded = expand(read_model(path))
    return size_model(expanded, _Q4, Runtime(context_tokens=8192), _LLAMA, server="any")


def signature(said: Footprint | str) -> str:
    """An answer without its numbers and quoted texts: what is left tells answers apart."""
    if isinstance(said, str):
        said = re.sub(r"^(m\S*\.gguf): .*?: (?=[^:]*$)", r"\1: #: ", re.sub(r"m-\d+-of-\d+", "m", said))
        return re.sub(r"'[^']*'|\"[^\"]*\"|-?\d+|\(.*\)|\[.*\]|\{.*\}|found .*|not JSON: .*|[ab]\.weight", "#", said)[
            :160
        ]
    return "model: " + ", ".join(sorted(part.name for part in said.parts))


_SMALL: dict[str, Any] = {"num_hidden_layers": 4, "hidden_size": 64, "vocab_size": 320, "intermediate_size": 128,
          "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048}  # fmt: skip
_MOE: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_MLA: dict[str, Any] = {"kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
 "q_lora_rank": 48,
        "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
        "first_k_dense_replace": 1}  # fmt: skip
_DELTA: dict[str, Any] = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 16,
          "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4, "full_attention_interval": 4,
           "head_dim": 16}  # fmt: skip


@functools.cache
def config_seeds() -> list[dict[str, Any]]:
    """Small configs of every kind of layer."""
    # fmt: off
    classes: list[tuple[str, dict[str, Any]]] = [
        ("LlamaForCausalLM", {"rope_scaling": {"rope_type": "llama3"}}),
        ("Qwen3MoeForCausalLM", {**_MOE, "head_dim": 16}),
        ("DeepseekV3ForCausalLM", {**_MLA, "num_nextn_predict_layers": 1, "topk_method": "noaux_tc"}),
        ("Qwen3NextForCausalLM", {**_MOE, **_DELTA, "shared_expert_intermediate_size": 32}),
        ("Gemma3ForConditionalGeneration", {"text_config": {**_SMALL, "sliding_window": 512, "head_dim": 16},
         "vision_config": {}}),
        ("Gemma4ForConditionalGeneration", {"text_config": {**_SMALL, "sliding_window": 512, "num_kv_shared_layers": 2,
         "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 320,
          "layer_types": ["sliding_attention"] * 3 + ["full_attention"]}}),
        ("NemotronHForCausalLM", {"hybrid_override_pattern": "M-*-", "mamba_num_heads": 4, "mamba_head_dim": 16,
         "ssm_state_size": 16, "n_groups": 2}),
        ("GraniteMoeHybridForCausalLM", {"layer_types": ["mamba", "mamba", "attention", "mamba"], "mamba_n_heads": 4,
         "mamba_d_state": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 64}),
        ("Lfm2ForCausalLM", {"layer_types": ["conv", "full_attention"] * 2, "conv_L_cache": 3, "block_ff_dim": 128}),
        ("KimiLinearForCausalLM", {**_MLA, "linear_attn_config": {"num_heads": 4, "head_dim": 16,
         "short_conv_kernel_size": 4,
         "full_attn_layers": [4], "kda_layers": [1, 2, 3]}}),
        ("Llama4ForConditionalGeneration", {"text_config": {**_SMALL, "num_local_experts": 4, "num_experts_per_tok": 1,
         "intermediate_size_mlp": 128, "attention_chunk_size": 8192, "interleave_moe_layer_step": 2}}),
        ("MllamaForConditionalGeneration", {"text_config": {**_SMALL, "cross_attention_layers": [1]}}),
        ("GptOssForCausalLM", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 128,
         "head_dim": 16}),
        ("BertModel", {"type_vocab_size": 2}),
        ("UnheardOfForCausalLM", {}),
    ]
    # fmt: on
    return [{**_SMALL, **extra, "architectures": [name]} for name, extra in classes]


@functools.cache
def gguf_seeds() -> list[bytes]:
    """Small headers: dense, experts, latent attention, windows, hybrids, a split part."""
    base = {"block_count": 4, "embedding_length": 64, "feed_forward_length": 128, "attention.head_count": 4,
            "attention.head_count_kv": 2, "vocab_size": 320}  # fmt: skip
    experts = {"expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": 32}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("llama", {"tokenizer.ggml.tokens": [f"t{number}" for number in range(8)], "general.name": "tiny"}),
        ("qwen3moe", {**experts, "attention.key_length": 16, "attention.value_length": 16}),
        ("deepseek2", {**experts, "attention.kv_lora_rank": 32, "attention.q_lora_rank": 48, "attention.key_length": 40,
         "attention.key_length_mla": 24, "attention.value_length_mla": 16, "rope.dimension_count": 8,
          "leading_dense_block_count": 1}),
        ("gemma4", {"attention.sliding_window": 512, "attention.sliding_window_pattern": [True, True, True, False],
         "attention.shared_kv_layers": 2}),
        ("qwen3next", {**experts, "ssm.inner_size": 64, "ssm.state_size": 16, "ssm.group_count": 2,
         "ssm.conv_kernel": 4, "ssm.time_step_rank": 4}),
        ("nemotron_h", {"attention.head_count_kv": [0, 0, 2, 0], "feed_forward_length": [0, 128, 0, 128],
         "ssm.inner_size": 64,
         "ssm.state_size": 16, "ssm.group_count": 2, "ssm.conv_kernel": 4, "ssm.time_step_rank": 4}),
        ("llama", {"split.count": 2, "split.no": 0, "split.tensors.count": 2}),
    ]  # fmt: skip
    return [_header(architecture, {**base, **extra}) for architecture, extra in cases]


def _header(architecture: str, keys: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        for key, value in keys.items():
            full = key if key.startswith(("general.", "tokenizer.", "split.")) else f"{architecture}.{key}"
            if isinstance(value, str):
                writer.add_string(full, value)
            elif isinstance(value, list):
                writer.add_array(full, value)
            else:
                writer.add_uint32(full, value)
        for name, shape in {"token_embd.weight": (320, 64), "blk.0.attn_q.weight": (64, 64)}.items():
            writer.add_tensor_info(name, shape, np.dtype(np.float16), int(np.prod(shape)) * 2)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        return path.read_bytes()


def safetensors_seeds() -> tuple[dict[str, Any], dict[str, Any]]:
    """A file header of two tensors in 96 bytes of data, and an index."""
    header = {"__metadata__": {"format": "pt"}, "a.weight": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
              "b.weight": {"dtype": "F32", "shape": [8], "data_offsets": [64, 96]}}  # fmt: skip
    index = {"metadata": {"total_size": 96}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors"}}
    return header, index
