"""How able a model is, from the fitted scores of the catalog; and what a quant takes away from it.

The unit is one doubling of a dense model's parameters. Nothing here is set by hand: abilities, their uncertainty and
the effect of quants on each axis are written by tools/fit_quality.py (docs/quality.md).

    ability of a model  = expected - JUDGED_BELOW x standard deviation
    loss of a quant     = KL divergence / NATS_PER_DOUBLING x factor of the axis x per_size_doubling ^ log2(size / 8 B)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log2
from typing import TYPE_CHECKING

from planner.catalog.records import Axis, Evidence, Model, Quant, Workload
from planner.servers.gguf import is_mxfp4_native
from planner.sizing.records import Record

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

# A model is judged by its lower quartile: three of four such models are at least this able. By the expected value
# alone, whatever is newest and least known would win. 0.674: quartile of the normal distribution.
JUDGED_BELOW = 0.674

# LLaMA 7B and 13B, same data: perplexity 5.9066 and 5.2543 (llama.cpp README, 2023):
# ln(5.9066 / 5.2543) / log2(13.02 / 6.74) = 0.117 / 0.950.
NATS_PER_DOUBLING = 0.123

# The model of the scoreboard that the catalog's divergences are read from: Llama-3-8B.
SCOREBOARD_PARAMETERS = 8.03e9

# A model whose release is unknown counts as one of the middle of the catalog's span (as tools/fit_quality.py).
UNKNOWN_RELEASE_YEARS = 1.5

# Loss of a quant without a measurement, by nominal bits: the same decade of bits has about the same damage
# (KL of Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q3_K_M, Q2_K on Llama-3-8B, llama.cpp tools/perplexity/README.md).
ASSUMED_KL = ((8.0, 0.0014), (6.0, 0.0055), (5.0, 0.011), (4.0, 0.031), (3.0, 0.10), (2.0, 0.45), (0.0, 1.4))

EMBEDDING = "embedding"

Counts = Callable[[Model], tuple[int, int] | None]


class Ability(Record):
    """What is known of a model on one axis. `doublings`: what it is judged by; `quant_sensitivity`: how many times
    the loss of a quant on the scoreboard's model it loses."""

    axis: str
    expected: float
    deviation: float
    quant_sensitivity: float
    scores: int = 0
    siblings: int = 0

    @property
    def doublings(self) -> float:
        """The lower quartile of what such a model is able to."""
        return self.expected - JUDGED_BELOW * self.deviation

    @property
    def basis(self) -> str:
        """The evidence in words."""
        if self.scores:
            return f"{self.scores} published score{'s' if self.scores > 1 else ''}, size and date"
        if self.siblings:
            return f"no score of its own; {self.siblings} of its family, size and date"
        return "no published score; size and date only"


def years_since_2024(released: str | None) -> float:
    """Years from January 2024 to the release (`2026-04-22` or `2026-04`)."""
    if released is None:
        return UNKNOWN_RELEASE_YEARS
    year, _, rest = released.partition("-")
    month = rest[:2]
    return int(year) - 2024 + ((int(month) - 1) / 12 if month.isdigit() else 0.5)


def abilities(catalog: Catalog, counts: Counts, workload: Workload) -> dict[str, Ability]:
    """What is known of every model that can be sized, on the axis of the workload; embedding models on their own.
    `counts`: total and active parameters of a model, asked only for those that the fit has not seen."""
    found = {}
    for model in catalog.models.values():
        if model.architecture is None and not model.tensors:
            continue
        axis = catalog.axes[EMBEDDING if model.kind == EMBEDDING else workload.axis]
        known = catalog.abilities.get(model.id)
        ability = _fitted(known, axis) if known is not None else None
        ability = ability or expected_of(model, counts(model), axis)
        if ability is not None:
            found[model.id] = ability
    return found


def _fitted(known: Evidence, axis: Axis) -> Ability | None:
    if axis.id not in known.axes:
        return None
    expected, deviation = known.axes[axis.id]
    return Ability(
        axis=axis.id,
        expected=expected,
        deviation=deviation,
        quant_sensitivity=quant_sensitivity(known.total_parameters, axis),
        scores=sum(known.scores.values()),
        siblings=known.siblings,
    )


def expected_of(model: Model, counts: tuple[int, int] | None, axis: Axis) -> Ability | None:
    """What size, sparsity and date suggest of a model that the fit has not seen."""
    if counts is None:
        return None
    total, active = counts
    prior = axis.prior
    expected = prior.intercept + log2(active / 1e9) + prior.per_ratio_doubling * log2(total / active)
    expected += prior.per_year * years_since_2024(model.released or model.repo_created)
    expected += prior.thinking * (model.thinking != "no") + prior.tagged * (axis.tag in model.tags)
    return Ability(
        axis=axis.id, expected=expected, deviation=prior.deviation, quant_sensitivity=quant_sensitivity(total, axis)
    )


def quant_sensitivity(total_parameters: int, axis: Axis) -> float:
    """Loss of a model of that size on the axis, over the loss of the scoreboard's model on average."""
    doublings = log2(total_parameters / SCOREBOARD_PARAMETERS)
    return axis.quant.factor * float(axis.quant.per_size_doubling**doublings)


def kl_divergence(quant: Quant) -> tuple[float, bool]:
    """Mean KL divergence of a quant to 16 bits, and whether it was measured (else assumed from nominal bits)."""
    if quant.loss is not None:
        return quant.loss.kl_divergence, True
    if quant.speed_class == "16bit":
        return 0.0, True
    return next(kl for bits, kl in ASSUMED_KL if quant.nominal_bits >= bits), False


def native(model: Model, quant: Quant) -> bool:
    """Whether the model was trained and published in this quant, so that nothing is lost."""
    return quant.scheme.startswith("mxfp4") and is_mxfp4_native(model)


def lost_doublings(quant: Quant, model: Model, known: Mapping[str, Ability]) -> float:
    """Doublings that a quant costs a model on the axis of its ability."""
    if native(model, quant):
        return 0.0
    return kl_divergence(quant)[0] / NATS_PER_DOUBLING * known[model.id].quant_sensitivity


def ability_in(quant: Quant, model: Model, known: Mapping[str, Ability]) -> float:
    """The ability that a model is judged by in a quant."""
    return known[model.id].doublings - lost_doublings(quant, model, known)
