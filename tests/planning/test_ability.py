"""Ability: published evidence moves a model from what its size and date suggest; quants take away what was measured."""

from __future__ import annotations

from math import log2

import pytest

from planner.catalog.records import Model, Quant, Workload
from planner.catalog.records.model import Score
from planner.catalog.records.quant import QuantLoss
from planner.planning.ability import (
    DOUBLINGS_PER_YEAR,
    MOST_DEVIATION,
    UNPROVEN,
    abilities,
    benchmark_lines,
    kl_divergence,
    lost_doublings,
    prior_of,
    years_since_2024,
)

WORKLOAD = Workload(id="chat", title="", prompt_tokens=1, output_tokens=1, context_tokens=8)


def model(name: str, score: float | None = None, tags: tuple[str, ...] = (), benchmark: str = "Test") -> Model:
    scores = () if score is None else (Score(benchmark=benchmark, value=score, source="test"),)
    return Model(id=name, name=name, family="test", released="2024-01", scores=scores, tags=tags)


def sizes(*models: Model) -> dict[str, tuple[int, int]]:
    return {each.id: (2**number * 10**9, 2**number * 10**9) for number, each in enumerate(models)}


def test_the_prior_is_doublings_of_size_plus_generation() -> None:
    assert prior_of(8 * 10**9, 8 * 10**9, "2024-01") == pytest.approx(3.0)
    assert prior_of(8 * 10**9, 8 * 10**9, "2025-01") == pytest.approx(3.0 + DOUBLINGS_PER_YEAR)
    # Qwen3-30B-A3B: the geometric mean of 30.5 and 3.3 is about 10 billion.
    assert prior_of(30_500_000_000, 3_300_000_000, "2024-01") == pytest.approx(log2(10.03), abs=0.01)


@pytest.mark.parametrize(("text", "years"), [("2024-01", 0.0), ("2025-07-01", 1.5), ("2024", 0.5), (None, 1.0)])
def test_dates_become_years(text: str | None, years: float) -> None:
    assert years_since_2024(text) == pytest.approx(years)


def test_scores_on_the_line_confirm_the_prior_and_one_above_it_lifts_the_model() -> None:
    family = [model(f"m{number}", 10.0 + 5 * number) for number in range(10)]
    counts = sizes(*family)
    found = abilities({each.id: each for each in family}, lambda each: counts[each.id], WORKLOAD)
    assert [found[f"m{number}"].doublings for number in range(10)] == pytest.approx([float(n) for n in range(10)])
    lifted = [*family[:4], model("m4", 10.0 + 5 * 6), *family[5:]]
    better = abilities({each.id: each for each in lifted}, lambda each: counts[each.id], WORKLOAD)
    assert better["m4"].doublings > found["m4"].doublings + 0.5


def test_one_figure_moves_a_model_by_a_bounded_amount() -> None:
    family = [model(f"m{number}", 10.0 + 5 * number) for number in range(10)]
    wild = model("wild", 60.0)
    counts = {**sizes(*family), "wild": (10**9, 10**9)}
    models = {each.id: each for each in (*family, wild)}
    found = abilities(models, lambda each: counts[each.id], WORKLOAD)["wild"]
    assert found.prior < found.doublings <= found.prior + MOST_DEVIATION / 2


def test_without_comparable_scores_a_model_counts_less_than_its_prior() -> None:
    alone = model("alone", 50.0)
    found = abilities({"alone": alone}, lambda _: (8 * 10**9, 8 * 10**9), WORKLOAD)["alone"]
    assert found.doublings == pytest.approx(3.0 - UNPROVEN)
    assert found.scores == 0
    assert "no published score" in found.basis


def test_few_scores_or_a_falling_line_say_nothing_of_a_benchmark() -> None:
    few = [model(f"m{n}", float(n)) for n in range(7)]
    falling = [model(f"f{n}", -float(n)) for n in range(9)]
    assert benchmark_lines(few, {each.id: float(n) for n, each in enumerate(few)}) == {}
    assert benchmark_lines(falling, {each.id: float(n) for n, each in enumerate(falling)}) == {}


def test_a_preferred_tag_is_half_a_doubling() -> None:
    coder, plain = model("coder", tags=("code",)), model("plain")
    code = Workload(id="code", title="", prompt_tokens=1, output_tokens=1, context_tokens=8, prefer_tags=("code",))
    found = abilities({"coder": coder, "plain": plain}, lambda _: (10**9, 10**9), code)
    assert found["coder"].doublings - found["plain"].doublings == pytest.approx(0.5)


def quant(bits: float, kl: float | None = None) -> Quant:
    loss = None if kl is None else QuantLoss(kl_divergence=kl, source="test")
    return Quant(id="Q", format="gguf", scheme="k-mix", nominal_bits=bits, speed_class="4bit-k", loss=loss)


def test_measured_loss_counts_and_unmeasured_loss_is_said_to_be_assumed() -> None:
    assert kl_divergence(quant(4.0, 0.02)) == (0.02, True)
    assert kl_divergence(quant(4.0)) == (0.031, False)
    # KL 0.445 of Q2_K on Llama-3-8B: between a 13B and a 7B of LLaMA lie 0.117 nats, so about 3.6 doublings.
    assert lost_doublings(quant(2.0, 0.445)) == pytest.approx(3.6, abs=0.05)


def test_fewer_bits_never_lose_less_by_assumption() -> None:
    losses = [lost_doublings(quant(bits)) for bits in (8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.5)]
    assert losses == sorted(losses)
