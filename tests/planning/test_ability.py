"""Ability: published evidence decides; a model without any counts by size and date, and says so; quants take away."""

from __future__ import annotations

from math import log2
from statistics import median

import pytest
from msgspec.structs import replace

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.catalog.records import Axis, Model, Quant
from planner.catalog.records.quality import AbilityPrior, QuantEffect
from planner.catalog.records.quant import QuantLoss
from planner.planning.ability import (
    JUDGED_BELOW,
    Ability,
    abilities,
    expected_of,
    kl_divergence,
    lost_doublings,
    quant_sensitivity,
    years_since_2024,
)
from planner.planning.rank import ability_band
from planner.planning.recommend import parameter_counts

AXIS = Axis(
    id="code",
    title="",
    benchmarks=("Test",),
    scores=1,
    general_scores=1,
    band_width=1.0,
    band_edges=(0.0, 1.0, 2.0),
    prior=AbilityPrior(intercept=0.5, per_ratio_doubling=0.5, per_year=2.0, thinking=1.0, tagged=0.25, deviation=1.5),
    quant=QuantEffect(factor=2.0, per_size_doubling=0.9, scores=1),
    tag="code",
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def model(name: str = "m", released: str | None = "2025-01", **given: object) -> Model:
    return Model(id=name, name=name, family="test", released=released, **given)  # type: ignore[arg-type]


def known(catalog: Catalog, workload: str) -> dict[str, Ability]:
    return abilities(catalog, parameter_counts, catalog.workload(workload))


@pytest.mark.parametrize(("text", "years"), [("2024-01", 0.0), ("2025-07-01", 1.5), ("2024", 0.5), (None, 1.5)])
def test_dates_become_years(text: str | None, years: float) -> None:
    assert years_since_2024(text) == pytest.approx(years)


def test_an_unseen_model_counts_by_size_sparsity_date_thinking_and_purpose() -> None:
    plain = expected_of(model(), (8 * 10**9, 8 * 10**9), AXIS)
    assert plain is not None
    assert plain.expected == pytest.approx(0.5 + 3.0 + 2.0)
    assert plain.doublings == pytest.approx(5.5 - JUDGED_BELOW * 1.5)
    assert "no published score" in plain.basis
    sparse = expected_of(model(), (32 * 10**9, 8 * 10**9), AXIS)
    thinks = expected_of(model(thinking="always", tags=("code",)), (8 * 10**9, 8 * 10**9), AXIS)
    assert sparse is not None
    assert sparse.expected == pytest.approx(6.5)
    assert thinks is not None
    assert thinks.expected == pytest.approx(6.75)
    assert expected_of(model(), None, AXIS) is None


def test_every_sized_model_has_an_ability_on_every_workload(catalog: Catalog) -> None:
    sized = {name for name, each in catalog.models.items() if parameter_counts(each) is not None}
    for workload in catalog.workloads:
        assert set(known(catalog, workload)) == sized


def test_scores_narrow_what_is_known(catalog: Catalog) -> None:
    found = known(catalog, "reasoning")
    language = [each for name, each in found.items() if catalog.models[name].kind == "llm"]
    scored = [each.deviation for each in language if each.scores >= 5]
    alone = [each.deviation for each in language if each.scores == 0 and each.siblings == 0]
    assert max(scored) < min(alone)
    assert all("no" in each.basis for each in language if not each.scores)


# Pairs that any reader of leaderboards would agree on, of the same axis: the first is more able.
@pytest.mark.parametrize(
    ("axis", "better", "worse"),
    [
        ("chat", "llama-3.3-70b-instruct", "llama-3.1-8b-instruct"),
        ("chat", "qwen3-32b", "qwen3-8b"),
        ("chat", "gemma-4-31b-it", "gemma-3-27b-it"),
        ("chat", "qwen3.8-27b", "qwen3.6-27b"),
        ("chat", "qwen3.6-27b", "qwen3.5-27b"),
        ("chat", "gpt-oss-120b", "gpt-oss-20b"),
        ("code", "qwen3-coder-480b-a35b-instruct", "qwen3-coder-30b-a3b-instruct"),
        ("code", "qwen2.5-coder-7b-instruct", "qwen2.5-7b-instruct"),
        ("code", "deepseek-r1", "phi-4"),
        ("reasoning", "phi-4-reasoning-plus", "phi-4"),
        ("reasoning", "deepseek-r1-distill-qwen-7b", "qwen2.5-7b-instruct"),
        ("reasoning", "qwen3-30b-a3b-thinking-2507", "qwen3-30b-a3b-instruct-2507"),
        ("reasoning", "deepseek-r1-0528", "deepseek-r1"),
        ("agent", "glm-4.6", "granite-4.0-h-small"),
    ],
)
def test_known_models_rank_as_their_scores_say(catalog: Catalog, axis: str, better: str, worse: str) -> None:
    found = known(catalog, axis)
    assert found[better].expected > found[worse].expected


def test_bands_are_as_wide_as_the_median_uncertainty(catalog: Catalog) -> None:
    for axis in catalog.axes.values():
        deviations = [each.axes[axis.id][1] for each in catalog.abilities.values() if axis.id in each.axes]
        assert axis.band_width == pytest.approx(median(deviations), abs=0.01)
        steps = [after - before for before, after in zip(axis.band_edges, axis.band_edges[1:], strict=False)]
        assert steps == pytest.approx([axis.band_width] * len(steps), abs=0.011)
        values = [each.axes[axis.id][0] for each in catalog.abilities.values() if axis.id in each.axes]
        assert axis.band_edges[0] < min(values)
        assert axis.band_edges[-1] > max(values)


def test_abilities_tie_between_two_edges() -> None:
    assert [ability_band(value, AXIS.band_edges) for value in (-1.0, 0.0, 0.99, 1.0, 5.0)] == [0, 1, 1, 2, 3]


def test_models_of_use_get_half_of_mmlu_pro_right(catalog: Catalog) -> None:
    """The line itself is fitted; what vendors published on either side of 50 % lies on its side of the line."""
    line, judged = catalog.axes["chat"].useful_from, known(catalog, "chat")
    assert line is not None
    published = {
        model.id: score.value
        for model in catalog.models.values()
        for score in model.scores
        if score.benchmark == "MMLU-Pro"
    }
    assert all(judged[name].expected > line for name, value in published.items() if value >= 55)
    assert all(judged[name].expected < line for name, value in published.items() if value <= 45)
    assert catalog.axes["embedding"].useful_from is None


def test_every_axis_of_a_workload_exists_and_every_fitted_model_is_in_the_catalog(catalog: Catalog) -> None:
    assert {workload.axis for workload in catalog.workloads.values()} <= set(catalog.axes)
    assert set(catalog.abilities) <= set(catalog.models)
    for name, evidence in catalog.abilities.items():
        assert sum(evidence.scores.values()) == len(catalog.models[name].scores)
        counts = parameter_counts(catalog.models[name])
        assert counts is not None
        assert evidence.total_parameters == counts[0]


def quant(bits: float, kl: float | None = None) -> Quant:
    loss = None if kl is None else QuantLoss(kl_divergence=kl, source="test")
    return Quant(id="Q", format="gguf", scheme="k-mix", nominal_bits=bits, speed_class="4bit-k", loss=loss)


def lost(each: Quant, axis: Axis, total_parameters: float = 8.03e9) -> float:
    ability = Ability(
        axis="x", expected=5.0, deviation=1.0, quant_sensitivity=quant_sensitivity(int(total_parameters), axis)
    )
    return lost_doublings(each, model(), {"m": ability})


def test_measured_loss_counts_and_unmeasured_loss_is_said_to_be_assumed() -> None:
    assert kl_divergence(quant(4.0, 0.02)) == (0.02, True)
    assert kl_divergence(quant(4.0)) == (0.031, False)
    # KL 0.445 of Q2_K on Llama-3-8B: between a 13B and a 7B of LLaMA lie 0.117 nats, so about 3.6 doublings.
    assert lost(quant(2.0, 0.445), replace(AXIS, quant=QuantEffect(factor=1.0, per_size_doubling=0.9, scores=0))) == (
        pytest.approx(3.6, abs=0.05)
    )


def test_fewer_bits_never_lose_less_by_assumption() -> None:
    losses = [lost(quant(bits), AXIS) for bits in (8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.5)]
    assert losses == sorted(losses)


def test_small_models_and_reasoning_lose_more(catalog: Catalog) -> None:
    q4 = catalog.quant("Q4_K_M")
    chat, reasoning, tools = (catalog.axes[name] for name in ("chat", "reasoning", "tools"))
    assert lost(q4, chat, 1e9) > lost(q4, chat, 8e9) > lost(q4, chat, 70e9) > 0
    assert lost(q4, reasoning) > lost(q4, chat)
    assert lost(q4, tools) > lost(q4, chat)
    # 6.7 times the size: log2(6.7) doublings at the fitted factor.
    factor = chat.quant.per_size_doubling ** log2(6.7)
    assert lost(q4, chat, 6.7 * 8e9) == pytest.approx(lost(q4, chat, 8e9) * factor, rel=1e-6)
