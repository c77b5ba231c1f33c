"""Sampler settings in the words of each server's API."""

from __future__ import annotations

import pytest

import planner
from planner.catalog.records import Sampling
from planner.servers import SERVERS
from planner.servers.requests import deterministic_fields, forgotten_fields

CATALOG = planner.load_catalog()
GREEDY = {"temperature": 0.0, "top_p": 1.0, "top_k": 1, "min_p": 0.0, "seed": 42}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("vllm", GREEDY | {"chat_template_kwargs": {"enable_thinking": False}}),
        ("llama-server", GREEDY | {"chat_template_kwargs": {"enable_thinking": False}}),
        ("mlx-lm", GREEDY | {"chat_template_kwargs": {"enable_thinking": False}}),
        ("localai", GREEDY | {"metadata": {"enable_thinking": "false"}}),
        ("ollama", {"temperature": 0.0, "top_p": 1.0, "seed": 42, "reasoning_effort": "none"}),
    ],
)
def test_a_hybrid_model_is_greedy_without_thinking(server: str, expected: dict[str, object]) -> None:
    assert deterministic_fields(server, CATALOG.model("qwen3-14b")) == expected


def test_a_model_that_always_thinks_keeps_its_vendors_values_and_a_seed() -> None:
    """Values of the model card: temperature 0.6, top-p 0.95."""
    fields = deterministic_fields("vllm", CATALOG.model("deepseek-r1"))
    assert (fields["temperature"], fields["top_p"], fields["seed"]) == (0.6, 0.95, 42)
    assert "chat_template_kwargs" not in fields


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_nobody_is_told_a_repetition_penalty_on_code(server: str) -> None:
    for model in map(CATALOG.model, CATALOG.models):
        assert not {"repetition_penalty", "repeat_penalty"} & set(deterministic_fields(server, model, code=True))


def test_models_that_write_no_text_have_no_profile() -> None:
    models = [model for model in map(CATALOG.model, CATALOG.models) if model.kind == "embedding"]
    assert models
    assert not any(deterministic_fields("vllm", model) for model in models)


def test_what_a_server_forgets_is_said_with_each_request() -> None:
    planned = Sampling(temperature=0.6, top_p=0.95, top_k=20, min_p=0.0, presence_penalty=1.5, seed=42)
    assert forgotten_fields("ollama", planned) == {"temperature": 0.6, "top_p": 0.95}
    assert forgotten_fields("mlx-lm", planned) == {"presence_penalty": 1.5, "seed": 42}
    assert forgotten_fields("vllm", planned) == {"presence_penalty": 1.5}
    assert forgotten_fields("llama-server", planned) == forgotten_fields("localai", planned) == {}
