"""MLX checkpoints: affine groups (a 16-bit scale and bias each) or the microscaled types, embedding and head included.

Rules of mlx-lm (`utils.quantize_model`, the modules and predicates in `models/*.py`, 2026-08): every linear layer and
embedding whose row the group divides is packed; convolutions, norms and encoders stay in 16 bit. A router is packed to
8 bit, packed like the rest, or left alone, by the model's class. Next-token-prediction layers and a tied head's
duplicate are dropped at conversion. `MLX-mxfp4-q8`: MXFP4 experts beside 8-bit affine.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from planner.errors import PlannerError
from planner.sizing.artifact import QuantizedGroup
from planner.sizing.checkpoint_quant import LINEAR_ROLES, Packing, packed, safetensors_header_bytes, sixteen_bit
from planner.sizing.records import Role

if TYPE_CHECKING:
    from planner.catalog.records.quant import Quant
    from planner.sizing.records import ExpandedModel, ModelShape, TensorGroup

_AFFINE: Final = re.compile(r"mlx-([2-8])bit")
_MICROSCALED: Final = {
    "mlx-mxfp4": Packing("MXFP4", 4, group=32, group_bits=8),
    "mlx-mxfp8": Packing("MXFP8", 8, group=32, group_bits=8),
    "mlx-nvfp4": Packing("NVFP4", 4, group=16, group_bits=8),
}
_PACKED_ROLES: Final = LINEAR_ROLES | {Role.EMBEDDING, Role.OUTPUT, Role.LOOKUP, Role.OTHER, Role.ROUTER}
# Arrays, not layers that quantize, in the modules of mlx-lm (mlx-vlm: Gemma 4's `ScaledLinear`).
_ARRAYS: Final = re.compile(r"conv1d|shortconv\.conv|_norm\.|attn_sinks|per_layer_model_proj|altup|laurel_post")
_AFFINE8: Final = Packing("AFFINE8", 8, group=64, group_bits=32)
# Router modules that hold a bare array (`MoEGate.weight`), and those that no predicate singles out.
_BARE_ROUTER: Final = frozenset(
    {"deepseek2", "deepseek32", "glm4moe", "glm-dsa", "exaone-moe", "laguna", "mimo2", "nemotron_h_moe", "dots1"}
)
_PLAIN_ROUTER: Final = frozenset({"ernie4_5-moe", "llama", "llama4", "hunyuan-moe", "qwen2moe", "olmoe", "phimoe"})
# Inferred, not read: the dense part beside the experts is at 8 bit (Gemma 4 26B A4B: its published 4-, 6- and
# 8-bit repositories are met with it, its dense siblings without).
_DENSE_AT_8_BIT: Final = frozenset({"gemma4"})


def packing_of(name: str, group_size: int | None) -> Packing | None:
    """How one matrix is stored; None for 16 bit. Raises PlannerError for an unknown name."""
    folded = name.casefold()
    if folded in ("mlx-bf16", "mlx-fp16"):
        return None
    if folded == "mlx-mxfp4-q8":
        return _AFFINE8
    if folded in _MICROSCALED:
        return _MICROSCALED[folded]
    match = _AFFINE.fullmatch(folded)
    if match is None:
        known = "MLX-2bit to MLX-8bit, MLX-mxfp4, MLX-mxfp4-q8, MLX-mxfp8, MLX-nvfp4, MLX-bf16"
        raise PlannerError(f"unknown MLX quantization {name!r}", hint=f"known: {known}")
    return Packing(f"AFFINE{match[1]}", float(match[1]), group=group_size or 64, group_bits=32)


def quantize_mlx(expanded: ExpandedModel, quant: Quant) -> tuple[tuple[QuantizedGroup, ...], int]:
    """Every tensor of the converted checkpoint, and the bytes of the file headers."""
    name = re.sub(r"-g\d+$", "", quant.id)
    packing = packing_of(name, quant.group_size)
    experts = _MICROSCALED["mlx-mxfp4"] if name.casefold() == "mlx-mxfp4-q8" else packing
    groups = tuple(
        _stored(group, _packing(group, expanded.shape, packing, experts))
        for group in expanded.groups
        if _is_converted(group)
    )
    return groups, safetensors_header_bytes(groups, 3)


def _is_converted(group: TensorGroup) -> bool:
    duplicate_head = group.role is Role.OUTPUT and not group.gguf
    return group.stored and not group.mtp and not duplicate_head


def _packing(group: TensorGroup, shape: ModelShape, packing: Packing | None, experts: Packing | None) -> Packing | None:
    """What the conversion does with one group; None for 16 bit."""
    architecture = shape.gguf_architecture
    if packing is None or group.role not in _PACKED_ROLES or not group.name.endswith(".weight"):
        return None
    if _ARRAYS.search(group.name):
        return None
    if group.role is Role.ROUTER or group.name.endswith("ffn_gate_inp_shexp.weight"):
        bare, plain = architecture in _BARE_ROUTER, architecture in _PLAIN_ROUTER
        return None if bare else packing if plain else _AFFINE8
    if group.role is Role.FFN and shape.experts and architecture in _DENSE_AT_8_BIT:
        return _AFFINE8
    return experts if group.role is Role.EXPERT else packing


def _stored(group: TensorGroup, packing: Packing | None) -> QuantizedGroup:
    """The group in that packing, where it is a matrix whose rows the group divides."""
    if group.name.endswith("exp_probs_b.bias"):  # mlx-lm's cast predicates leave the routers' correction alone
        return QuantizedGroup(group=group, types=("F32",), sizes=(4 * group.elements,))
    if group.name.endswith("ffn_gate_inp_shexp.weight") and len(group.shape) == 1:  # a linear layer of one output
        group = replace(group, shape=(group.shape[0], 1))
    if packing is None or len(group.shape) < 2 or group.shape[0] % (packing.group or 1):
        return sixteen_bit(group)
    return packed(group, packing)
