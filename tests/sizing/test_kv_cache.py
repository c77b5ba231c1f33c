"""Caches against what llama-server logged, and against hand arithmetic for vLLM and MLX."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.errors import PlannerError
from planner.sizing.kv_cache import layer_caches, llama_cells
from planner.sizing.records import Allocation, ExpandedModel, KvType, LayerCache, Runtime
from tests.sizing.measured import LLAMA, MLX, VLLM, load_model, load_runtime, measured_model, rows

MIB = 1024**2


def _kv(expanded: ExpandedModel, runtime: Runtime, allocation: Allocation, ranks: int = 1) -> int:
    return sum(cache.kv * len(cache.layers) for cache in layer_caches(expanded, runtime, allocation, ranks))


def _state(expanded: ExpandedModel, runtime: Runtime, allocation: Allocation) -> int:
    return sum(cache.state * len(cache.layers) for cache in layer_caches(expanded, runtime, allocation))


def test_every_measured_load() -> None:
    """Keys, values and recurrent state of 439 loads and dry runs, to the log's rounding."""
    measured = rows("llama_server_loads.csv")
    assert len(measured) == 439
    for row in measured:
        expanded, runtime = load_model(row), load_runtime(row)
        assert _kv(expanded, runtime, LLAMA) / MIB == pytest.approx(float(row["kv_MiB"]), abs=0.01), row["model"]
        assert _state(expanded, runtime, LLAMA) / MIB == pytest.approx(float(row["rs_MiB"]), abs=0.01), row["model"]
        assert llama_cells(runtime).n_ctx == int(row["n_ctx"])


@pytest.mark.parametrize(
    ("name", "kv_type", "mib"),
    [
        ("Llama-3.1-8B", "f16", 4096),
        ("Llama-3.1-8B", "q8_0", 2176),
        ("Llama-3.1-8B", "q4_0", 1152),
        ("DeepSeek-V3", "f16", 2196),
        ("gpt-oss-20b", "f16", 786),
        ("Qwen3.5-27B", "f16", 2048),
    ],
)
def test_worked_examples_at_32768(name: str, kv_type: str, mib: float) -> None:
    runtime = Runtime(context_tokens=32768, kv_type=KvType(k=kv_type, v=kv_type))
    assert _kv(measured_model(name), runtime, LLAMA) == mib * MIB


def test_recurrent_state_is_per_slot() -> None:
    """Qwen3.5-27B: 149.62 MiB for one slot, 598.50 for four (logged)."""
    for slots, mib in ((1, 149.625), (4, 598.5)):
        runtime = Runtime(context_tokens=4096, parallel=slots)
        assert _state(measured_model("Qwen3.5-27B"), runtime, LLAMA) == mib * MIB


def test_window_cells_follow_micro_batch_and_slots() -> None:
    """gpt-oss (window 128): 768 cells, 2304 at ubatch 2048, 1024 for four slots in one pool."""
    cases = ((Runtime(context_tokens=32768), 768), (Runtime(context_tokens=32768, ubatch=2048), 2304))
    pool = Runtime(context_tokens=8192, parallel=4, kv_unified=True)
    for runtime, cells in (*cases, (pool, 1024)):
        assert llama_cells(runtime).window(128, runtime) == cells
    whole = Runtime(context_tokens=32768, swa_full=True)
    assert llama_cells(whole).window(128, whole) == 32768


def test_phi3_keeps_its_whole_context() -> None:
    """llama.cpp ignores the window that Phi-3 states."""
    full = measured_model("Phi-3.5-mini")
    layers = full.caches[0]
    windowed = replace(full, caches=(replace(layers, kind="window", window=2048),))
    runtime = Runtime(context_tokens=16384)
    assert _kv(windowed, runtime, LLAMA) == _kv(full, runtime, LLAMA)


@pytest.mark.parametrize(
    ("kv_type", "flash", "cache", "says"),
    [
        (KvType(k="f16", v="q8_0"), False, {}, "flash attention"),
        (KvType(k="q8_0", v="q8_0"), True, {"k_width": 160, "v_width": 160, "heads": 2}, "multiple"),
        (KvType(k="q8_0", v="f16"), True, {"mla": True, "k_width": 576, "v_width": 0, "heads": 1}, "differ"),
        (KvType(k="fp8", v="fp8"), True, {}, "no cache type"),
    ],
)
def test_what_llama_cpp_refuses(kv_type: KvType, flash: bool, cache: dict[str, int], says: str) -> None:
    widths = {"k_width": 128, "v_width": 128, "heads": 1, **cache}
    own = LayerCache(kind="full", layers=(0,), **widths)  # type: ignore[arg-type]
    model = replace(measured_model("Llama-3.2-1B"), caches=(own,))
    with pytest.raises(PlannerError, match=says):
        layer_caches(model, Runtime(context_tokens=4096, kv_type=kv_type, flash_attention=flash), LLAMA)


def test_vllm_pages_by_hand() -> None:
    """Llama-3.1-8B: 128 KiB per token in 16 bit, whole pages of 16 tokens, half of it in fp8."""
    model = measured_model("Llama-3.1-8B")
    assert _kv(model, Runtime(context_tokens=1000), VLLM) == 1008 * 128 * 1024
    eight = Runtime(context_tokens=1008, kv_type=KvType(k="fp8", v="fp8"))
    assert _kv(model, eight, VLLM) == 1008 * 64 * 1024


def test_vllm_copies_heads_beyond_their_number() -> None:
    """8 KV heads over 16 ranks are held twice; latent caches on every rank."""
    runtime = Runtime(context_tokens=1024)
    model = measured_model("Llama-3.1-8B")
    assert _kv(model, runtime, VLLM, 8) == _kv(model, runtime, VLLM)
    assert _kv(model, runtime, VLLM, 16) == 2 * _kv(model, runtime, VLLM)
    latent = measured_model("DeepSeek-V3")
    assert _kv(latent, runtime, VLLM, 8) == 8 * 61 * 1024 * 576 * 2


def test_vllm_hybrid_pages_hold_a_state() -> None:
    """Each recurrent layer takes one page, which is at least its state."""
    model = measured_model("Qwen3.5-27B")
    recurrent = next(cache for cache in model.caches if cache.kind == "recurrent")
    state = 2 * recurrent.conv_elements + 4 * recurrent.state_elements
    assert _state(model, Runtime(context_tokens=8192), VLLM) >= state * len(recurrent.layers)


def test_vllm_refuses_foreign_types() -> None:
    with pytest.raises(PlannerError, match="no cache type"):
        _kv(measured_model("Llama-3.1-8B"), Runtime(context_tokens=64, kv_type=KvType(k="q8_0", v="q8_0")), VLLM)


def test_mlx_grows_in_steps_and_rotates() -> None:
    """1000 tokens take 1024; a window of 1024 keeps itself and one prefill step of 2048, less one."""
    model = measured_model("Llama-3.1-8B")
    assert _kv(model, Runtime(context_tokens=1000), MLX) == 1024 * 128 * 1024
    eight = Runtime(context_tokens=1000, kv_type=KvType(k="q8", v="q8"))
    assert _kv(model, eight, MLX) == 1024 * 65536 * 8.5 / 8
    gemma = measured_model("gemma-3-4b")
    window = next(cache for cache in gemma.caches if cache.kind == "window")
    own = next(c for c in layer_caches(gemma, Runtime(context_tokens=32768), MLX) if c.layers == window.layers)
    assert own.kv == (1024 + 2047) * (window.k_width + window.v_width) * 2
