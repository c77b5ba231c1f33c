"""Quantized checkpoints for vLLM: what each scheme stores per matrix and which tensors it leaves in 16 bit.

Layouts: AutoAWQ and GPTQModel (int32-packed weights, scales, zeros, `g_idx`), compressed-tensors (`pack-quantized`,
`int-quantized`, `float-quantized`), NVIDIA ModelOpt (NVFP4), bitsandbytes. All leave embeddings, head, norms, routers,
convolutions, encoders and next-token-prediction layers as they are, but for block FP8, in which models are trained and
published whole; MXFP4 packs routed experts only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.errors import PlannerError
from planner.sizing.checkpoint_quant import Packing, is_linear, packed, safetensors_header_bytes, sixteen_bit
from planner.sizing.records import Role

if TYPE_CHECKING:
    from planner.catalog.records.quant import Quant
    from planner.sizing.artifact import QuantizedGroup
    from planner.sizing.records import ExpandedModel, TensorGroup

_NAMES: Final = (
    "BF16", "FP16", "FP8", "FP8-block", "NVFP4", "MXFP4", "AWQ", "GPTQ-INT4", "GPTQ-INT8", "W4A16", "W8A8", "BNB-NF4",
    "BNB-INT8",
)  # fmt: skip


def packing_of(name: str, group_size: int | None) -> Packing | None:  # noqa: C901 - one case per scheme
    """How a scheme stores one matrix; None for 16 bit. Raises PlannerError for an unknown scheme."""
    group = group_size or 128
    match name.casefold():
        case "bf16" | "fp16" | "f16":
            return None
        case "fp8":  # one bfloat16 scale per output channel
            return Packing("F8_E4M3", 8, row_bytes=2)
        case "fp8-block":  # one float32 scale per 128 x 128 tile
            return Packing("F8_E4M3", 8, group=128, group_bits=32 / 128)
        case "w8a8":
            return Packing("I8", 8, row_bytes=2)
        case "awq":  # float16 scale and 4-bit zero per group
            return Packing("AWQ4", 4, group=group, group_bits=16 + 4)
        case "gptq-int4":  # and an int32 group index per input column
            return Packing("GPTQ4", 4, group=group, group_bits=16 + 4, column_bytes=4)
        case "gptq-int8":
            return Packing("GPTQ8", 8, group=group, group_bits=16 + 8, column_bytes=4)
        case "w4a16":  # symmetric: scale only, and the matrix shape as two int64
            return Packing("I4", 4, group=group, group_bits=16, tensor_bytes=16)
        case "nvfp4":  # FP8 scale per 16 values, two float32 per matrix
            return Packing("NVFP4", 4, group=16, group_bits=8, tensor_bytes=8)
        case "mxfp4":
            return Packing("MXFP4", 4, group=32, group_bits=8)
        case "bnb-nf4":  # 8-bit absmax per 64 values, float32 per 256 of those
            return Packing("NF4", 4, group=64, group_bits=8 + 32 / 256)
        case "bnb-int8":
            return Packing("I8", 8, row_bytes=4)
    raise PlannerError(f"unknown checkpoint quantization {name!r}", hint=f"known: {', '.join(_NAMES)}")


def quantize_hf(expanded: ExpandedModel, quant: Quant) -> tuple[tuple[QuantizedGroup, ...], int]:
    """Every stored tensor of the checkpoint under the scheme, and the bytes of the file headers."""
    name = quant.id.rsplit("-g", 1)[0] if quant.group_size else quant.id
    packing = packing_of(name, quant.group_size)
    label = "F16" if name.casefold() in ("fp16", "f16") else "BF16"
    experts_only, prediction = name.casefold() == "mxfp4", name.casefold() == "fp8-block"
    groups = tuple(
        packed(group, packing)
        if packing is not None and _is_packed(group, experts_only=experts_only, prediction=prediction)
        else sixteen_bit(group, label)
        for group in expanded.groups
        if group.stored
    )
    return groups, safetensors_header_bytes(groups, 3 if packing is not None and packing.group else 2)


def _is_packed(group: TensorGroup, *, experts_only: bool, prediction: bool) -> bool:
    return is_linear(group, prediction=prediction) and (not experts_only or group.role is Role.EXPERT)
