"""Options that cannot hold together are named as a pair (exit 2); what fails for the machine alone is not (exit 4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import NoFeasiblePlan, UsageError
from planner.hardware.what_if import what_if
from planner.planning.why_not import why_not

from .machines import mac, plan, rtx4090


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


PAIRS: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "qwen3-14b", "family": "gemma-3"}, "--model qwen3-14b", "--family gemma-3"),
    ({"model": "gemma-3-12b-it", "license": "open"}, "--model gemma-3-12b-it", "--license open"),
    ({"model": "qwen3-14b", "exclude": "qwen3"}, "--model qwen3-14b", "--exclude qwen3"),
    ({"model": "qwen3-14b", "context": "1m"}, "--model qwen3-14b", "--context 1m"),
    ({"server": "vllm", "kv_type": "q8_0,f16"}, "--server vllm", "--kv-type q8_0,f16"),
    ({"quant": "AWQ", "exclude": "vllm"}, "--quant AWQ", "--exclude vllm"),
    ({"model": "granite-4.0-micro", "quant": "AWQ"}, "--model granite-4.0-micro", "--quant AWQ"),
    ({"family": "qwen3", "license": "gemma"}, "--family qwen3", "--license gemma"),
    ({"model": "phi-4", "workload": "agent"}, "--model phi-4", "--workload agent"),
    ({"model": "qwen3-14b", "workload": "embedding"}, "--model qwen3-14b", "--workload embedding"),
    ({"model": "qwen3-14b", "roles": "embedding"}, "--model qwen3-14b", "--roles embedding"),
    ({"min_decode": 50, "workload": "embedding"}, "--min-decode 50", "--workload embedding"),
    # Decided before any catalog is asked.
    ({"quant": "Q4_K_M", "min_quant": "Q5_K_M"}, "--quant", "--min-quant"),
    ({"server": "vllm", "exclude": "vllm"}, "--server vllm", "--exclude vllm"),
    ({"max_memory": "vram=1GiB", "headroom": "2GiB"}, "--max-memory vram=1.0 GiB", "--headroom 2.0 GiB"),
]


@pytest.mark.parametrize(("given", "first", "second"), PAIRS)
def test_two_options_that_leave_nothing_are_named(
    catalog: Catalog, given: dict[str, Any], first: str, second: str
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(catalog, rtx4090(catalog), **given)
    assert caught.value.message.startswith(f"{first} and {second} contradict each other: ")
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"family": "gpt-oss", "min_quant": "Q8_0"}, "MXFP4_MOE loses"),
        ({"family": "command", "license": "commercial"}, "licence cc-by-nc-4.0, asked for commercial"),
    ],
)
def test_the_reason_is_that_of_what_the_first_option_leaves(catalog: Catalog, given: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(catalog, rtx4090(catalog), **given)
    assert why in caught.value.message


@pytest.mark.parametrize("dropped", ["model", "quant", "license", "users"])
def test_a_third_option_is_not_blamed(catalog: Catalog, dropped: str) -> None:
    """The pair is found among others, and what the person may keep is not named."""
    given = {"model": "qwen3-14b", "quant": "AWQ", "exclude": "vllm", "license": "open", "users": 4}
    given.pop(dropped)
    if dropped == "quant":
        assert plan(catalog, rtx4090(catalog), **given).plan.services[0].server != "vllm"
        return
    with pytest.raises(UsageError, match=r"^--quant AWQ and --exclude vllm contradict"):
        plan(catalog, rtx4090(catalog), **given)


def test_what_one_option_rules_out_here_is_no_contradiction(catalog: Catalog) -> None:
    """MLX-LM needs a Mac: nothing that a second option could be blamed for."""
    with pytest.raises(NoFeasiblePlan) as caught:
        plan(catalog, rtx4090(catalog), server="mlx-lm", license="open")
    assert caught.value.exit_code == 4
    assert caught.value.message == "--server mlx-lm: mlx-lm is planned on Apple Silicon only"
    assert plan(catalog, mac(catalog), server="mlx-lm", license="open").plan.services


def test_what_does_not_fit_is_no_contradiction(catalog: Catalog) -> None:
    with pytest.raises(NoFeasiblePlan, match="nearest miss"):
        plan(catalog, rtx4090(catalog, "16GiB"), model="deepseek-v3.1", license="open")


def test_a_machine_without_a_gpu_is_said_to_be_one(catalog: Catalog) -> None:
    with pytest.raises(NoFeasiblePlan, match="--gpu-only: no GPU"):
        plan(catalog, what_if(catalog, ram="64GiB", cores=16), gpu_only=True)


def test_a_model_that_only_a_file_describes_needs_an_entry(catalog: Catalog, tmp_path: Path) -> None:
    shapes = {"hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 16, "vocab_size": 32000}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(shapes | {"architectures": ["LlamaForCausalLM"], "intermediate_size": 3072}))
    with pytest.raises(UsageError) as caught:
        plan(catalog, rtx4090(catalog), model=str(file))
    assert "planner catalog add" in (caught.value.hint or "")


def test_why_not_names_the_pair_too(catalog: Catalog) -> None:
    from planner.planning.constraints import constraints_from

    asked = constraints_from(catalog, {"family": "qwen3", "license": "gemma"})
    with pytest.raises(UsageError, match="--family qwen3 and --license gemma"):
        why_not(rtx4090(catalog), catalog, catalog.workload("chat"), "phi-4", asked)


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"model": "qwen3-32b", "min_decode": 500}, "decoding is limited by memory bandwidth"),
        ({"model": "qwen3-14b", "max_ttft": "1ms"}, "reading the prompt is limited by compute"),
    ],
)
def test_impossible_targets_name_the_nearest_plan_and_its_limit(
    catalog: Catalog, given: dict[str, Any], limit: str
) -> None:
    with pytest.raises(NoFeasiblePlan) as caught:
        plan(catalog, rtx4090(catalog), **given)
    assert "the nearest, Qwen3-" in caught.value.message
    assert "in VRAM of GeForce RTX 4090" in caught.value.message
    assert limit in caught.value.message
    assert "--budget-vram" in (caught.value.hint or "")


def test_the_nearest_plan_is_nearest_to_the_demand_and_not_the_fastest_of_all(catalog: Catalog) -> None:
    """A demand on the first token alone: whoever reads the prompt fastest comes nearest, whatever its decode rate."""
    with pytest.raises(NoFeasiblePlan) as wait:
        plan(catalog, rtx4090(catalog), max_ttft="1ms", family="gemma-3")
    with pytest.raises(NoFeasiblePlan) as rate:
        plan(catalog, rtx4090(catalog), min_decode=50000, family="gemma-3")
    assert "gemma-3-270m-it" in wait.value.message
    assert "the nearest, " in rate.value.message
