"""What the sums need to know of a model, counted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from planner.sizing.identity import IdentityCache
from planner.speed.reads import state_bytes

if TYPE_CHECKING:
    from planner.sizing.records import ExpandedModel


ASSUMED_HEAD_WIDTH: Final = 128  # of most models; the recurrent ones state none


class ModelFacts(msgspec.Struct, frozen=True):
    """`query_ratio`: query heads behind one cached head (of a latent cache, whose every element is part of a key and of
    a value, twice all heads); `head_width`: elements of a key; `query_width`: elements of a token's queries;
    `norms_per_layer`: normalizations in a block; `attention`: layers with a cache and their window; `state_bytes`:
    recurrent state read and written per token."""

    query_ratio: float
    head_width: float
    query_width: float
    norms_per_layer: float
    recurrent_layers: int
    attention: tuple[tuple[int, int | None], ...]
    latent: bool
    state_bytes: float


_facts: Final[IdentityCache[ModelFacts]] = IdentityCache(4096)


def model_facts(expanded: ExpandedModel) -> ModelFacts:
    """The facts of a model; the same object for the same model."""
    return _facts.value((expanded,), (), lambda: _count(expanded))


def _count(expanded: ExpandedModel) -> ModelFacts:
    shape = expanded.shape
    cached = [cache for cache in expanded.caches if cache.kind != "recurrent"]
    return ModelFacts(
        query_ratio=_query_ratio(expanded),
        head_width=float(next((cache.k_width for cache in cached if cache.mla), shape.head_dim or ASSUMED_HEAD_WIDTH)),
        query_width=float(shape.heads * shape.head_dim or shape.hidden_size),
        norms_per_layer=_norms_per_layer(expanded),
        recurrent_layers=sum(len(cache.layers) for cache in expanded.caches if cache.kind == "recurrent"),
        attention=tuple((len(cache.layers), cache.window) for cache in cached),
        latent=any(cache.mla for cache in cached),
        state_bytes=state_bytes(expanded),
    )


def _query_ratio(expanded: ExpandedModel) -> float:
    """4, the usual ratio, where it is unknown."""
    cached = [cache for cache in expanded.caches if cache.kind != "recurrent"]
    heads = [0.5 if cache.mla else float(cache.heads) for cache in cached if cache.mla or cache.heads]
    return expanded.shape.heads / min(heads) if heads and expanded.shape.heads else 4.0


def _norms_per_layer(expanded: ExpandedModel) -> float:
    """2 of Llama, 4 with norms of queries and keys, 6 of Gemma 3; 2 where the tensors are not known."""
    norms = sum(len(group.layers) for group in expanded.groups if group.role == "norm" and not group.mtp)
    return norms / expanded.shape.layers if norms else 2.0
