"""Models whose layers are not known: what is known exactly, the rest spread evenly, and a note saying so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from planner.catalog.records.architecture import Architecture
from planner.sizing.records import ExpandedModel, ModelShape, Role, TensorGroup
from planner.sizing.tensors.blueprint import Blueprint, Parts, blueprint
from planner.sizing.tensors.caches import layer_caches
from planner.sizing.tensors.counts import model_shape
from planner.sizing.tensors.feed_forward import experts
from planner.sizing.tensors.frame import embeddings

if TYPE_CHECKING:
    from planner.catalog.records.model import Model

_NOMINAL = re.compile(r"([0-9.]+)\s*([KMBT])")
_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
# A shape for models of which only a size is known: rows of 1024 elements quantize with every block size.
_ROW = 1024


def parameters_from(text: str | None) -> float | None:
    """Parameters from a figure such as `30.5B`; None when there is none."""
    match = _NOMINAL.match(text or "")
    return float(match[1]) * _UNITS[match[2]] if match else None


def known_total(model: Model) -> int | None:
    """The published count, or what the name claims."""
    if model.published.total_parameters is not None:
        return model.published.total_parameters
    nominal = parameters_from(model.published.nominal_parameters)
    return None if nominal is None else round(nominal)


def estimate(model: Model, arch: Architecture) -> ExpandedModel:
    """Embeddings and experts as the config states them, all else as equal matrices per layer up to the
    published count. Caches follow the stated heads; full attention on every layer unless the kinds are known."""
    plan = blueprint(arch)
    parts = Parts()
    embeddings(plan, parts)
    experts(plan, parts)
    missing = _missing(model, parts)
    if missing < 0:
        parts = Parts()
        embeddings(plan, parts)
        missing = max(0, _missing(model, parts))
    _spread(plan, parts, missing)
    groups = tuple(parts.groups)
    note = "its layers are not fully known: weights follow the published count, caches the stated heads"
    return ExpandedModel(
        shape=model_shape(model, plan, groups, note), groups=groups, caches=layer_caches(plan), notes=(note,)
    )


def _missing(model: Model, parts: Parts) -> int:
    counted = sum(group.total_elements for group in parts.groups)
    return (known_total(model) or counted) - counted


def _spread(plan: Blueprint, parts: Parts, elements: int) -> None:
    hidden, layers = plan.arch.hidden_size, plan.arch.layers
    rows = elements // (hidden * layers)
    if rows:
        parts.block(Role.ATTENTION, "rest.weight", (hidden, rows), range(layers))
    left = elements - rows * hidden * layers
    if left:
        parts.single(Role.OTHER, "rest.weight", (left,))


def opaque(model: Model) -> ExpandedModel:
    """A model of which only sizes are known (an image pipeline, an encoder): its published parts, 16 bits each."""
    groups = [_matrix(name, size // 2) for name, size in model.components.items()]
    note = "expanded from published sizes only: no cache and no layer is known"
    if not groups:
        total = known_total(model)
        groups = [_matrix("weights", total)] if total else []
        note = note if total else "nothing is known of its size"
    elements = sum(group.total_elements for group in groups)
    shape = ModelShape(
        id=model.id, gguf_architecture=None, layers=0, hidden_size=0, vocabulary_size=0, intermediate_size=0,
        heads=0, kv_heads=0, head_dim=0, total_parameters=elements, stored_parameters=elements,
        active_parameters=elements, read_parameters=elements, estimate_note=note,
    )  # fmt: skip
    return ExpandedModel(shape=shape, groups=tuple(groups), caches=(), notes=(note,))


def _matrix(name: str, elements: int) -> TensorGroup:
    return TensorGroup(role=Role.OTHER, name=f"{name}.weight", shape=(_ROW, max(1, elements // _ROW)))
