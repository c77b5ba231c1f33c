"""An architecture made ready for expansion: the kind of every layer, and the family's traits."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import msgspec

from planner.catalog.records.architecture import LayerKind
from planner.errors import CatalogError
from planner.sizing.records import Role, TensorGroup
from planner.sizing.tensors.families import family_traits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.catalog.records.architecture import Architecture

_WORD = re.compile(r"([a-z_+]+)(?:\*([0-9]+))?")
_KINDS = frozenset(get_args(LayerKind))
ATTENTION = ("full", "sliding", "chunked", "parallel", "cross")


def layer_kinds(words: tuple[str, ...], layers: int) -> tuple[str, ...]:
    """The kind of each of `layers` layers from a pattern like `sliding*5 full` or `mamba+moe*3 full`, repeated
    and cut to length.

    Raises CatalogError for a word that is not a layer kind."""
    kinds: list[str] = []
    for word in words or ("full",):
        match = _WORD.fullmatch(word)
        run = match[1].split("+") if match else []
        if match is None or not _KINDS.issuperset(run):
            raise CatalogError(f"layer kind {word!r} is not known", hint=f"use one of {', '.join(sorted(_KINDS))}")
        kinds += run * int(match[2] or 1)
    repeats = -(-layers // len(kinds))
    return tuple((kinds * repeats)[:layers])


class Blueprint(msgspec.Struct, frozen=True, dict=True):
    """An architecture with its layers and traits spelt out. Layers past `arch.layers` are next-token-prediction
    layers: they are built like others and told apart at the end."""

    arch: Architecture
    kinds: tuple[str, ...]
    traits: frozenset[str]

    def has(self, trait: str) -> bool:
        """Whether the family or the model itself has this peculiarity."""
        return trait in self.traits

    def layers(self, *kinds: str) -> tuple[int, ...]:
        """Numbers of the layers of these kinds."""
        return tuple(number for number, kind in enumerate(self.kinds) if kind in kinds)

    @cached_property
    def every_layer(self) -> tuple[int, ...]:
        """Numbers of all layers, prediction layers included."""
        return tuple(range(len(self.kinds)))

    @cached_property
    def mtp(self) -> tuple[int, ...]:
        """Numbers of the next-token-prediction layers."""
        return self.every_layer[self.arch.layers :]

    @cached_property
    def mtp_starts(self) -> tuple[int, ...]:
        """The first block of each prediction layer: Nemotron-H needs two blocks for one."""
        return self.mtp[:: len(self.mtp) // self.arch.mtp_layers] if self.mtp else ()

    @cached_property
    def expert_layers(self) -> tuple[int, ...]:
        """Numbers of the layers with routed experts."""
        moe = self.arch.moe
        if moe is None:
            return ()
        if "moe" in self.kinds:
            return self.layers("moe")
        if moe.layers is not None:
            return moe.layers + self.mtp
        sparse = range(moe.dense_layers, self.arch.layers)
        chosen = tuple(n for n in sparse if (n - moe.dense_layers + 1) % moe.every == 0)
        return chosen + (() if self.has("mtp_dense") else self.mtp)

    @cached_property
    def dense_layers(self) -> tuple[int, ...]:
        """Numbers of the layers with a dense feed-forward part."""
        if {"mlp", "moe"} & set(self.kinds):
            return self.layers("mlp")
        if self.has("experts_beside_dense"):
            return self.every_layer
        experts = set(self.expert_layers)
        return tuple(n for n in self.every_layer if n not in experts)

    def heads(self, kind: str) -> int:
        """Query heads of a layer of this kind."""
        special = self.arch.sliding_heads if kind in ("sliding", "chunked") else None
        return special or self.arch.heads or 0

    def kv_heads(self, kind: str) -> int:
        """Key/value heads of a layer of this kind."""
        special = self.arch.sliding_kv_heads if kind in ("sliding", "chunked") else None
        return special or self.arch.kv_heads or self.arch.heads or 0

    def head_dim(self, kind: str) -> int:
        """Elements of one query or key head."""
        special = self.arch.sliding_head_dim if kind in ("sliding", "chunked") else None
        default = self.arch.hidden_size // self.arch.heads if self.arch.heads else 0
        return special or self.arch.head_dim or default

    def v_head_dim(self, kind: str) -> int:
        """Elements of one value head."""
        return self.arch.v_head_dim or self.head_dim(kind)

    def number(self, name: str) -> int:
        """A number of `extras`; raises CatalogError when a trait needs one that is missing."""
        try:
            return self.arch.extras[name]
        except KeyError:
            raise CatalogError(f"architecture.extras has no {name!r}", hint="its trait needs that number") from None


def blueprint(arch: Architecture) -> Blueprint:
    """Spell out an architecture. Raises CatalogError for an unknown layer kind."""
    kinds = layer_kinds(arch.layer_kinds, arch.layers)
    traits = set(family_traits(arch.gguf))
    for trait in arch.traits:
        if trait.startswith("-"):
            traits.discard(trait[1:])
        else:
            traits.add(trait)
    predicting = next((trait[4:] for trait in traits if trait.startswith("mtp:")), "full")
    ahead = tuple(predicting.split("+")) * arch.mtp_layers
    return Blueprint(arch=arch, kinds=kinds + ahead, traits=frozenset(traits))


class Parts:
    """A growing list of tensor groups; layers that no layer has are left out."""

    def __init__(self) -> None:
        self.groups: list[TensorGroup] = []

    def block(
        self,
        role: Role,
        name: str,
        shape: tuple[int, ...],
        layers: Iterable[int],
        *,
        stored: bool = True,
        gguf: bool = True,
        fixed_type: str | None = None,
    ) -> None:
        """Add a tensor of every one of `layers` blocks."""
        numbers = tuple(layers)
        if numbers:
            group = TensorGroup(
                role=role, name=f"blk.{{layer}}.{name}", shape=shape, layers=numbers, stored=stored, gguf=gguf,
                fixed_type=fixed_type,
            )  # fmt: skip
            self.groups.append(group)

    def single(
        self, role: Role, name: str, shape: tuple[int, ...], *, stored: bool = True, gguf: bool = True,
        fixed_type: str | None = None, mtp: bool = False,
    ) -> None:  # fmt: skip
        """Add a tensor outside the blocks."""
        self.groups.append(
            TensorGroup(role=role, name=name, shape=shape, stored=stored, gguf=gguf, fixed_type=fixed_type, mtp=mtp)
        )
