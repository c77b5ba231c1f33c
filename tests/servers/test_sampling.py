"""Sampler settings by model, mode and intent. Figures: model cards of the vendors."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.catalog.load import load_catalog
from planner.catalog.records import Model, Sampling, SamplingValues
from planner.catalog.records.model import VendorSampling
from planner.servers.sampling import SEED, choose_sampling, template_switch, with_neutral
from tests.servers.examples import EMBEDDING, GPT_OSS, QWEN3_14B, R1

MODELS = load_catalog().models


def shown(sampling: Sampling) -> tuple[float | int | None, ...]:
    return sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (QWEN3_14B, (0.6, 0.95, 20, 0.0)),  # thinks unless told otherwise
        (replace(QWEN3_14B, id="qwen3-4b-instruct-2507", thinking="no"), (0.7, 0.8, 20, 0.0)),
        (R1, (0.6, 0.95, None, None)),
        (GPT_OSS, (1.0, 1.0, 0, 0.0)),
        (Model(id="gemma-3-27b-it", name="Gemma", family="gemma-3"), (1.0, 0.95, 64, 0.0)),
        (Model(id="llama-3.3-70b-instruct", name="Llama", family="llama-3.3"), (0.6, 0.9, None, None)),
        (Model(id="mistral-small-3.2", name="Mistral", family="mistral-small"), (0.15, None, None, None)),
        (Model(id="new", name="New", family="new"), (None, None, None, None)),
    ],
)
def test_vendor_values_of_families(model: Model, values: tuple[float | None, ...]) -> None:
    assert shown(choose_sampling(model, "vendor")) == values


def test_the_catalog_entry_is_stronger_than_the_family() -> None:
    stated = VendorSampling(default=SamplingValues(temperature=0.3, top_p=0.5))
    assert shown(choose_sampling(replace(QWEN3_14B, sampling=stated), "vendor")) == (0.3, 0.5, None, None)


def test_deterministic_is_greedy_where_the_model_allows_it() -> None:
    plain = choose_sampling(Model(id="phi-4", name="Phi-4", family="phi-4"), "deterministic")
    assert (*shown(plain), plain.seed, plain.thinking) == (0.0, 1.0, 1, 0.0, SEED, None)
    hybrid = choose_sampling(QWEN3_14B, "deterministic")
    assert (hybrid.temperature, hybrid.thinking) == (0.0, False)
    assert "thinking switched off" in hybrid.reason


@pytest.mark.parametrize("model", [R1, GPT_OSS])
def test_deterministic_on_a_model_that_always_thinks_keeps_the_vendors_values(model: Model) -> None:
    sampling = choose_sampling(model, "deterministic")
    assert shown(sampling) == shown(choose_sampling(model, "vendor"))
    assert sampling.seed == SEED
    assert sampling.thinking is None
    assert "vendor's values" in sampling.reason


def test_no_repetition_penalty_on_code() -> None:
    coder = MODELS["qwen3-coder-480b-a35b-instruct"]
    assert coder.sampling is not None
    assert coder.sampling.default.repetition_penalty == 1.05  # what the vendor advises
    assert choose_sampling(coder, "vendor").repetition_penalty is None
    assert "code" in choose_sampling(coder, "vendor").reason
    general = replace(coder, id="x", family="x", tags=())
    assert choose_sampling(general, "vendor").repetition_penalty == 1.05
    assert choose_sampling(general, "vendor", code=True).repetition_penalty is None


def test_models_that_write_nothing_have_no_sampler() -> None:
    assert shown(choose_sampling(EMBEDDING, "deterministic")) == (None, None, None, None)


def test_every_model_of_the_catalog_has_a_reason_and_no_penalty_when_deterministic() -> None:
    for model in MODELS.values():
        for intent in ("vendor", "deterministic"):
            sampling = choose_sampling(model, intent)
            assert sampling.reason
            if intent == "deterministic" and model.thinking in ("no", "hybrid"):
                assert sampling.repetition_penalty is None


def test_neutral_values_fill_only_what_was_planned() -> None:
    assert shown(with_neutral(Sampling(temperature=0.6, top_p=0.95))) == (0.6, 0.95, 0, 0.0)
    assert with_neutral(Sampling(seed=1)) == Sampling(seed=1)


def test_the_template_switch_by_family() -> None:
    assert template_switch(QWEN3_14B) == {"enable_thinking": False}
    assert template_switch(Model(id="deepseek-v3.1", name="D", family="deepseek-v3")) == {"thinking": False}
