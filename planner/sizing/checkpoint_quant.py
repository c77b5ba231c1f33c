"""What the schemes of Hugging Face and MLX checkpoints share: which tensors are linear layers, packed bytes."""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING, Final

import msgspec

from planner.sizing.artifact import QuantizedGroup
from planner.sizing.records import Role

if TYPE_CHECKING:
    from planner.sizing.records import TensorGroup

# Small projections and convolutions of recurrent layers that every published recipe leaves alone.
_NOT_LINEAR: Final = re.compile(r"conv1d|shortconv\.conv|ssm_(?:beta|alpha|ba)\.|_norm\.|attn_sinks|altup|laurel")
LINEAR_ROLES: Final = frozenset({Role.ATTENTION, Role.FFN, Role.EXPERT, Role.SHARED_EXPERT, Role.STATE})


class Packing(msgspec.Struct, frozen=True):
    """A packed matrix: `bits` per value, `group_bits` per group of `group` values of a row (0 = none), `row_bytes`
    per output row, `tensor_bytes` per matrix. `label` is the type shown."""

    label: str
    bits: float
    group: int = 0
    group_bits: float = 0.0
    row_bytes: float = 0.0
    column_bytes: float = 0.0
    tensor_bytes: float = 0.0

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes of one tensor of this shape (a stack of experts counts each expert's matrix)."""
        columns, rows = shape[0], shape[1]
        matrices = prod(shape[2:])
        groups = -(-columns // self.group) if self.group else 0
        matrix = rows * (columns * self.bits + groups * self.group_bits) / 8
        matrix += rows * self.row_bytes + columns * self.column_bytes + self.tensor_bytes
        return round(matrix * matrices)


def is_linear(group: TensorGroup, *, prediction: bool = False) -> bool:
    """A weight matrix of attention, feed-forward or experts that a weight-only recipe may pack; `prediction`: also in
    next-token-prediction layers."""
    return (
        group.role in LINEAR_ROLES
        and (prediction or not group.mtp)
        and len(group.shape) >= 2
        and group.name.endswith(".weight")
        and _NOT_LINEAR.search(group.name) is None
    )


def packed(group: TensorGroup, packing: Packing) -> QuantizedGroup:
    """The group in that packing."""
    return QuantizedGroup(group=group, types=(packing.label,), sizes=(packing.size(group.shape),))


def sixteen_bit(group: TensorGroup, label: str = "BF16") -> QuantizedGroup:
    """The group in two bytes per value."""
    return QuantizedGroup(group=group, types=(label,), sizes=(2 * group.elements,))


def safetensors_header_bytes(groups: tuple[QuantizedGroup, ...], tensors_per_matrix: int) -> int:
    """Bytes of the JSON headers: about 130 per stored tensor (name, dtype, shape, offsets); experts stand alone."""
    tensors = 0
    for item in groups:
        experts = prod(item.group.shape[2:]) if item.group.role is Role.EXPERT else 1
        parts = 1 if item.types[0] in ("BF16", "F16") else tensors_per_matrix
        tensors += item.group.count * experts * parts
    return tensors * 130
