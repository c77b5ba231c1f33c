"""The placement behind `estimate`: chosen as planning would, or forced by the caller."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import NoFeasiblePlan, UsageError
from planner.hardware.facts import Hardware
from planner.planning.estimate import estimate_placed
from planner.sizing.records import Runtime
from planner.speed.records import Speed
from tests.planning.machines import rtx4090, two_nodes


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def ask(catalog: Catalog, machine: Hardware, model: str = "qwen3-14b", **forced: object) -> Speed:
    runtime = Runtime(context_tokens=8192)
    quant = catalog.quant("Q4_K_M")
    return estimate_placed(catalog.model(model), quant, "llama-server", machine, runtime, **forced)  # type: ignore[arg-type]


def rate(speed: Speed) -> float:
    assert speed.decode_tokens_per_s is not None
    return speed.decode_tokens_per_s.expected


def kind(speed: Speed) -> str:
    assert speed.placement is not None
    return speed.placement.kind


def test_without_a_placement_the_one_that_fits_is_named(catalog: Catalog) -> None:
    assert kind(ask(catalog, rtx4090(catalog))) == "gpu"
    assert kind(ask(catalog, rtx4090(catalog), "qwen3-next-80b-a3b-instruct")) == "experts-in-ram"
    with pytest.raises(NoFeasiblePlan):
        ask(catalog, rtx4090(catalog), "deepseek-v3.1")


@pytest.mark.parametrize(
    ("model", "forced", "expected"),
    [
        ("qwen3-14b", {"gpu_layers": "all"}, "gpu"),
        ("qwen3-14b", {"gpu_layers": 99}, "gpu"),
        ("qwen3-14b", {"gpu_layers": 20}, "split"),
        ("qwen3-14b", {"gpu_layers": 0}, "cpu"),
        ("qwen3-30b-a3b", {"cpu_experts": "all"}, "experts-in-ram"),
        ("qwen3-30b-a3b", {"cpu_experts": 0}, "gpu"),
    ],
)
def test_what_is_forced_is_used(catalog: Catalog, model: str, forced: dict[str, object], expected: str) -> None:
    assert kind(ask(catalog, rtx4090(catalog), model, **forced)) == expected


def test_more_layers_in_vram_are_faster(catalog: Catalog) -> None:
    rates = [rate(ask(catalog, rtx4090(catalog), gpu_layers=count)) for count in (0, 10, 20, 30, "all")]
    assert rates == sorted(rates)
    assert len(set(rates)) == len(rates)


def test_numa_policies_are_taken_as_named(catalog: Catalog) -> None:
    for policy in ("bind", "interleave"):
        placement = ask(catalog, two_nodes(catalog), numa=policy).placement
        assert placement is not None
        assert placement.numa == policy


def test_a_smaller_file_is_read_faster(catalog: Catalog) -> None:
    machine = rtx4090(catalog)
    assert rate(ask(catalog, machine, file_bytes=8 * 10**9)) > rate(ask(catalog, machine, file_bytes=9 * 10**9))


@pytest.mark.parametrize(
    "forced",
    [
        {"cpu_experts": "all"},
        {"gpu_layers": "most"},
        {"gpu_layers": -1},
        {"tensor_parallel": 2},
        {"numa": "sideways", "gpu_layers": 0},
        {"file_bytes": 0},
    ],
)
def test_what_cannot_be_is_a_usage_error(catalog: Catalog, forced: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ask(catalog, rtx4090(catalog), **forced)
