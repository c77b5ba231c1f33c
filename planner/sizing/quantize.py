"""A model under a quant: every tensor's type and bytes, summed to what loading, placing and decoding ask for.

Results are kept per (model, quant, recipe), so that a candidate costs nothing after the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from planner.errors import PlannerError
from planner.sizing.artifact import BlockBytes, Made, QuantizedModel
from planner.sizing.header import data_bytes
from planner.sizing.identity import IdentityCache
from planner.sizing.quantize_gguf import quantize_gguf
from planner.sizing.records import Role

if TYPE_CHECKING:
    from planner.catalog.records.quant import Quant
    from planner.sizing.artifact import QuantizedGroup
    from planner.sizing.records import ExpandedModel, ModelShape

QUANTIZERS: Final = ("2024", "2026")
_results: IdentityCache[QuantizedModel] = IdentityCache(8192)
_layers: IdentityCache[int] = IdentityCache(1024)
_ENCODERS: Final = frozenset({Role.VISION, Role.AUDIO})


def quantize(
    expanded: ExpandedModel,
    quant: Quant,
    *,
    recipe: str | None = None,
    imatrix: bool = False,
    quantizer: str = "2026",
    projector: bool = False,
) -> QuantizedModel:
    """The model's artifact under `quant`, tensor by tensor.

    `recipe` names a publisher's habits (GGUF), `imatrix` an importance matrix, `quantizer` the generation of
    llama-quantize; `projector`: the encoders are loaded from a GGUF file of their own, in F16. Raises PlannerError for
    a quant, recipe or quantizer that nobody knows."""
    made = Made(recipe=recipe, imatrix=imatrix, quantizer=quantizer, projector=projector)
    return quantize_as(expanded, quant, made)


def quantize_as(expanded: ExpandedModel, quant: Quant, made: Made) -> QuantizedModel:
    """`quantize` with the way in which the file was made as one value."""
    if made.quantizer not in QUANTIZERS:
        raise PlannerError(f"unknown quantizer {made.quantizer!r}", hint=f"known: {', '.join(QUANTIZERS)}")
    return _results.value((expanded, quant), made, lambda: _quantize(expanded, quant, made))


def _quantize(expanded: ExpandedModel, quant: Quant, made: Made) -> QuantizedModel:
    shape = expanded.shape
    error, notes = 0.0, expanded.notes
    if quant.format == "gguf":
        publisher = made.recipe or quant.recipe
        groups, recipe, header = quantize_gguf(
            expanded, quant.id, publisher=publisher, imatrix=made.imatrix, quantizer=made.quantizer
        )
        artifact = header + data_bytes(groups)
        error, notes = recipe.error_fraction, (*notes, recipe.note) if recipe.note else notes
    else:
        if made.recipe is not None:
            raise PlannerError(f"recipe {made.recipe!r} belongs to GGUF files", hint=f"leave it out for {quant.id}")
        groups, header = _quantize_checkpoint(expanded, quant)
        artifact = header + sum(group.bytes for group in groups)
    sums = Sums(shape, _layer_count(expanded))
    for group in groups:
        sums.add(group)
    result = sums.result(quant, groups, header=header, artifact=artifact, error=error, notes=notes)
    return _with_projector(result, expanded) if made.projector and quant.format == "gguf" else result


def _quantize_checkpoint(expanded: ExpandedModel, quant: Quant) -> tuple[tuple[QuantizedGroup, ...], int]:
    """By the rules of the format; their modules are read when the first such quant is asked for."""
    if quant.format == "hf":
        from planner.sizing.quantize_hf import quantize_hf

        return quantize_hf(expanded, quant)
    from planner.sizing.quantize_mlx import quantize_mlx

    return quantize_mlx(expanded, quant)


def _with_projector(result: QuantizedModel, expanded: ExpandedModel) -> QuantizedModel:
    """The encoders that stand beside the text model's file, two bytes each (`mmproj-F16.gguf`; its few norms in F32 are
    a thousandth)."""
    towers = [group for group in expanded.groups if group.role in _ENCODERS and not group.gguf]
    sizes = {role: 2 * sum(g.total_elements for g in towers if g.role is role) for role in (Role.VISION, Role.AUDIO)}
    total = sum(sizes.values())
    roles = tuple((role.value, size) for role, size in sizes.items() if size)
    return replace(
        result,
        projector_bytes=total,
        encoder_bytes=result.encoder_bytes + total,
        role_bytes=(*result.role_bytes, *roles),
    )


def _layer_count(expanded: ExpandedModel) -> int:
    return _layers.value((expanded,), (), lambda: _highest(expanded) + 1)


def _highest(expanded: ExpandedModel) -> int:
    of_groups = max((layer for group in expanded.groups if not group.mtp for layer in group.layers), default=-1)
    return max(of_groups, max((layer for cache in expanded.caches for layer in cache.layers), default=-1))


class Sums:
    """Bytes by place in the model, summed over its groups."""

    def __init__(self, shape: ModelShape, layers: int) -> None:
        self.shape = shape
        self.expert_share = shape.active_experts / shape.experts if shape.experts else 1.0
        self.dense = [0] * layers
        self.experts = [0] * layers
        self.outside: dict[Role, int] = {}
        self.roles: dict[Role, int] = {}
        self.mtp = self.parameters = self.total = 0

    def add(self, quantized: QuantizedGroup) -> None:
        """One group to its place."""
        group = quantized.group
        self.parameters += group.total_elements
        self.total += quantized.bytes
        if group.mtp:
            self.mtp += quantized.bytes
            return
        self.roles[group.role] = self.roles.get(group.role, 0) + quantized.bytes
        if not group.layers or group.role is Role.LOOKUP:
            self.outside[group.role] = self.outside.get(group.role, 0) + quantized.bytes
        else:
            target = self.experts if group.role is Role.EXPERT else self.dense
            self._spread(quantized, target)

    @staticmethod
    def _spread(quantized: QuantizedGroup, target: list[int]) -> None:
        sizes = quantized.sizes
        if len(sizes) == 1:
            size = sizes[0]
            for layer in quantized.group.layers:
                target[layer] += size
        else:
            for layer, size in zip(quantized.group.layers, sizes, strict=True):
                target[layer] += size

    def result(
        self,
        quant: Quant,
        groups: tuple[QuantizedGroup, ...],
        *,
        header: int,
        artifact: int,
        error: float,
        notes: tuple[str, ...],
    ) -> QuantizedModel:
        """The record of these sums."""
        share = self.expert_share
        blocks = tuple(
            BlockBytes(dense=dense, experts=experts, dense_read=dense, expert_read=round(experts * share))
            for dense, experts in zip(self.dense, self.experts, strict=True)
        )
        outside = dict(self.outside)
        embedding, lookup = outside.pop(Role.EMBEDDING, 0), outside.pop(Role.LOOKUP, 0)
        head, norms = outside.pop(Role.OUTPUT, 0), outside.pop(Role.NORM, 0)
        encoder = sum(outside.pop(role, 0) for role in _ENCODERS)
        # A model known only as one lump has no blocks: it is read whole for every token.
        other = sum(outside.values())
        return QuantizedModel(
            model=self.shape.id,
            quant=quant.id,
            format=quant.format,
            groups=groups,
            blocks=blocks,
            blocks_read_bytes=sum(block.dense_read + block.expert_read for block in blocks),
            header_bytes=header,
            file_bytes=artifact,
            tensor_bytes=self.total,
            parameters=self.parameters,
            mtp_bytes=self.mtp,
            embedding_bytes=embedding,
            lookup_bytes=lookup,
            output_bytes=head + norms + (0 if blocks else other),
            tied_bytes=embedding if self.shape.tied_embeddings and not head else 0,
            encoder_bytes=encoder,
            other_bytes=other if blocks else 0,
            role_bytes=tuple((role.value, size) for role, size in self.roles.items() if size),
            error_fraction=error,
            notes=notes,
        )
