"""A model read from a GGUF file: its own tensors, roles told by their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from planner.sizing.records import ExpandedModel, ModelShape, Role, TensorGroup
from planner.sizing.tensors.blueprint import blueprint
from planner.sizing.tensors.caches import layer_caches
from planner.sizing.tensors.counts import model_shape

if TYPE_CHECKING:
    from planner.catalog.records.architecture import Architecture
    from planner.catalog.records.model import Model

_BLOCK = re.compile(r"blk\.([0-9]+)\.(.+)")
# First match decides; the names are llama.cpp's (gguf-py `constants.py`).
_ROLES: tuple[tuple[str, Role], ...] = (
    (r"(token_embd)\.weight", Role.EMBEDDING),
    (r"(per_layer_token_embd|position_embd|token_types|ple_embd|engram.*)\..*", Role.LOOKUP),
    (r"output\.(weight|bias)", Role.OUTPUT),
    (r"(v|mm)\..*", Role.VISION),
    (r"a\..*", Role.AUDIO),
    (r".*nextn\..*", Role.MTP),
    (r".*_shexp\..*", Role.SHARED_EXPERT),
    (r".*(ffn_gate_inp|exp_probs_b|ffn_gate_tid2eid)\b.*", Role.ROUTER),
    (r".*norm(_[0-9a-z]+)?\.(weight|bias)", Role.NORM),
    (r".*_exps\..*", Role.EXPERT),
    (r".*(ssm_|shortconv).*", Role.STATE),
    (r".*(attn_|indexer).*", Role.ATTENTION),
    (r".*ffn_.*", Role.FFN),
)
_PATTERNS = tuple((re.compile(pattern), role) for pattern, role in _ROLES)


def role_of(name: str) -> Role:
    """The role of a tensor by its GGUF name, without block number."""
    return next((role for pattern, role in _PATTERNS if pattern.fullmatch(name)), Role.OTHER)


def from_tensors(model: Model) -> ExpandedModel:
    """Groups of equal tensors of a file, their types fixed as the file has them; caches from its metadata."""
    groups = _groups(model.tensors)
    if model.architecture is None:
        return _without_architecture(model, groups)
    tied = not any(group.role is Role.OUTPUT for group in groups)
    arch: Architecture = msgspec.structs.replace(model.architecture, tied_embeddings=tied)
    plan = blueprint(arch)
    return ExpandedModel(shape=model_shape(model, plan, groups, None), groups=groups, caches=layer_caches(plan))


def _groups(tensors: tuple[tuple[str, tuple[int, ...], str], ...]) -> tuple[TensorGroup, ...]:
    alike: dict[tuple[str, tuple[int, ...], str], list[int]] = {}
    for name, shape, kind in tensors:
        match = _BLOCK.fullmatch(name)
        key = (f"blk.{{layer}}.{match[2]}" if match else name, tuple(shape), kind)
        numbers = alike.setdefault(key, [])
        if match:
            numbers.append(int(match[1]))
    predicting = {number for key, numbers in alike.items() if ".nextn." in key[0] for number in numbers}
    found = []
    for (name, shape, kind), numbers in alike.items():
        found += _split(name, shape, kind, numbers, predicting)
    return tuple(found)


def _split(name: str, shape: tuple[int, ...], kind: str, numbers: list[int], predicting: set[int]) -> list[TensorGroup]:
    """One group, or two where some of the layers are for next-token prediction."""
    role = role_of(name.removeprefix("blk.{layer}."))
    main = tuple(sorted(number for number in numbers if number not in predicting))
    ahead = tuple(sorted(number for number in numbers if number in predicting))
    groups = []
    if main or not numbers:
        stored = not name.startswith("rope_")
        groups.append(TensorGroup(role=role, name=name, shape=shape, layers=main, fixed_type=kind, stored=stored))
    if ahead:
        groups.append(TensorGroup(role=role, name=name, shape=shape, layers=ahead, fixed_type=kind, mtp=True))
    return groups


def _without_architecture(model: Model, groups: tuple[TensorGroup, ...]) -> ExpandedModel:
    note = "the file does not say what its layers keep: no cache is counted"
    total = sum(group.total_elements for group in groups)
    layers = 1 + max((layer for group in groups for layer in group.layers), default=-1)
    shape = ModelShape(
        id=model.id, gguf_architecture=None, layers=layers, hidden_size=0, vocabulary_size=0, intermediate_size=0,
        heads=0, kv_heads=0, head_dim=0, total_parameters=total, stored_parameters=total, active_parameters=total,
        read_parameters=total, estimate_note=note,
    )  # fmt: skip
    return ExpandedModel(shape=shape, groups=groups, caches=(), notes=(note,))
