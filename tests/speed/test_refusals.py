"""Input that makes no sense ends in a PlannerError that names it."""

from __future__ import annotations

import pytest

from planner.errors import CatalogError, PlannerError, UsageError
from planner.hardware.facts import Calibration
from planner.sizing.records import KvType, Placement, Runtime
from planner.speed.constants import load_constants
from tests.speed.machines import GPU, LLAMA_Q4_READ, ask, gpu_pool, host, llama_3_8b, on_3090, rtx_3090, use


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ({"depth": 70_000}, "depth 70000"),
        ({"depth": -1}, "depth -1"),
        ({"prompt": 0}, "prompt_tokens 0"),
        ({"output": 0}, "output_tokens 0"),
        ({"users": 0}, "concurrency 0"),
        ({"users": -3}, "concurrency -3"),
    ],
)
def test_counts(question, names):
    with pytest.raises(UsageError, match=names):
        on_3090(**question)


@pytest.mark.parametrize("field", ["bandwidth_bytes_per_s", "fp16_flops_per_s", "fp32_flops_per_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_rates_of_a_card(field, value):
    with pytest.raises(PlannerError, match=f"gpus.0.{field}"):
        on_3090(hardware=host(rtx_3090(**{field: value})))


def test_rate_of_a_node():
    with pytest.raises(PlannerError, match=r"numa_nodes\.0\.bandwidth_bytes_per_s"):
        on_3090(hardware=host(rtx_3090(), ram_bandwidth=-5.0))


def test_calibration_of_zero():
    machine = host(rtx_3090())
    row = Calibration(engine="llama.cpp", placement_class="dense-gpu", measured_over_predicted=0.0)
    broken = machine.__class__(
        cpu=machine.cpu, numa_nodes=machine.numa_nodes, memory=machine.memory, gpus=machine.gpus, calibration=(row,)
    )
    with pytest.raises(PlannerError, match=r"calibration\.0"):
        on_3090(hardware=broken)


def test_heads_that_cannot_be_divided():
    cards = tuple(rtx_3090() for _ in range(3))
    uses = tuple(use(f"gpu{n}", LLAMA_Q4_READ / 3, layers=32) for n in range(3))
    placement = Placement(kind="tensor-parallel", gpus=(0, 1, 2), tensor_parallel=3)
    with pytest.raises(UsageError, match="32 attention heads") as caught:
        ask(llama_3_8b(), host(*cards), uses, tuple(gpu_pool(n) for n in range(3)), placement, stack="vllm-cuda")
    assert "1, 2, 4, 8, 16" in caught.value.hint


def test_a_gpu_that_is_not_there():
    with pytest.raises(UsageError, match="GPU 1"):
        ask(
            llama_3_8b(),
            host(rtx_3090()),
            (use("gpu0", LLAMA_Q4_READ, layers=32),),
            (gpu_pool(),),
            Placement(kind="gpu", gpus=(1,)),
        )


def test_a_footprint_that_was_not_placed():
    with pytest.raises(PlannerError, match="no bytes per pool"):
        ask(llama_3_8b(), host(rtx_3090()), (), (gpu_pool(),), GPU)


def test_unknown_names():
    with pytest.raises(CatalogError, match="tpu"):
        on_3090(stack="llama.cpp-tpu")
    with pytest.raises(UsageError, match="cache type"):
        on_3090(depth=10, runtime=Runtime(context_tokens=100, kv_type=KvType(k="q7_7", v="f16")))


def test_a_broken_constants_file_names_the_key(tmp_path):
    file = tmp_path / "speed.yaml"
    file.write_text("format_version: '1.0'\nstacks: {}\n")
    with pytest.raises(CatalogError, match="fit"):
        load_constants(file)
