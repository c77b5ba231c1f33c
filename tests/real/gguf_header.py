"""GGUF headers of catalog models, as a conversion would write them, without tensor data.

The engine reads sizes from the header alone: the file is extended sparsely to its full length. Metadata keys are those
of llama.cpp's `llama-arch.cpp`; the engine ignores the ones that an architecture does not know.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import gguf

from planner.catalog.records.architecture import Architecture
from planner.catalog.records.model import Model
from planner.sizing.blocks import tensor_bytes
from planner.sizing.gguf_tensors import is_quantized
from planner.sizing.quantize import quantize
from planner.sizing.records import TensorGroup
from planner.sizing.tensors import expand
from planner.sizing.tensors.attention import indexer_layers
from planner.sizing.tensors.blueprint import ATTENTION, Blueprint, blueprint
from planner.sizing.tensors.encoder import ENCODERS
from tests.sizing.measured import a_quant

Value = bool | int | float | str | list[bool] | list[int] | list[float]

ALIGNMENT = 32
# Architectures of the catalog whose headers build 11669 does not read as written here, and why.
UNREADABLE = {
    "deepseek4": "its metadata is not written here",
    "glm5-next": "its metadata is not written here",
    "kimi-k3": "its metadata is not written here",
    "qwen4exp": "its metadata is not written here",
}
RECURRENT_WITH_LIST = frozenset(
    {"nemotron_h", "nemotron_h_moe", "granitehybrid", "lfm2", "lfm2moe", "kimi-linear", "bailingmoe3"}
)


def readable(model: Model) -> bool:
    """Whether the engine can read the model: it has a name for the architecture, and planner knows every tensor."""
    arch = model.architecture
    known = arch is not None and arch.gguf is not None and arch.gguf not in UNREADABLE
    return known and expand(model).shape.estimate_note is None


def write_header(model: Model, path: Path, file_type: str | None = None) -> Path:
    """Write the header of `model` as converted (BF16), or as quantized to `file_type`; truncate the file to its full
    length; return the path."""
    tensors = list(_tensors(model) if file_type is None else _quantized(model, file_type))
    values = metadata(model)
    body = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(values)))
    for key, value in values.items():
        body += _string(key) + _value(value)
    offset = 0
    for name, shape, kind in tensors:
        body += _string(name) + struct.pack("<I", len(shape))
        body += struct.pack(f"<{len(shape)}QIQ", *shape, gguf.GGMLQuantizationType[kind], offset)
        offset += _aligned(tensor_bytes(kind, shape))
    path.write_bytes(body)
    with path.open("r+b") as file:
        file.truncate(_aligned(len(body)) + offset)
    return path


def _quantized(model: Model, file_type: str) -> Iterator[tuple[str, tuple[int, ...], str]]:
    for item in quantize(expand(model), a_quant(file_type)).groups:
        group = item.group
        for index, layer in enumerate(group.layers or (0,)):
            kind = item.types[0] if len(item.types) == 1 else item.types[index]
            yield group.name.replace("{layer}", str(layer)), trimmed(group.shape), kind


def _tensors(model: Model) -> Iterator[tuple[str, tuple[int, ...], str]]:
    for group in expand(model).groups:
        if group.gguf:
            kind = source_type(group)
            for layer in group.layers or (0,):
                yield group.name.replace("{layer}", str(layer)), trimmed(group.shape), kind


def source_type(group: TensorGroup) -> str:
    """Type in a converted file: matrices in 16 bit, what the quantizer must keep in 32."""
    return group.fixed_type or ("BF16" if is_quantized(group.name, group.shape) else "F32")


def trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without trailing ones, as GGUF counts dimensions."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: Value) -> bytes:
    if isinstance(value, list):
        kind, _ = _scalar(value[0])
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(_scalar(item)[1] for item in value)
    kind, data = _scalar(value)
    return struct.pack("<I", kind) + data


def _scalar(value: bool | float | str) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    return 8, _string(value)


def metadata(model: Model) -> dict[str, Value]:
    """Everything that the engine may ask about this architecture."""
    arch = model.architecture
    assert arch is not None
    assert arch.gguf is not None
    plan = blueprint(arch)
    values: dict[str, Value] = {
        "context_length": _context(model, arch),
        "vocab_size": arch.vocabulary_size,
        **_frame(plan),
        **_attention(plan),
        **_latent(plan),
        **_experts(plan),
        **_peculiarities(plan),
        **_recurrent(arch),
    }
    general: dict[str, Value] = {"general.architecture": arch.gguf, "tokenizer.ggml.model": "no_vocab"}
    if arch.gguf in ENCODERS:
        general["tokenizer.ggml.token_type_count"] = arch.extras.get("token_types", 2)
    return general | {key if key.startswith("xielu") else f"{arch.gguf}.{key}": value for key, value in values.items()}


def _context(model: Model, arch: Architecture) -> int:
    """The trained length, or the rows of a position table."""
    rows = arch.extras.get("positions")
    if rows:
        return rows - arch.extras.get("position_offset", 0)
    return model.context.native_tokens if model.context else 32768


def _layers(plan: Blueprint) -> int:
    """Blocks in the file: prediction layers only where the conversion keeps them."""
    return len(plan.kinds) if plan.has("gguf_mtp") else plan.arch.layers


def _frame(plan: Blueprint) -> dict[str, Value]:
    arch, count = plan.arch, _layers(plan)
    widths = _feed_forward(plan)[:count]
    alike = len(set(widths)) == 1 or arch.gguf not in {"nemotron_h", "nemotron_h_moe", "gemma3n", "gemma4", "deci"}
    return {
        "block_count": count,
        "embedding_length": arch.hidden_size,
        "feed_forward_length": max(widths) if alike else widths,
        "nextn_predict_layers": arch.mtp_layers if plan.has("gguf_mtp") else 0,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.layer_norm_epsilon": 1e-6,
        "rope.freq_base": 1e6,
        "rope.scaling.original_context_length": 4096,
    }


def _feed_forward(plan: Blueprint) -> list[int]:
    """Width of every block's dense part; 0 where it has none."""
    arch, width = plan.arch, plan.arch.intermediate_size or 0
    if {"mlp", "moe"} & set(plan.kinds):
        experts = arch.moe.intermediate_size if arch.moe else 0
        by_kind = {"mlp": width, "moe": experts}
        return [by_kind.get(kind, 0) for kind in plan.kinds]
    first_wide = arch.layers - arch.kv_shared_layers
    wide = arch.wide_intermediate_size or width
    return [width if layer < first_wide else wide for layer in plan.every_layer]


def _attention(plan: Blueprint) -> dict[str, Value]:
    arch, kinds = plan.arch, plan.kinds[: _layers(plan)]
    heads = [plan.heads(kind) if kind in ATTENTION else arch.heads or 0 for kind in kinds]
    listed = arch.gguf in RECURRENT_WITH_LIST
    kv_heads = [_kv_heads(plan, kind) if kind in ATTENTION or not listed else 0 for kind in kinds]
    sliding = [kind in ("sliding", "chunked") for kind in kinds]
    rotated = arch.extras.get("rope_dimensions") or plan.head_dim("full")
    values: dict[str, Value] = {
        "attention.head_count": heads if len(set(heads)) > 1 else heads[0],
        "attention.head_count_kv": kv_heads if len(set(kv_heads)) > 1 else kv_heads[0],
        "attention.key_length": plan.head_dim("full"),
        "attention.value_length": plan.v_head_dim("full"),
        "rope.dimension_count": rotated,
        "attention.recurrent_layers": [kind in ("linear", "mamba", "conv") for kind in kinds],
    }
    if any(sliding):
        values |= {
            "attention.sliding_window": arch.window or 0,
            "attention.sliding_window_pattern": sliding,
            "attention.key_length_swa": plan.head_dim("sliding"),
            "attention.value_length_swa": plan.v_head_dim("sliding"),
            "rope.dimension_count_swa": plan.head_dim("sliding"),
        }
    if arch.kv_shared_layers:
        values["attention.shared_kv_layers"] = arch.kv_shared_layers
    return values


def _kv_heads(plan: Blueprint, kind: str) -> int:
    return 1 if plan.arch.mla else plan.kv_heads(kind)


def _latent(plan: Blueprint) -> dict[str, Value]:
    arch = plan.arch
    mla, index = arch.mla, arch.indexer
    values: dict[str, Value] = {}
    if mla is not None:
        values |= {
            "attention.key_length": mla.kv_lora_rank + mla.rope_head_dim,
            "attention.value_length": mla.kv_lora_rank,
            "attention.key_length_mla": mla.nope_head_dim + mla.rope_head_dim,
            "attention.value_length_mla": mla.v_head_dim,
            "attention.kv_lora_rank": mla.kv_lora_rank,
            "rope.dimension_count": mla.rope_head_dim,
        }
        if mla.q_lora_rank:
            values["attention.q_lora_rank"] = mla.q_lora_rank
    if index is not None:
        values |= {
            "attention.indexer.head_count": index.heads,
            "attention.indexer.key_length": index.head_dim,
            "attention.indexer.top_k": index.top_k or 2048,
            "attention.indexer.types": [layer in indexer_layers(plan) for layer in range(arch.layers)],
        }
    return values


def _experts(plan: Blueprint) -> dict[str, Value]:
    moe = plan.arch.moe
    if moe is None:
        return {}
    shared = moe.shared_intermediate_size or moe.shared_experts * moe.intermediate_size
    values: dict[str, Value] = {
        "expert_count": moe.experts,
        "expert_used_count": moe.active,
        "expert_feed_forward_length": moe.intermediate_size,
        "leading_dense_block_count": moe.dense_layers,
        "interleave_moe_layer_step": moe.every,
        "expert_gating_func": 2,
        "expert_weights_scale": 1.0,
        "expert_shared_count": moe.shared_experts,
        "expert_shared_feed_forward_length": shared,
        "moe_every_n_layers": moe.every,
    }
    if moe.router_latent_size:
        values |= {"moe_latent_size": moe.router_latent_size, "expert_latent_length": moe.router_latent_size}
    return values


def _recurrent(arch: Architecture) -> dict[str, Value]:
    if arch.conv_cache is not None:
        return {"shortconv.l_cache": arch.conv_cache}
    if arch.mamba is not None:
        mamba = arch.mamba
        return {
            "ssm.conv_kernel": mamba.conv_kernel,
            "ssm.inner_size": mamba.heads * mamba.head_dim,
            "ssm.state_size": mamba.state_size,
            "ssm.time_step_rank": mamba.heads,
            "ssm.group_count": mamba.groups,
        }
    if arch.linear is None:
        return {}
    linear = arch.linear
    return {
        "ssm.conv_kernel": linear.conv_kernel or 4,
        "ssm.inner_size": linear.value_heads * linear.value_head_dim,
        "ssm.state_size": linear.key_head_dim,
        "ssm.time_step_rank": linear.value_heads,
        "ssm.group_count": linear.key_heads,
        "kda.gate_lower_bound": -5.0,
        "kda.head_dim": linear.value_head_dim,
        "full_attention_interval": 4,
    }


def _peculiarities(plan: Blueprint) -> dict[str, Value]:
    """Numbers that single architectures insist on, whatever they are."""
    extras = plan.arch.extras
    sections = [11, 11, 10, 0]
    values: dict[str, Value] = {
        "rope.dimension_sections": sections,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "logit_scale": 1.0,
        "residual_scale": 1.0,
        "embedding_scale": 1.0,
        "attention.scale": 0.1,
        "n_deepstack_layers": 0,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 2 * plan.arch.hidden_size,
        "ssm.state_size": 128,
        "ssm.time_step_rank": plan.arch.heads or 1,
        "ssm.group_count": 1,
        "attention.indexer.block_size": 64,
        "attention.indexer.local_blocks": 1,
    }
    values["embedding_length_per_layer_input"] = extras.get("per_layer_width", 0)
    if plan.has("xielu"):
        values |= {f"xielu.{name}": [1.0] * plan.arch.layers for name in ("alpha_n", "alpha_p", "beta", "eps")}
    return values
