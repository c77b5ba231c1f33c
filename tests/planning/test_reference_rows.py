"""The six scenarios that the matrix was begun with: each reference choice is the plan where its models alone compete on
the hardware that it names, and stands beside the winner with its figures and the reason where all compete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

import planner
from planner.catalog.catalog import Catalog


class Scenario(NamedTuple):
    """Workload, the hardware that the row names, its models, and what must come out: quant, server, placement."""

    workload: str
    machine: dict[str, Any]
    models: Sequence[str]
    quants: Sequence[str]
    server: str
    kinds: Sequence[str]
    names: str


CARD = {"gpus": ["RTX 4090"], "ram": "64GiB", "ram_bandwidth": "80GB/s", "cores": 16}
CPU = {"ram": "64GiB", "ram_bandwidth": "80GB/s", "cores": 16}
SCENARIOS = {
    "one developer": Scenario(
        "prototype", CARD, ["qwen3-14b"], ["Q4_K_M"], "ollama", ["gpu"], "Qwen3-14B Q4_K_M on ollama"
    ),
    "team, 14B": Scenario(
        "team", CARD, ["qwen3-14b"], ["AWQ"], "vllm", ["gpu"], "Qwen3-14B or Qwen3-32B AWQ on vllm in VRAM"
    ),
    "team, both": Scenario(
        "team", CARD, ["qwen3-14b", "qwen3-32b"], ["AWQ"], "vllm", ["gpu"], "Qwen3-14B or Qwen3-32B AWQ on vllm in VRAM"
    ),
    "long documents": Scenario(
        "long-context", CPU, ["llama-3.1-8b-instruct"], ["Q4_K_M"], "llama-server", ["cpu"],
        "Llama-3.1-8B-Instruct Q4_K_M on llama-server on the CPU",
    ),
    "long documents beside a card": Scenario(
        "long-context", CARD, ["llama-3.1-8b-instruct"], ["Q4_K_M"], "llama-server", ["cpu"],
        "Llama-3.1-8B-Instruct Q4_K_M on llama-server on the CPU",
    ),
    "code": Scenario("code", CARD, ["phi-4"], ["Q5_K_M"], "localai", ["gpu"], "phi-4 Q5_K_M on localai in VRAM"),
    "macos": Scenario(
        "macos", {"apple": "M3 Max 40c 128GiB"}, ["qwen3-14b"], ["MLX-4bit"], "mlx-lm", ["unified"],
        "Qwen3-14B MLX-4bit on mlx-lm in unified memory",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return planner.load_catalog()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_the_reference_is_the_plan_where_its_models_alone_compete(catalog: Catalog, scenario: Scenario) -> None:
    machine = planner.what_if(catalog=catalog, **scenario.machine)
    found = planner.recommend(machine, scenario.workload, catalog=catalog, model=scenario.models).plan
    service = found.services[0]
    assert service.model in scenario.models
    assert service.quant in scenario.quants
    assert service.server == scenario.server
    assert service.placement.kind in scenario.kinds
    assert found.matrix_row.reference == scenario.names
    assert "is the plan" in (found.matrix_row.reference_outcome or "")


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_the_reference_stands_beside_a_better_model_with_the_reason(catalog: Catalog, scenario: Scenario) -> None:
    machine = planner.what_if(catalog=catalog, **scenario.machine)
    answer = planner.recommend(machine, scenario.workload, catalog=catalog)
    assert answer.plan.services[0].model not in scenario.models
    assert answer.plan.matrix_row.reference == scenario.names
    outcome = answer.plan.matrix_row.reference_outcome or ""
    for name in scenario.models:
        assert catalog.models[name].name in outcome
    assert "fits with" in outcome
    assert "tok/s" in outcome
    assert "stands lower by ability: less able by" in outcome or "stands lower by usefulness: too weak" in outcome


def test_several_kinds_of_models_stand_behind_one_localai(catalog: Catalog) -> None:
    """The sixth scenario names no model, but the server: text, embeddings and images through one API."""
    machine = planner.what_if(catalog=catalog, **CARD)
    found = planner.recommend(machine, "multimodal", catalog=catalog).plan
    assert {service.role for service in found.services} == {"interactive", "embedding", "image"}
    assert {service.server for service in found.services} == {"localai"}
    assert found.matrix_row.reference == "several models on localai"
    assert found.matrix_row.reference_outcome == "one localai for all roles: as planned"


def test_a_larger_card_takes_the_larger_reference(catalog: Catalog) -> None:
    """32B in 4 bits with ten users' caches needs more than 24 GB: what the plan says of it there."""
    small = planner.what_if(catalog=catalog, **CARD)
    told = planner.recommend(small, "team", catalog=catalog, model=["qwen3-32b", "qwen3-14b"]).plan
    assert "Qwen3-32B AWQ: needs" in (told.matrix_row.reference_outcome or "")
    large = planner.what_if(catalog=catalog, gpus=["L40S"], ram="128GiB", ram_bandwidth="80GB/s", cores=16)
    both = {"model": ["qwen3-14b", "qwen3-32b"], "quant": "AWQ", "prefer": "quality"}
    found = planner.recommend(large, "team", catalog=catalog, **both).plan
    assert (found.services[0].model, found.services[0].quant) == ("qwen3-32b", "AWQ")
    assert "Qwen3-32B AWQ: is the plan" in (found.matrix_row.reference_outcome or "")


def test_only_the_models_that_are_named_compete(catalog: Catalog) -> None:
    machine = planner.what_if(catalog=catalog, **CARD)
    answer = planner.recommend(machine, catalog=catalog, model=["phi-4", "qwen3-8b"])
    assert {answer.plan.services[0].model, *(other.model for other in answer.alternatives)} == {"phi-4", "qwen3-8b"}
    assert answer.plan.options["model"] == "phi-4, qwen3-8b"
    with pytest.raises(planner.PlannerError, match="--model phi-4 and --exclude phi-4 contradict each other"):
        planner.recommend(machine, catalog=catalog, model=["qwen3-8b", "phi-4"], exclude="phi-4")
