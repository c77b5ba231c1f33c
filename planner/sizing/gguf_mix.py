"""The type mixes of `llama-quantize`: file type, category and layer to block type.

Rules of llama.cpp's `src/llama-quant.cpp` (`llama_tensor_get_type`, 2026), in its order; the older treatment of fused
QKV tensors is `quantizer="2024"`. Integer divisions are the source's.
"""

from __future__ import annotations

from typing import Final

import msgspec

from planner.sizing.blocks import BLOCKS
from planner.sizing.gguf_tensors import (
    DOWN,
    EMBEDDING,
    GATE,
    KV_B,
    OUTPUT,
    QKV,
    UP,
    V_LIKE,
    GgufModel,
    K,
    O,
    Q,
    V,
)

_BASE: Final = {
    "Q2_K_S": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q3_K_M": "Q3_K",
    "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K",
    "Q5_K_M": "Q5_K",
    "IQ3_XS": "IQ3_S",
    "IQ3_M": "IQ3_S",
    "IQ2_S": "IQ2_XS",
    "IQ2_M": "IQ2_S",
    "MXFP4_MOE": "MXFP4",
}
_PLAIN: Final = ("Q8_0", "Q6_K", "Q5_0", "Q5_1", "Q4_0", "Q4_1", "Q2_K", "IQ4_NL", "IQ4_XS", "IQ3_XXS", "IQ3_S")
_SMALL: Final = ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "NVFP4", "F32", "F16", "BF16")
#: Every file type of llama-quantize.
FILE_TYPES: Final = (*_PLAIN, *_SMALL, *_BASE)
#: Names under which users know a file type.
ALIASES: Final = {"FP16": "F16", "Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "MXFP4": "MXFP4_MOE"}

_OUTPUT_Q5: Final = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS"})
_EMBEDDING: Final = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0"), "Q4_K"),
}
_LOWEST: Final = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
_HIGH: Final = frozenset({"IQ2_S", "IQ2_M"})
_FALLBACK: Final = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_O_WITH_8_EXPERTS: Final = frozenset(
    ("Q2_K", "IQ3_XS", "IQ3_XXS", "IQ3_S", "IQ3_M", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS")
)
_O_PLAIN: Final = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
_OLD_QKV: Final = {"Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}


class Mix(msgspec.Struct, frozen=True):
    """One run of the quantizer: file type, whether an importance matrix was given, and its generation."""

    file_type: str
    imatrix: bool
    older: bool

    @property
    def base(self) -> str:
        """The block type that a tensor gets unless a rule says otherwise."""
        return _BASE.get(self.file_type, self.file_type)


def more_bits(index: int, layers: int) -> bool:
    """The source's `use_more_bits`: the first and last eighth, and every third layer between."""
    eighth = layers // 8
    return index < eighth or index >= 7 * layers // 8 or (index - eighth) % 3 == 2


def depends_on_layer(category: str, mix: Mix) -> bool:
    """False when every tensor of the category gets the same type under this mix."""
    if category in V_LIKE:
        return mix.file_type in {"Q3_K_M", "Q4_K_M", "Q5_K_M", "Q4_K_S"}
    return category == DOWN or (category in (GATE, UP) and mix.file_type == "IQ3_XS")


def tensor_type(category: str, index: int, turn: int, shape: tuple[int, ...], model: GgufModel, mix: Mix) -> str:
    """Block type of one quantized tensor: the mix's choice, or what replaces it when its block does not fit the row."""
    if mix.file_type in ("F32", "F16", "BF16"):
        return mix.file_type
    return fitting(_choice(category, index, turn, shape, model, mix), shape[0])


def fitting(block_type: str, row_length: int) -> str:
    """`block_type`, or the wider type that the quantizer falls back to when the block does not divide the row."""
    if row_length % BLOCKS[block_type].elements == 0:
        return block_type
    wider = _FALLBACK.get(block_type)
    return wider if wider and row_length % BLOCKS[wider].elements == 0 else "F16"


def _choice(category: str, index: int, turn: int, shape: tuple[int, ...], model: GgufModel, mix: Mix) -> str:
    if category == OUTPUT or (category == EMBEDDING and model.tied):
        return _output(shape[0], model, mix)
    if mix.file_type == "MXFP4_MOE":
        return "MXFP4" if len(shape) > 2 and shape[2] > 1 else "Q8_0"
    if category == EMBEDDING:
        return _EMBEDDING.get(mix.file_type, mix.base)
    if mix.file_type in _LOWEST:
        return _lowest(category, turn, model, mix)
    if category in V_LIKE and not (mix.older and category in (QKV, KV_B)):
        return _values(turn, model, mix)
    if category == DOWN:
        return _down(index, model, mix) or mix.base
    if category == O:
        return _attention_output(model, mix)
    return _others(category, index, model, mix)


def _output(row_length: int, model: GgufModel, mix: Mix) -> str:
    if mix.file_type == "MXFP4_MOE" or model.architecture == "falcon" or row_length % BLOCKS[mix.base].elements:
        return "Q8_0"
    if mix.file_type in _OUTPUT_Q5:
        return "Q5_K"
    return "Q8_0" if mix.base == "Q8_0" else "Q6_K"


def _lowest(category: str, turn: int, model: GgufModel, mix: Mix) -> str:
    """The one- and two-bit i-quants."""
    raised = "IQ3_S" if mix.file_type in _HIGH else "Q2_K"
    if category in V_LIKE and not (mix.older and category != V):
        return "Q4_K" if model.gqa >= 4 or model.experts >= 4 else raised
    if category == K and model.experts == 8:
        return "Q4_K"
    if category == DOWN and turn < model.layers // 8:
        return raised
    if category == O:
        if model.experts == 8:
            return "Q5_K"
        if mix.file_type in ("IQ1_S", "IQ1_M"):
            return "IQ2_XXS"
        if mix.file_type in _HIGH:
            return "IQ3_S"
    return mix.base


def _values(turn: int, model: GgufModel, mix: Mix) -> str:
    chosen = _values_by_file_type(turn, model, mix) or mix.base
    if model.is_70b and chosen in ("Q3_K", "Q4_K"):
        chosen = "Q5_K"
    return "Q8_0" if model.experts == 8 else chosen


def _values_by_file_type(turn: int, model: GgufModel, mix: Mix) -> str | None:
    grouped = model.gqa >= 4
    match mix.file_type:
        case "Q2_K":
            return "Q4_K" if grouped else "Q3_K"
        case "IQ3_XXS" if not grouped:
            return "IQ3_XXS" if mix.imatrix else "IQ3_S"
        case "Q2_K_S" | "IQ3_XXS" | "IQ3_XS" | "IQ3_S" if grouped:
            return "Q4_K"
        case "IQ3_M":
            return "Q4_K"
        case "Q3_K_M":
            return "Q5_K" if turn < 2 else "Q4_K"
        case "Q3_K_L":
            return "Q5_K"
        case "IQ4_NL" | "IQ4_XS" if grouped:
            return "Q5_K"
        case "Q4_K_M" | "Q5_K_M" if more_bits(turn, model.v_like):
            return "Q6_K"
        case "Q4_K_S" if turn < 4:
            return "Q5_K"
    return None


def _down(index: int, model: GgufModel, mix: Mix) -> str | None:  # noqa: C901 - one case per file type
    layers, falcon = model.layers, model.architecture == "falcon"
    first_eighth = index < layers // 8
    match mix.file_type:
        case "Q2_K":
            return "Q3_K"
        case "Q2_K_S" if first_eighth:
            return "Q4_K"
        case "IQ3_XXS" if not mix.imatrix:
            return "Q4_K" if first_eighth else "Q3_K"
        case "Q3_K_M":
            if index < layers // 16:
                return "Q5_K"
            return "Q4_K" if not falcon or more_bits(index, layers) else "Q3_K"
        case "IQ3_M" if first_eighth or (model.experts == 8 and more_bits(index, layers)):
            return "Q4_K"
        case "Q3_K_L":
            return "Q4_K" if falcon else "Q5_K"
        case "Q4_K_M" if falcon:
            return "Q6_K" if index < layers // 16 else "Q5_K" if more_bits(index, layers) else "Q4_K"
        case "Q4_K_M" | "Q5_K_M" if more_bits(index, layers):
            return "Q6_K"
        case "IQ4_NL" | "IQ4_XS" if first_eighth and not mix.imatrix:
            return "Q5_K"
        case "Q4_K_S" if first_eighth and not falcon:
            return "Q5_K"
        case "Q4_0" | "Q5_0" if first_eighth and mix.imatrix:
            return "Q4_1" if mix.file_type == "Q4_0" else "Q5_1"
    return None


def _attention_output(model: GgufModel, mix: Mix) -> str:
    if model.architecture == "falcon":
        return "Q4_K" if mix.file_type == "Q3_K_L" else mix.base
    if model.experts == 8:
        return "Q5_K" if mix.file_type in _O_WITH_8_EXPERTS else mix.base
    return _O_PLAIN.get(mix.file_type, mix.base)


def _others(category: str, index: int, model: GgufModel, mix: Mix) -> str:
    if category == K and model.experts == 8:
        return "Q8_0"
    if category in (K, Q) and mix.file_type in ("IQ3_XS", "IQ3_XXS"):
        return "IQ3_XXS" if mix.file_type == "IQ3_XS" else "IQ2_S"
    if category == QKV and mix.older:
        return _OLD_QKV.get(mix.file_type, mix.base)
    if category in (GATE, UP) and mix.file_type == "IQ3_XS":
        inner = model.layers // 8 <= index < 7 * model.layers // 8
        return "IQ3_XXS" if inner else mix.base
    return mix.base
