"""What must hold for every runtime: more is never less, growth is linear, pools keep every byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from planner.sizing.footprint import size_model
from planner.sizing.place import place
from planner.sizing.quantize import quantize
from planner.sizing.records import Allocation, Footprint, KvType, Placement, Pool, Runtime
from tests.sizing.measured import LLAMA, MLX, VLLM, a_quant, measured_model

GIB = 1024**3
MODELS = ("Llama-3.1-8B", "gemma-3-4b", "DeepSeek-V2-Lite", "Qwen3.5-35B-A3B", "Nemotron-Nano-9B-v2", "gpt-oss-20b")
models = st.sampled_from(MODELS)
allocations = st.sampled_from((LLAMA, VLLM, MLX))
contexts = st.integers(1, 1 << 18)


def _size(name: str, allocation: Allocation, quant: str = "Q4_K_M", **runtime: object) -> Footprint:
    return size_model(measured_model(name), a_quant(quant), Runtime(**runtime), allocation, server="x")  # type: ignore[arg-type]


@given(models, allocations, contexts, st.integers(0, 1 << 17), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_longer_contexts_never_take_less(
    name: str, allocation: Allocation, context: int, more: int, users: int
) -> None:
    small = _size(name, allocation, context_tokens=context, parallel=users)
    large = _size(name, allocation, context_tokens=context + more, parallel=users)
    assert large.kv_cache_bytes >= small.kv_cache_bytes
    assert large.total_bytes >= small.total_bytes


@given(models, allocations, contexts, st.integers(1, 16), st.booleans())
@settings(max_examples=60, deadline=None)
def test_more_slots_never_take_less(name: str, allocation: Allocation, context: int, users: int, unified: bool) -> None:
    few = _size(name, allocation, context_tokens=context, parallel=users, kv_unified=unified)
    many = _size(name, allocation, context_tokens=context, parallel=users + 1, kv_unified=unified)
    assert many.total_bytes >= few.total_bytes


@given(models, st.integers(8, 512), st.integers(1, 64))
@settings(max_examples=40, deadline=None)
def test_growth_beyond_the_window_is_linear(name: str, blocks: int, more: int) -> None:
    """In whole paddings, keys and values grow by the stated bytes per token and nothing else."""
    low, high = ((8192 + blocks * 256), (8192 + (blocks + more) * 256))
    small, large = (_size(name, LLAMA, context_tokens=tokens) for tokens in (low, high))
    assert large.kv_cache_bytes - small.kv_cache_bytes == small.kv_bytes_per_token * (high - low)


@given(models, st.sampled_from(("q4_0", "q5_0", "q8_0", "f16")), contexts)
@settings(max_examples=40, deadline=None)
def test_wider_cache_types_never_take_less(name: str, kv_type: str, context: int) -> None:
    order = ("q4_0", "q5_0", "q8_0", "f16", "f32")
    wider = order[order.index(kv_type) + 1]
    narrow, wide = (
        _size(name, LLAMA, context_tokens=context, kv_type=KvType(k=kind, v=kind)) for kind in (kv_type, wider)
    )
    assert wide.kv_cache_bytes >= narrow.kv_cache_bytes


@pytest.mark.parametrize("name", MODELS)
def test_more_bits_never_take_less(name: str) -> None:
    order = ("IQ2_XXS", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16", "F32")
    sizes = [quantize(measured_model(name), a_quant(quant)).tensor_bytes for quant in order]
    assert sizes == sorted(sizes)


@given(
    models,
    st.integers(0, 60),
    st.integers(0, 60),
    st.lists(st.integers(1, 80), min_size=1, max_size=4),
    contexts,
)
@settings(max_examples=80, deadline=None)
def test_every_placement_keeps_every_byte(
    name: str, gpu_layers: int, expert_layers: int, gpus: list[int], context: int
) -> None:
    pools = tuple(
        Pool(id=f"gpu{i}", kind="gpu", capacity_bytes=size * GIB, usable_bytes=size * GIB, gpu=i)
        for i, size in enumerate(gpus)
    )
    ram = tuple(
        Pool(id=f"node{i}", kind="ram", capacity_bytes=64 * GIB, usable_bytes=(64 - i) * GIB, node=i) for i in range(3)
    )
    placement = Placement(
        kind="split", gpus=tuple(range(len(gpus))), gpu_layers=gpu_layers, cpu_expert_layers=expert_layers
    )
    model, runtime = measured_model(name), Runtime(context_tokens=context, parallel=3)
    quantized = quantize(model, a_quant("Q4_K_M"))
    placed = place(model, quantized, runtime, LLAMA, placement, pools + ram)
    copies = quantized.tied_bytes if gpu_layers else 0
    assert sum(use.weights_bytes for use in placed.uses) == quantized.weights_bytes + copies
    parts = placed.weights_bytes + placed.kv_cache_bytes + placed.state_bytes + placed.compute_bytes
    assert sum(use.total_bytes for use in placed.uses) == parts + placed.overhead_bytes
    assert sum(use.layers for use in placed.uses) == len(quantized.blocks)
    reads = sum(use.dense_read_bytes + use.expert_read_bytes for use in placed.uses)
    assert reads == quantized.read_bytes_per_token
    assert all(use.total_bytes >= 0 for use in placed.uses)
