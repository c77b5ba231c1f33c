"""GGUF: a recipe applied to the tensor groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.sizing.artifact import QuantizedGroup
from planner.sizing.blocks import tensor_bytes
from planner.sizing.gguf_mix import Mix, depends_on_layer, fitting, tensor_type
from planner.sizing.gguf_tensors import EMBEDDING, OUTPUT, GgufModel, GgufTensors, quantizer_view
from planner.sizing.header import header_bytes, tokenizer_bytes
from planner.sizing.identity import IdentityCache
from planner.sizing.publishers import Recipe, recipe_for
from planner.sizing.records import Role, TensorGroup

if TYPE_CHECKING:
    from planner.sizing.records import ExpandedModel

_views: IdentityCache[GgufModel] = IdentityCache(512)


def quantize_gguf(
    expanded: ExpandedModel, quant: str, *, publisher: str | None, imatrix: bool, quantizer: str
) -> tuple[tuple[QuantizedGroup, ...], Recipe, int]:
    """Type and bytes of every tensor of the GGUF file, the recipe that was followed, and the bytes of the header."""
    shape = expanded.shape
    architecture = shape.gguf_architecture or "llama"
    recipe = recipe_for(quant, publisher, imatrix=imatrix, architecture=architecture, experts=shape.experts)
    mix = Mix(recipe.file_type, recipe.imatrix, quantizer == "2024")
    model = _view(expanded, separate_output=recipe.separate_output)
    header = header_bytes(model.list_bytes, tokenizer_bytes(shape.vocabulary_size))
    return tuple(_quantized(tensors, model, mix, recipe) for tensors in model.tensors), recipe, header


def _view(expanded: ExpandedModel, *, separate_output: bool) -> GgufModel:
    def build() -> GgufModel:
        return quantizer_view(expanded, _separate_output(expanded) if separate_output else ())

    return _views.value((expanded,), (separate_output,), build)


def _separate_output(expanded: ExpandedModel) -> tuple[TensorGroup, ...]:
    if any(group.gguf and group.name == "output.weight" for group in expanded.groups):
        return ()
    shape = (expanded.shape.hidden_size, expanded.shape.vocabulary_size)
    return (TensorGroup(role=Role.OUTPUT, name="output.weight", shape=shape, stored=False),)


def _quantized(tensors: GgufTensors, model: GgufModel, mix: Mix, recipe: Recipe) -> QuantizedGroup:
    group = tensors.group
    types = _types(tensors, model, mix, recipe)
    if len(types) > 1 and len(set(types)) == 1:
        types = types[:1]
    scale = recipe.scale if tensors.category is not None else 1.0
    size = {block: round(tensor_bytes(block, group.shape) * scale) for block in set(types)}
    return QuantizedGroup(group=group, types=types, sizes=tuple(size[block] for block in types))


def _types(tensors: GgufTensors, model: GgufModel, mix: Mix, recipe: Recipe) -> tuple[str, ...]:
    group, category = tensors.group, tensors.category
    if group.fixed_type is not None:
        return (group.fixed_type,)
    if category is None:
        return ("F32",)
    forced = {OUTPUT: recipe.output, EMBEDDING: recipe.output if model.tied else recipe.embedding}.get(category)
    if forced is not None:
        return (fitting(forced, group.shape[0]),)
    if not group.layers or not depends_on_layer(category, mix):
        return (tensor_type(category, 0, 0, group.shape, model, mix),)
    places = zip(tensors.indexes, tensors.turns, strict=True)
    return tuple(tensor_type(category, index, turn, group.shape, model, mix) for index, turn in places)
