"""What `llama-quantize` sees of a model: which tensors it touches, their category, and their turn in each category.

All of it follows llama.cpp's `src/llama-quant.cpp` (2026: `tensor_allows_quantization`, `tensor_get_category`); it does
not depend on the file type, so it is worked out once per model.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from planner.sizing.header import tensor_list_bytes
from planner.sizing.records import ExpandedModel, TensorGroup

if TYPE_CHECKING:
    from collections.abc import Iterable

OUTPUT, EMBEDDING = "output", "embedding"
QKV, KV_B, V, K, Q, O, UP, GATE, DOWN, OTHER = "qkv", "kv_b", "v", "k", "q", "o", "up", "gate", "down", "other"  # noqa: E741
V_LIKE: Final = frozenset({V, QKV, KV_B})

_CATEGORIES: Final = (
    ("attn_qkv.weight", QKV),
    ("attn_kv_b.weight", KV_B),
    ("attn_v.weight", V),
    ("attn_k.weight", K),
    ("attn_q.weight", Q),
    ("attn_output.weight", O),
    ("ffn_up", UP),
    ("ffn_gate", GATE),
    ("ffn_down", DOWN),
)
_KEPT: Final = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj|ssm_conv1d"
    r"|shortconv\.conv\.weight|attn_rel_b\.weight|indexer\.[kq]_proj\.weight"
    r"|time_mix_(?:first|w[0-2]|v[0-2]|a[0-2]|g[12]|decay_w[12]|lerp_fused)"
    r"|\.position_embd|\.patch_embd|\.patch_merger|\.rel_pos|sam\.|a\.rvq\.codebook|mm\.a\.code_embd"
    r"|^position_embd\.weight|^token_types\.weight"
)
# Architectures whose converter writes one KV head count per layer, 0 where a layer has no attention.
_PER_LAYER_KV_HEADS: Final = frozenset(
    {"nemotron_h", "nemotron_h_moe", "granitehybrid", "jamba", "lfm2", "lfm2moe", "plamo2", "plamo3", "kimi-linear"}
)
# Layers at which llama.cpp names a model "70B" (`llama-model.cpp`, model types) and the mix spends more on values.
_LAYERS_OF_70B: Final = {"llama": 80, "qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}


class GgufTensors(msgspec.Struct, frozen=True):
    """The quantizer's view of one group: `category` is None for a tensor that keeps its source type. `turns` is the
    running count within the category of each of its layers, `indexes` the layer number that the rules go by."""

    group: TensorGroup
    category: str | None
    indexes: tuple[int, ...] = ()
    turns: tuple[int, ...] = ()


class GgufModel(msgspec.Struct, frozen=True):
    """A model as the quantizer sees it. `v_like` counts the tensors that hold values, `gqa` is heads per KV head of
    layer 0 (0 when that layer has no attention), `list_bytes` the file's tensor list."""

    tensors: tuple[GgufTensors, ...]
    architecture: str
    layers: int
    experts: int
    gqa: int
    v_like: int
    tied: bool
    is_70b: bool
    list_bytes: int


def is_quantized(name: str, shape: tuple[int, ...]) -> bool:
    """True when the quantizer may change the tensor's type; others keep that of the source file."""
    dimensions = len(shape)
    while dimensions and shape[dimensions - 1] == 1:
        dimensions -= 1
    return dimensions >= 2 and name.endswith("weight") and _KEPT.search(name) is None


def category_of(name: str) -> str:
    """The quantizer's category of a tensor, by its name."""
    if name == "output.weight":
        return OUTPUT
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return EMBEDDING
    return next((category for part, category in _CATEGORIES if part in name), OTHER)


def quantizer_view(expanded: ExpandedModel, extra: tuple[TensorGroup, ...] = ()) -> GgufModel:
    """The groups of the GGUF file with what the mix rules ask about them."""
    groups = [group for group in expanded.groups if group.gguf] + list(extra)
    categories = [category_of(g.name) if is_quantized(g.name, g.shape) else None for g in groups]
    turns = _turns(groups, categories)
    shape = expanded.shape
    numbered = [layer for group in groups for layer in group.layers]
    layers = max(numbered, default=-1) + 1
    architecture = shape.gguf_architecture or "llama"
    uneven = architecture != "llama" or shape.heads != shape.kv_heads
    tensors = tuple(
        GgufTensors(group, category, _indexes(group, turn, category, shape.experts), turn)
        for group, category, turn in zip(groups, categories, turns, strict=True)
    )
    return GgufModel(
        tensors=tensors,
        architecture=architecture,
        layers=layers,
        experts=shape.experts,
        gqa=_gqa(expanded, architecture),
        v_like=sum(len(t.group.layers) or 1 for t in tensors if t.category in V_LIKE),
        tied=not any(group.name == "output.weight" for group in groups),
        is_70b=uneven and _LAYERS_OF_70B.get(architecture) == layers,
        list_bytes=tensor_list_bytes(groups),
    )


def _indexes(group: TensorGroup, turn: tuple[int, ...], category: str | None, experts: int) -> tuple[int, ...]:
    by_name = experts > 1 and category in (UP, GATE, DOWN)
    return group.layers if by_name else turn


def _turns(groups: list[TensorGroup], categories: list[str | None]) -> list[tuple[int, ...]]:
    """Per group, the running count in its category; V-like tensors count together."""
    keys = ["v-like" if category in V_LIKE else category for category in categories]
    turns: list[tuple[int, ...]] = [() for _ in groups]
    for key in {"v-like", UP, GATE, DOWN} & set(keys):
        members = [index for index, own in enumerate(keys) if own == key]
        for index, turn in zip(members, _merged_turns([groups[i] for i in members]), strict=True):
            turns[index] = turn
    return turns


def _merged_turns(groups: list[TensorGroup]) -> Iterable[tuple[int, ...]]:
    """Places of each group's tensors when all are visited by layer, then by name."""
    if len(groups) == 1:
        return [tuple(range(groups[0].count))]
    order = sorted(
        (layer, group.name, member) for member, group in enumerate(groups) for layer in (group.layers or (-1,))
    )
    places: list[list[int]] = [[] for _ in groups]
    for place, (_, _, member) in enumerate(order):
        places[member].append(place)
    return [tuple(own) for own in places]


def _gqa(expanded: ExpandedModel, architecture: str) -> int:
    shape = expanded.shape
    attention = [cache for cache in expanded.caches if cache.kind != "recurrent"]
    if architecture in _PER_LAYER_KV_HEADS and not any(0 in cache.layers for cache in attention):
        return 0
    if any(cache.mla for cache in attention):
        return shape.heads
    # The quantizer looks at block 0 alone, whose window may have KV heads of its own number.
    first = next((cache for cache in attention if cache.kind == "window" and 0 in cache.layers), None)
    kv_heads = first.heads if first is not None and first.heads > 1 else shape.kv_heads
    return shape.heads // kv_heads if kv_heads else 0
