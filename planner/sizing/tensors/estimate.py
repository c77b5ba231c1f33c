"""Models whose layers are not known: what is known exactly, the rest spread evenly, and a note saying so."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

from planner.catalog.records.architecture import Architecture, Moe
from planner.sizing.records import ExpandedModel, ModelShape, Role, TensorGroup
from planner.sizing.tensors.blueprint import Blueprint, Parts, blueprint
from planner.sizing.tensors.caches import layer_caches
from planner.sizing.tensors.counts import model_shape
from planner.sizing.tensors.feed_forward import experts
from planner.sizing.tensors.frame import embeddings

if TYPE_CHECKING:
    from planner.catalog.records.model import Model

_NOMINAL = r"([0-9.]+)\s*([KMBT])"
_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
# What most mixtures of 2025 and 2026 have (DeepSeek-V3, GLM-5, Qwen3, MiniMax-M2): 8 per token, 1536 to 2048 wide.
_ACTIVE_EXPERTS = 8
_EXPERT_WIDTH = 2048
# A shape for models of which only a size is known: rows of 1024 elements quantize with every block size.
_ROW = 1024


def parameters_from(text: str | None) -> float | None:
    """Parameters from a figure such as `30.5B`; None when there is none."""
    match = re.match(_NOMINAL, text or "")
    return float(match[1]) * _UNITS[match[2]] if match else None


def known_total(model: Model) -> int | None:
    """The published count, or what the name claims."""
    if model.published.total_parameters is not None:
        return model.published.total_parameters
    nominal = parameters_from(model.published.nominal_parameters)
    return None if nominal is None else round(nominal)


def estimate(model: Model, arch: Architecture) -> ExpandedModel:
    """Embeddings and experts as the config states them, all else as equal matrices per layer up to the
    published count. Caches follow the stated heads; full attention on every layer unless the kinds are known.

    Where the vendor states how many parameters are active, the split between what every token reads and what only
    some read follows that: layers without experts come first, or experts are assumed if none are known."""
    arch, assumed = _fitted(model, msgspec.structs.replace(arch, mtp_layers=0))
    plan = blueprint(arch)
    parts = _known(plan)
    missing = max(0, _missing(model, parts))
    _spread(plan, parts, missing, _unread(model, plan, parts, missing))
    groups = tuple(parts.groups)
    note = "its layers are not fully known: weights follow the published count, caches the stated heads" + assumed
    return ExpandedModel(
        shape=model_shape(model, plan, groups, note), groups=groups, caches=layer_caches(plan), notes=(note,)
    )


def _fitted(model: Model, arch: Architecture) -> tuple[Architecture, str]:
    """The architecture with experts on as many layers as fit the published figures best, and what was assumed."""
    active, total = parameters_from(model.published.active_parameters), known_total(model)
    if arch.moe is not None:
        candidates = [_with_dense(arch, count) for count in range(arch.layers + 1)]
        return min(candidates, key=lambda each: _misfit(model, each, active)), ""
    if active is None or total is None:
        return arch, ""
    one_expert = 3 * arch.hidden_size * _EXPERT_WIDTH * arch.layers
    count = round((total - active) / one_expert) + _ACTIVE_EXPERTS
    moe = Moe(experts=count, active=_ACTIVE_EXPERTS, intermediate_size=_EXPERT_WIDTH)
    note = f"; {_ACTIVE_EXPERTS} of {count} experts assumed, which gives the stated active parameters"
    return msgspec.structs.replace(arch, moe=moe), note


def _with_dense(arch: Architecture, count: int) -> Architecture:
    moe = msgspec.structs.replace(arch.moe, dense_layers=count) if arch.moe else None
    return msgspec.structs.replace(arch, moe=moe)


def _misfit(model: Model, arch: Architecture, active: float | None) -> tuple[bool, float]:
    """Whether the experts alone exceed the published total, and how far the active parameters lie from theirs."""
    moe, parts = arch.moe, _known(blueprint(arch))
    missing = _missing(model, parts)
    if moe is None or active is None:
        return missing < 0, abs(missing)
    routed = sum(group.total_elements for group in parts.groups if group.role is Role.EXPERT)
    known = sum(group.total_elements for group in parts.groups) - routed
    return missing < 0, abs(known + missing + routed * moe.active / moe.experts - active)


def _known(plan: Blueprint) -> Parts:
    parts = Parts()
    embeddings(plan, parts)
    experts(plan, parts)
    return parts


def _missing(model: Model, parts: Parts) -> int:
    counted = sum(group.total_elements for group in parts.groups)
    return (known_total(model) or counted) - counted


def _unread(model: Model, plan: Blueprint, parts: Parts, missing: int) -> int:
    """Elements of the rest that only look-up tables can be (`lookup_rest`): what the active parameters leave over."""
    moe, active = plan.arch.moe, parameters_from(model.published.active_parameters)
    if not plan.has("lookup_rest") or active is None or moe is None:
        return 0
    routed = sum(group.total_elements for group in parts.groups if group.role is Role.EXPERT)
    known = sum(group.total_elements for group in parts.groups) - routed
    return max(0, missing - max(0, round(active - known - routed * moe.active / moe.experts)))


def _spread(plan: Blueprint, parts: Parts, elements: int, unread: int) -> None:
    hidden, layers = plan.arch.hidden_size, plan.arch.layers
    rows = (elements - unread) // (hidden * layers)
    if rows:
        parts.block(Role.ATTENTION, "rest.weight", (hidden, rows), range(layers))
    left = elements - rows * hidden * layers
    if left:
        role, shape = (Role.LOOKUP, (_ROW, left // _ROW)) if unread else (Role.OTHER, (left,))
        parts.single(role, "rest.weight", shape)


def opaque(model: Model) -> ExpandedModel:
    """A model of which only sizes are known (an image pipeline, an encoder): its published parts, 16 bits each."""
    groups = [_matrix(name, size // 2) for name, size in model.components.items()]
    note = "expanded from published sizes only: parts without one (often text encoders) are missing"
    total = known_total(model)
    if total and "transformer" not in model.components:
        groups.append(_matrix("transformer" if groups else "weights", total))
    if not groups:
        note = "nothing is known of its size"
    elements = sum(group.total_elements for group in groups)
    shape = ModelShape(
        id=model.id, gguf_architecture=None, layers=0, hidden_size=0, vocabulary_size=0, intermediate_size=0,
        heads=0, kv_heads=0, head_dim=0, total_parameters=elements, stored_parameters=elements,
        active_parameters=elements, read_parameters=elements, estimate_note=note,
    )  # fmt: skip
    return ExpandedModel(shape=shape, groups=tuple(groups), caches=(), notes=(note,))


def _matrix(name: str, elements: int) -> TensorGroup:
    row = math.gcd(elements, _ROW)
    return TensorGroup(role=Role.OTHER, name=f"{name}.weight", shape=(row, elements // row))
