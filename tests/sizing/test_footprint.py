"""Whole footprints against what llama-server projected, parts, and the capacity solver."""

from __future__ import annotations

import pytest

from planner.sizing.capacity import max_context, max_parallel
from planner.sizing.footprint import size_model
from planner.sizing.records import Allocation, KvType, Placement, Pool, Runtime
from tests.sizing.measured import LLAMA, MLX, VLLM, a_quant, load_model, load_runtime, measured_model, rows

MIB, GIB = 1024**2, 1024**3
GPU = Placement(kind="gpu", gpus=(0,))
POOLS = (
    Pool(id="gpu0", kind="gpu", capacity_bytes=24 * GIB, usable_bytes=24 * GIB, gpu=0),
    Pool(id="ram", kind="ram", capacity_bytes=64 * GIB, usable_bytes=64 * GIB),
)


@pytest.mark.parametrize(
    ("name", "runtime", "mib"),
    [
        ("Llama-3.1-8B", Runtime(context_tokens=32768), 8937),
        ("Llama-3.1-8B", Runtime(context_tokens=32768, kv_type=KvType(k="q8_0", v="q8_0")), 7017),
        ("Llama-3.1-8B", Runtime(context_tokens=32768, flash_attention=False), 10945),
        ("Qwen3.5-27B", Runtime(context_tokens=32768), 18151),
    ],
)
def test_worked_totals(name: str, runtime: Runtime, mib: int) -> None:
    """What `llama-server --fit` logged: model, context and compute, without the output buffer."""
    footprint = size_model(measured_model(name), a_quant("Q4_K_M"), runtime, LLAMA, server="llama-server")
    assert (footprint.total_bytes - footprint.overhead_bytes) / MIB == pytest.approx(mib, abs=3)


def test_projected_totals_of_all_dry_runs() -> None:
    """165 dry runs of real shapes; the work buffer is the only part that is not exact, and prediction layers
    are not loaded."""
    projected = [row for row in rows("llama_server_loads.csv") if row["projected_total_MiB"]]
    assert len(projected) == 165
    for row in projected:
        footprint = size_model(load_model(row), a_quant(row["ftype"]), load_runtime(row), LLAMA, server="llama-server")
        found = (footprint.total_bytes - footprint.overhead_bytes) / MIB
        assert found == pytest.approx(float(row["projected_total_MiB"]), rel=0.009), row["model"]


@pytest.mark.parametrize("allocation", [LLAMA, VLLM, MLX], ids=lambda allocation: allocation.policy)
@pytest.mark.parametrize("placement", [None, GPU], ids=["whole", "placed"])
def test_parts_sum_to_the_total(allocation: Allocation, placement: Placement | None) -> None:
    for name in ("Qwen3-0.6B", "Qwen3.5-35B-A3B", "GLM-4.5-Air"):
        footprint = size_model(
            measured_model(name),
            a_quant("Q4_K_M"),
            Runtime(context_tokens=4096, parallel=2),
            allocation,
            server="any",
            placement=placement,
            pools=POOLS,
        )
        assert sum(part.bytes for part in footprint.parts) == footprint.total_bytes
        if placement:
            assert sum(use.total_bytes for use in footprint.pools) == footprint.total_bytes


def test_device_overhead_is_per_gpu_and_named() -> None:
    allocation = Allocation(
        policy="llama.cpp", buffers="llama.cpp", device_overhead_bytes=300 * MIB, device_overhead_source="here"
    )
    footprint = size_model(
        measured_model("Llama-3.2-1B"),
        a_quant("Q8_0"),
        Runtime(context_tokens=4096),
        allocation,
        server="llama-server",
        placement=GPU,
        pools=POOLS,
    )
    context = next(part for part in footprint.parts if part.name == "device context")
    assert (context.bytes, context.note) == (300 * MIB, "here")


def test_bytes_per_token_are_those_of_growth() -> None:
    """Llama-3.1-8B: 2 x 32 x 1024 x 2 bytes; gemma-3 counts its full layers only."""
    runtime = Runtime(context_tokens=8192)
    llama = size_model(measured_model("Llama-3.1-8B"), a_quant("Q4_K_M"), runtime, LLAMA, server="x")
    assert llama.kv_bytes_per_token == 131072
    gemma = size_model(measured_model("gemma-3-4b"), a_quant("Q4_K_M"), runtime, LLAMA, server="x")
    assert gemma.kv_bytes_per_token == 5 * 2 * 1024 * 2


def test_longest_context_is_the_last_that_fits() -> None:
    model, quant, runtime = measured_model("Llama-3.1-8B"), a_quant("Q4_K_M"), Runtime(context_tokens=1)
    found = max_context(model, quant, runtime, LLAMA, GPU, POOLS, limit_tokens=1 << 20, free_bytes={"gpu0": 8 * GIB})

    def on_gpu(tokens: int) -> int:
        return (
            size_model(model, quant, Runtime(context_tokens=tokens), LLAMA, server="x", placement=GPU, pools=POOLS)
            .pools[0]
            .total_bytes
        )

    assert found % 256 == 0
    assert on_gpu(found) <= 8 * GIB < on_gpu(found + 256)


def test_context_is_capped_and_zero_when_nothing_fits() -> None:
    model, quant, runtime = measured_model("Llama-3.2-1B"), a_quant("Q4_K_M"), Runtime(context_tokens=1)
    assert max_context(model, quant, runtime, LLAMA, GPU, POOLS, limit_tokens=8000) == 8000
    assert max_context(model, quant, runtime, LLAMA, GPU, POOLS, limit_tokens=8192, free_bytes={"gpu0": GIB // 2}) == 0


def test_most_users_with_their_own_context() -> None:
    model, quant, runtime = measured_model("Llama-3.1-8B"), a_quant("Q4_K_M"), Runtime(context_tokens=8192)
    found = max_parallel(model, quant, runtime, LLAMA, GPU, POOLS)
    # 24 GiB less 4.3 GiB of weights, a GiB of cache each.
    assert found == 19
