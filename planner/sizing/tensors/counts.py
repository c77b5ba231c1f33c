"""Parameter counts of a list of tensor groups, and the shape that sizing and speed read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.sizing.records import ModelShape, Role, TensorGroup

if TYPE_CHECKING:
    from planner.catalog.records.model import Model
    from planner.sizing.tensors.blueprint import Blueprint

# Not part of the work on a text token.
_BESIDE_TEXT = frozenset({Role.VISION, Role.AUDIO, Role.LOOKUP})


def model_shape(model: Model, plan: Blueprint, groups: tuple[TensorGroup, ...], note: str | None) -> ModelShape:
    """Count the groups of an expanded architecture. MLA counts as one key/value head, as GGUF files state it."""
    arch, moe = plan.arch, plan.arch.moe
    kind = "full" if "full" in plan.kinds else "sliding"
    share = moe.active / moe.experts if moe else 0.0
    experts = _sum(groups, Role.EXPERT)
    active = _text(groups) - experts + round(experts * share)
    total = sum(group.total_elements for group in groups if group.stored and not group.mtp)
    beyond = sum(group.total_elements for group in groups if group.stored and group.mtp)
    dense = any(layer < arch.layers for layer in plan.dense_layers)
    return ModelShape(
        id=model.id,
        gguf_architecture=arch.gguf,
        layers=arch.layers,
        hidden_size=arch.hidden_size,
        vocabulary_size=arch.vocabulary_size,
        intermediate_size=(arch.intermediate_size or 0) if dense else 0,
        heads=plan.heads(kind),
        kv_heads=1 if arch.mla else plan.kv_heads(kind),
        head_dim=arch.mla.nope_head_dim + arch.mla.rope_head_dim if arch.mla else plan.head_dim(kind),
        experts=moe.experts if moe else 0,
        active_experts=moe.active if moe else 0,
        expert_intermediate_size=moe.intermediate_size if moe else 0,
        moe_layers=sum(1 for layer in plan.expert_layers if layer < arch.layers),
        tied_embeddings=arch.tied_embeddings,
        mtp_layers=arch.mtp_layers,
        total_parameters=total,
        stored_parameters=total + beyond + _duplicate_head(plan) + sum(model.published.stored_extra.values()),
        active_parameters=active,
        read_parameters=active - _input_only(groups, arch.tied_embeddings),
        expert_parameters=experts,
        estimate_note=note,
    )


def _sum(groups: tuple[TensorGroup, ...], role: Role) -> int:
    return sum(group.total_elements for group in groups if group.role is role and group.stored and not group.mtp)


def _text(groups: tuple[TensorGroup, ...]) -> int:
    counted = (g for g in groups if g.stored and not g.mtp and g.role not in _BESIDE_TEXT)
    return sum(group.total_elements for group in counted)


def _input_only(groups: tuple[TensorGroup, ...], tied: bool) -> int:
    """The input embedding is looked up, one row per token, unless it serves as output head too."""
    return 0 if tied else _sum(groups, Role.EMBEDDING)


def _duplicate_head(plan: Blueprint) -> int:
    """Some checkpoints of tied models store the head a second time; no server loads it."""
    return plan.arch.hidden_size * plan.arch.vocabulary_size if plan.has("stored_head_copy") else 0
