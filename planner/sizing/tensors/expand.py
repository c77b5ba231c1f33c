"""From a catalog model to its tensor groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from planner.sizing.records import ExpandedModel, Role, TensorGroup
from planner.sizing.tensors.attention import attention, indexer, latent_attention
from planner.sizing.tensors.blueprint import Blueprint, Parts, blueprint
from planner.sizing.tensors.caches import layer_caches
from planner.sizing.tensors.compressed import compressed_attention
from planner.sizing.tensors.counts import model_shape
from planner.sizing.tensors.encoder import ENCODERS, encoder
from planner.sizing.tensors.estimate import estimate, known_total, opaque
from planner.sizing.tensors.families import is_known
from planner.sizing.tensors.feed_forward import dense, experts
from planner.sizing.tensors.frame import block_norms, embeddings, prediction, rope_tables
from planner.sizing.tensors.gemma import alternating_updates, layer_scales, per_layer_inputs
from planner.sizing.tensors.names import checkpoint_name, name_overrides
from planner.sizing.tensors.recurrent import linear_attention, mamba, short_convolution
from planner.sizing.tensors.streams import (
    attention_residuals,
    block_indexer,
    gated_residuals,
    hyper_connections,
    ngram_tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from planner.catalog.records.architecture import Architecture
    from planner.catalog.records.model import Model

_CACHE_SIZE = 1024
_expanded: dict[int, tuple[Model, ExpandedModel]] = {}


def expand(model: Model) -> ExpandedModel:
    """The model's tensor groups, caches and counts; computed once per record.

    A model whose layers are not known is estimated from what is, and says so in `shape.estimate_note`. Raises
    CatalogError when its architecture contradicts itself."""
    known = _expanded.get(id(model))
    if known is not None and known[0] is model:
        return known[1]
    if len(_expanded) >= _CACHE_SIZE:
        _expanded.clear()
    result = _expand(model)
    _expanded[id(model)] = (model, result)
    return result


def _expand(model: Model) -> ExpandedModel:
    arch = model.architecture
    if model.tensors:
        from planner.sizing.tensors.from_file import from_tensors  # late: no model of the catalog was read from a file

        return from_tensors(model)
    if arch is None:
        return opaque(model)
    if "incomplete" in arch.traits or not is_known(arch.gguf, arch.traits):
        return estimate(model, arch) if known_total(model) is not None else _ordinary(model, arch)
    return _from_architecture(model, arch)


def _ordinary(model: Model, arch: Architecture) -> ExpandedModel:
    """A class that nobody knows, and no count to follow: an ordinary decoder of the stated shapes."""
    if not arch.heads or not (arch.intermediate_size or arch.moe):
        return estimate(model, arch)
    expanded = _from_architecture(model, msgspec.structs.replace(arch, traits=(*arch.traits, "standard")))
    note = "its class is not known: sized as an ordinary transformer of the stated shapes"
    shape = msgspec.structs.replace(expanded.shape, estimate_note=note)
    return msgspec.structs.replace(expanded, shape=shape, notes=(*expanded.notes, note))


def _from_architecture(model: Model, arch: Architecture) -> ExpandedModel:
    plan = blueprint(arch)
    parts = Parts()
    if arch.gguf in ENCODERS:
        encoder(plan, parts)
    else:
        _decoder(plan, parts)
    _towers(model, parts)
    groups = _finish(plan, parts.groups)
    return ExpandedModel(
        shape=model_shape(model, plan, groups, None),
        groups=groups,
        caches=layer_caches(plan),
        notes=tuple(_notes(plan)),
    )


def _notes(plan: Blueprint) -> Iterator[str]:
    """What a reader of the sizes should know of this checkpoint."""
    if plan.has("stored_head_copy"):
        yield "the checkpoint stores the tied head a second time; no server loads it"
    if plan.mtp:
        yield "the checkpoint holds next-token-prediction layers, which are loaded only for speculative decoding"
    if "cross" in plan.kinds:
        yield "cross-attention layers keep the image's keys and values, which are not counted"


def _decoder(plan: Blueprint, parts: Parts) -> None:
    for part in (embeddings, rope_tables, per_layer_inputs, alternating_updates, ngram_tables):
        part(plan, parts)
    block_norms(plan, parts)
    if "compressed" in plan.kinds:
        compressed_attention(plan, parts)
    elif plan.arch.mla is not None:
        latent_attention(plan, parts)
        indexer(plan, parts)
    else:
        attention(plan, parts)
        block_indexer(plan, parts)
    for part in (linear_attention, mamba, short_convolution, dense, experts):
        part(plan, parts)
    for part in (layer_scales, hyper_connections, gated_residuals, attention_residuals, prediction):
        part(plan, parts)


def _towers(model: Model, parts: Parts) -> None:
    published = model.published
    if published.vision_parameters:
        parts.single(Role.VISION, "vision tower", (published.vision_parameters,), gguf=False)
    if published.audio_parameters:
        parts.single(Role.AUDIO, "audio tower", (published.audio_parameters,), gguf=False)


def _finish(plan: Blueprint, groups: list[TensorGroup]) -> tuple[TensorGroup, ...]:
    """Tell prediction layers from the others and add the checkpoint's names."""
    overrides = name_overrides(plan.traits, plan.arch.linear.kind if plan.arch.linear else None)
    finished = []
    for group in groups:
        named = msgspec.structs.replace(group, hf_name=checkpoint_name(group.name, overrides))
        finished += _split_prediction(plan, named)
    return tuple(finished)


def _split_prediction(plan: Blueprint, group: TensorGroup) -> list[TensorGroup]:
    main = plan.arch.layers
    if not group.layers or group.layers[-1] < main:
        return [group]
    predicting = tuple(layer for layer in group.layers if layer >= main)
    kept = tuple(layer for layer in group.layers if layer < main)
    mtp = msgspec.structs.replace(group, layers=predicting, mtp=True, gguf=plan.has("gguf_mtp"))
    return [msgspec.structs.replace(group, layers=kept), mtp] if kept else [mtp]
