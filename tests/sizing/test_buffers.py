"""Work buffers against llama-server's log; vLLM's against the one published profile."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.sizing.buffers import compute_buffer, host_buffer_bytes, output_buffer_bytes
from planner.sizing.records import Runtime
from tests.sizing.measured import LLAMA, MLX, VLLM, load_model, load_runtime, measured_model, rows

MIB, GIB = 1024**2, 1024**3


def _errors(kind: str) -> list[tuple[str, float]]:
    """Relative error per load; `kind` is small random-weight models, or real widths."""
    found = []
    for row in rows("llama_server_loads.csv"):
        if (row["kind"] == "load-random-small") == (kind == "small"):
            part = compute_buffer(load_model(row), load_runtime(row), LLAMA)
            error = part.bytes / (float(row["compute_MiB"]) * MIB) - 1
            # The log prints hundredths of a MiB; quantized caches add 0.05 to 0.3 MiB, full masks a little per slot.
            slack = 0.55 / float(row["compute_MiB"])
            found.append((row["model"], max(abs(error) - slack, 0.0) - part.error_fraction))
    return found


def test_real_widths_lie_within_the_stated_error() -> None:
    errors = _errors("real")
    assert len(errors) == 322
    assert [name for name, beyond in errors if beyond > 0] == []


def test_small_models_lie_within_a_third() -> None:
    """Toy widths, where other tensors decide: never far under what was logged."""
    for row in rows("llama_server_loads.csv"):
        if row["kind"] == "load-random-small":
            part = compute_buffer(load_model(row), load_runtime(row), LLAMA)
            ratio = part.bytes / (float(row["compute_MiB"]) * MIB)
            assert 0.87 < ratio < 1.34, row


@pytest.mark.parametrize(("flash", "mib"), [(True, 156.02), (False, 2164.01)])
def test_llama_3_1_8b_at_32768(flash: bool, mib: float) -> None:
    runtime = Runtime(context_tokens=32768, flash_attention=flash)
    buffer = compute_buffer(measured_model("Llama-3.1-8B"), runtime, LLAMA)
    assert buffer.bytes / MIB == pytest.approx(mib, rel=0.01)


def test_output_buffer_is_one_row_of_logits_per_slot() -> None:
    for row in rows("llama_server_loads.csv"):
        found = output_buffer_bytes(load_model(row), load_runtime(row), LLAMA) / MIB
        assert found == pytest.approx(float(row["output_MiB"]), abs=0.0055)


def test_host_side_of_a_gpu_graph_is_inputs_and_masks() -> None:
    """512 tokens: 2 bytes per cell of the mask and 4 per input element."""
    found = host_buffer_bytes(measured_model("Llama-3.1-8B"), Runtime(context_tokens=32768), LLAMA)
    assert found == 512 * (2 * 32768 + 4 * 4096)


def test_vllm_activations_of_llama_3_8b() -> None:
    """1.26 GiB at 8192 tokens a step and 256 sequences (vLLM PR 10511)."""
    allocation = replace(VLLM, batch_tokens=8192)
    part = compute_buffer(measured_model("Llama-3.1-8B"), Runtime(context_tokens=8192, parallel=256), allocation)
    assert part.bytes / GIB == pytest.approx(1.26, rel=0.05)
    assert part.basis == "assumed"


def test_ranks_divide_activations() -> None:
    runtime = Runtime(context_tokens=8192)
    model = measured_model("Llama-3.1-8B")
    assert compute_buffer(model, runtime, VLLM, 2).bytes < compute_buffer(model, runtime, VLLM, 1).bytes


def test_mlx_holds_one_prefill_step() -> None:
    """2048 tokens x 2 bytes x (4 x 4096 + 3 x 14336), and one row of logits in F32."""
    part = compute_buffer(measured_model("Llama-3.1-8B"), Runtime(context_tokens=8192), MLX)
    assert part.bytes == 2048 * 2 * (4 * 4096 + 3 * 14336) + 4 * 128256
