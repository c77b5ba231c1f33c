"""Block types of ggml: elements per block, bytes per block, and the bytes of a tensor stored in them.

Sizes are those of the block structs in ggml's `ggml-common.h`, which agree with `GGML_QUANT_SIZES` of the `gguf`
Python package 0.19.
"""

from __future__ import annotations

from math import prod
from typing import Final

import msgspec

from planner.errors import PlannerError


class Block(msgspec.Struct, frozen=True):
    """`elements` values are stored together in `bytes` bytes."""

    elements: int
    bytes: int

    @property
    def bits_per_element(self) -> float:
        """Stored bits per value, scales included."""
        return self.bytes * 8 / self.elements


BLOCKS: Final[dict[str, Block]] = {
    "F32": Block(1, 4),
    "F16": Block(1, 2),
    "BF16": Block(1, 2),
    "Q8_0": Block(32, 34),
    "Q5_1": Block(32, 24),
    "Q5_0": Block(32, 22),
    "Q4_1": Block(32, 20),
    "Q4_0": Block(32, 18),
    "IQ4_NL": Block(32, 18),
    "MXFP4": Block(32, 17),
    "NVFP4": Block(64, 36),
    "Q2_K": Block(256, 84),
    "Q3_K": Block(256, 110),
    "Q4_K": Block(256, 144),
    "Q5_K": Block(256, 176),
    "Q6_K": Block(256, 210),
    "IQ1_S": Block(256, 50),
    "IQ1_M": Block(256, 56),
    "IQ2_XXS": Block(256, 66),
    "IQ2_XS": Block(256, 74),
    "IQ2_S": Block(256, 82),
    "IQ3_XXS": Block(256, 98),
    "IQ3_S": Block(256, 110),
    "IQ4_XS": Block(256, 136),
    "TQ1_0": Block(256, 54),
    "TQ2_0": Block(256, 66),
    "Q1_0": Block(128, 18),
    "Q2_0": Block(64, 18),
    "Q8_1": Block(32, 40),
    "Q8_K": Block(256, 292),
    "F64": Block(1, 8),
    "I8": Block(1, 1),
    "I16": Block(1, 2),
    "I32": Block(1, 4),
    "I64": Block(1, 8),
}


def row_bytes(block_type: str, elements: int) -> int:
    """Bytes of one row of `elements` values. Raises PlannerError when the block does not divide the row."""
    block = BLOCKS.get(block_type)
    if block is None:
        raise PlannerError(f"unknown tensor type {block_type!r}", hint=f"known: {', '.join(BLOCKS)}")
    blocks, rest = divmod(elements, block.elements)
    if rest:
        raise PlannerError(
            f"a row of {elements} values cannot be stored as {block_type}",
            hint=f"{block_type} stores {block.elements} values together; the row must be a multiple of that",
        )
    return blocks * block.bytes


def tensor_bytes(block_type: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor: rows x bytes per row; `shape[0]` is the row length (ne0)."""
    return row_bytes(block_type, shape[0]) * prod(shape[1:])
