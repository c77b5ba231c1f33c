"""Checking the catalog: every model expanded, its counts held against what its publisher states."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from planner.errors import CatalogError
from planner.sizing.records import ExpandedModel, Record, Role
from planner.sizing.tensors import expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from planner.catalog.records.model import Model

# A catalog shape that is off by one matrix per layer already shows at this share of the published count.
TOLERANCE = 0.01
_FIGURE = re.compile(r"([0-9]+(?:\.([0-9]+))?)B")


class Finding(Record):
    """Something that the check noticed. `error` fails it; `note` is a deviation that the catalog itself explains."""

    severity: Literal["error", "note"]
    subject: str
    text: str


def check_models(models: Mapping[str, Model] | Iterable[Model]) -> tuple[Finding, ...]:
    """Expand every model and compare.

    Errors: a model that cannot be expanded; a stored count more than 1 % off the published one without
    `published.exception`; experts of which none is used; active parameters that miss the published figure by more than
    its rounding without `published.active_convention`. Notes: named exceptions and estimates."""
    every = models.values() if hasattr(models, "values") else models
    return tuple(finding for model in every for finding in _check(model))


def _check(model: Model) -> list[Finding]:
    try:
        expanded = expand(model)
    except CatalogError as error:
        return [Finding(severity="error", subject=model.id, text=f"cannot be expanded: {error.message}")]
    if expanded.shape.estimate_note is not None:
        return [Finding(severity="note", subject=model.id, text=f"estimated: {expanded.shape.estimate_note}")]
    return [*_total(model, expanded), *_experts(model, expanded), *_active(model, expanded)]


def _total(model: Model, expanded: ExpandedModel) -> list[Finding]:
    published, stored = model.published.total_parameters, expanded.shape.stored_parameters
    if published is None or abs(stored - published) <= TOLERANCE * published:
        return []
    text = f"{stored:,} parameters stored, {published:,} published ({(stored - published) / published:+.2%})"
    if model.published.exception:
        return [Finding(severity="note", subject=model.id, text=f"{text}: {model.published.exception}")]
    return [Finding(severity="error", subject=model.id, text=text)]


def _experts(model: Model, expanded: ExpandedModel) -> list[Finding]:
    shape = expanded.shape
    if shape.experts and not 0 < shape.active_experts <= shape.experts:
        text = f"{shape.active_experts} of {shape.experts} experts used"
        return [Finding(severity="error", subject=model.id, text=text)]
    return []


def _active(model: Model, expanded: ExpandedModel) -> list[Finding]:
    figure = _FIGURE.fullmatch(model.published.active_parameters or "")
    if figure is None:
        return []
    stated, half_step = float(figure[1]) * 1e9, 0.5e9 / 10 ** len(figure[2] or "")
    counted, convention = _counted(model, expanded)
    if abs(counted - stated) <= half_step:
        return []
    text = f"{counted / 1e9:.2f}B active parameters, {model.published.active_parameters} published"
    if convention:
        return [Finding(severity="note", subject=model.id, text=f"{text}: {convention}")]
    return [Finding(severity="error", subject=model.id, text=text)]


def _counted(model: Model, expanded: ExpandedModel) -> tuple[int, str | None]:
    """Active parameters by the vendor's way of counting, and the convention when it is none of the known ways."""
    groups, active = expanded.groups, expanded.shape.active_parameters
    embedding = sum(group.total_elements for group in groups if group.role is Role.EMBEDDING)
    head = sum(group.total_elements for group in groups if group.role is Role.OUTPUT)
    vision = sum(group.total_elements for group in groups if group.role is Role.VISION)
    known = {
        "without input embedding": active - embedding,
        "without embeddings": active - embedding - head,
        "with the vision tower": active + vision,
        "with the vision tower, without input embedding": active + vision - embedding,
    }
    convention = model.published.active_convention
    if convention in known:
        return known[convention], None
    return active, convention
