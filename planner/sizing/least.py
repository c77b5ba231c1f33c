"""Bytes that a model needs at the least under a quant, without choosing a type for any tensor: enough to see that it
can never fit, or never be fast, before its exact size is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from planner.catalog.records.quant import Quant
    from planner.sizing.records import ModelShape

# No recipe goes further below its nominal bits than IQ3_XS: 0.947 of them on GLM-5.2, whose experts end below (all
# models and quants of the catalog, 2026-11). A test holds it.
LEAST_SHARE_OF_NOMINAL: Final = 0.94


class LeastBytes(msgspec.Struct, frozen=True):
    """Lower limits: routed experts resident, what one token reads of them, and all else that one token reads."""

    experts: float
    expert_read: float
    dense_read: float

    @property
    def resident(self) -> float:
        """What has to lie in some memory."""
        return self.experts + self.dense_read


def least_bytes(shape: ModelShape, quant: Quant) -> LeastBytes:
    """Lower limits of the text model's bytes: the embedding that is only looked up, encoders and tables left out."""
    per_parameter = quant.nominal_bits / 8 * LEAST_SHARE_OF_NOMINAL
    experts = shape.expert_parameters * per_parameter
    read = experts * shape.active_experts / shape.experts if shape.experts else 0.0
    return LeastBytes(experts, read, max(shape.read_parameters * per_parameter - read, 0.0))
