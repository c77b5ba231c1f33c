"""MLX checkpoints: affine groups (a 16-bit scale and bias each) or the microscaled types, embedding and head included.

Rules of mlx-lm (`utils.quantize_model`, `models/*.py` predicates, 2026-08): every linear layer and embedding whose row
the group divides is packed; routers stay at 8 bit; convolutions, norms and encoders in 16 bit. Next-token-prediction
layers and a tied head's duplicate are dropped at conversion.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from planner.errors import PlannerError
from planner.sizing.checkpoint_quant import Packing, is_linear, packed, safetensors_header_bytes, sixteen_bit
from planner.sizing.records import Role

if TYPE_CHECKING:
    from planner.catalog.records.quant import Quant
    from planner.sizing.artifact import QuantizedGroup
    from planner.sizing.records import ExpandedModel, TensorGroup

_AFFINE: Final = re.compile(r"mlx-([2-8])bit")
_MICROSCALED: Final = {
    "mlx-mxfp4": Packing("MXFP4", 4, group=32, group_bits=8),
    "mlx-mxfp8": Packing("MXFP8", 8, group=32, group_bits=8),
    "mlx-nvfp4": Packing("NVFP4", 4, group=16, group_bits=8),
}
_ALSO_PACKED: Final = frozenset({Role.EMBEDDING, Role.OUTPUT, Role.LOOKUP})
_ROUTER: Final = Packing("AFFINE8", 8, group=64, group_bits=32)


def packing_of(name: str, group_size: int | None) -> Packing | None:
    """How one matrix is stored; None for 16 bit. Raises PlannerError for an unknown name."""
    folded = name.casefold()
    if folded in ("mlx-bf16", "mlx-fp16"):
        return None
    if folded in _MICROSCALED:
        return _MICROSCALED[folded]
    match = _AFFINE.fullmatch(folded)
    if match is None:
        known = "MLX-2bit to MLX-8bit, MLX-mxfp4, MLX-mxfp8, MLX-nvfp4, MLX-bf16"
        raise PlannerError(f"unknown MLX quantization {name!r}", hint=f"known: {known}")
    return Packing(f"AFFINE{match[1]}", float(match[1]), group=group_size or 64, group_bits=32)


def quantize_mlx(expanded: ExpandedModel, quant: Quant) -> tuple[tuple[QuantizedGroup, ...], int]:
    """Every tensor of the converted checkpoint, and the bytes of the file headers."""
    name = re.sub(r"-g\d+$", "", quant.id)
    packing = packing_of(name, quant.group_size)
    groups = tuple(_stored(group, packing) for group in expanded.groups if _is_converted(group))
    return groups, safetensors_header_bytes(groups, 3)


def _is_converted(group: TensorGroup) -> bool:
    duplicate_head = group.role is Role.OUTPUT and not group.gguf
    return group.stored and not group.mtp and not duplicate_head


def _stored(group: TensorGroup, packing: Packing | None) -> QuantizedGroup:
    if packing is None or len(group.shape) < 2:
        return sixteen_bit(group)
    if group.role is Role.ROUTER and group.name.endswith(".weight"):
        return packed(group, _ROUTER) if group.shape[0] % _ROUTER.group == 0 else sixteen_bit(group)
    if not (is_linear(group) or group.role in _ALSO_PACKED) or group.shape[0] % packing.group:
        return sixteen_bit(group)
    return packed(group, packing)
