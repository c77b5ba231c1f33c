"""Pools of a machine, and placements over them."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.hardware.facts import Gpu, Hardware, Memory, NumaNode
from planner.sizing.place import Placed, place
from planner.sizing.pools import machine_pools
from planner.sizing.quantize import quantize
from planner.sizing.records import Allocation, Placement, Pool, Runtime
from tests.sizing.measured import LLAMA, VLLM, a_quant, measured_model

GIB = 1024**3
RUNTIME = Runtime(context_tokens=8192, parallel=2)


def _gpu(gib: float, **more: object) -> Gpu:
    return Gpu(vendor="nvidia", name="card", backend="cuda", memory_bytes=int(gib * GIB), **more)  # type: ignore[arg-type]


def _pools(*gpu_gib: float, nodes: int = 1) -> tuple[Pool, ...]:
    each = tuple(NumaNode(id=i, cpus=(i,), memory_bytes=128 * GIB // nodes) for i in range(nodes))
    hardware = Hardware(gpus=tuple(_gpu(gib) for gib in gpu_gib), numa_nodes=each, memory=Memory(total_bytes=128 * GIB))
    return machine_pools(hardware)


def _place(name: str, placement: Placement, pools: tuple[Pool, ...], allocation: Allocation = LLAMA) -> Placed:
    model = measured_model(name)
    return place(model, quantize(model, a_quant("Q4_K_M")), RUNTIME, allocation, placement, pools)


def test_gpu_reserve_is_not_usable() -> None:
    hardware = Hardware(gpus=(_gpu(24, reserved_bytes=GIB // 2, free_bytes=20 * GIB),))
    (pool,) = machine_pools(hardware)
    assert (pool.id, pool.kind, pool.gpu) == ("gpu0", "gpu", 0)
    assert pool.usable_bytes == 24 * GIB - GIB // 2
    assert pool.free_bytes == 20 * GIB


def test_unknown_memories_make_no_pool() -> None:
    unknown = Gpu(vendor="nvidia", name="card", backend="cuda")
    assert machine_pools(Hardware(gpus=(unknown,), numa_nodes=(NumaNode(id=0),))) == ()


def test_ram_less_reserved_pages_and_within_the_limit() -> None:
    memory = Memory(total_bytes=64 * GIB, limit_bytes=48 * GIB, hugepages_bytes=8 * GIB, available_bytes=40 * GIB)
    (pool,) = machine_pools(Hardware(memory=memory, numa_nodes=(NumaNode(id=0, memory_bytes=64 * GIB),)))
    assert (pool.id, pool.capacity_bytes, pool.usable_bytes) == ("ram", 64 * GIB, 48 * GIB)
    assert pool.free_bytes == 40 * GIB


def test_nodes_share_the_limit() -> None:
    nodes = (NumaNode(id=0, memory_bytes=96 * GIB), NumaNode(id=1, memory_bytes=32 * GIB))
    pools = machine_pools(Hardware(memory=Memory(total_bytes=128 * GIB, limit_bytes=64 * GIB), numa_nodes=nodes))
    assert [(pool.id, pool.usable_bytes) for pool in pools] == [("node0", 48 * GIB), ("node1", 16 * GIB)]


def test_unified_memory_is_one_pool_limited_by_the_working_set() -> None:
    chip = Gpu(
        vendor="apple", name="M4", backend="metal", memory_bytes=64 * GIB, working_set_bytes=48 * GIB, unified=True
    )
    (pool,) = machine_pools(Hardware(gpus=(chip,), memory=Memory(total_bytes=64 * GIB)))
    assert (pool.id, pool.kind, pool.usable_bytes, pool.gpu) == ("unified", "unified", 48 * GIB, 0)


def test_integrated_beside_discrete_leaves_ram_to_the_cpu() -> None:
    integrated = Gpu(vendor="intel", name="iGPU", backend="vulkan", memory_bytes=32 * GIB, unified=True)
    hardware = Hardware(gpus=(integrated, _gpu(8)), memory=Memory(total_bytes=32 * GIB))
    assert [pool.id for pool in machine_pools(hardware)] == ["gpu1", "ram"]


PLACEMENTS = [
    Placement(kind="cpu"),
    Placement(kind="cpu", numa="interleave", numa_nodes=(0, 1)),
    Placement(kind="cpu", numa="bind", numa_nodes=(1,)),
    Placement(kind="gpu", gpus=(0,)),
    Placement(kind="multi-gpu", gpus=(0, 1)),
    Placement(kind="split", gpus=(1,), gpu_layers=7),
    Placement(kind="split", gpus=(0, 1), gpu_layers=20),
    Placement(kind="experts-in-ram", gpus=(0,), cpu_expert_layers=10),
    Placement(kind="tensor-parallel", gpus=(0, 1), tensor_parallel=2),
]


@pytest.mark.parametrize("placement", PLACEMENTS, ids=lambda placement: placement.kind)
@pytest.mark.parametrize("name", ["Llama-3.1-8B", "Qwen3-30B-A3B", "Qwen3.5-35B-A3B", "gemma-3-4b", "GLM-4.5-Air"])
def test_bytes_are_conserved(name: str, placement: Placement) -> None:
    """Whatever the placement: the pools hold every loaded byte once, a tied head on a GPU twice."""
    model = measured_model(name)
    quantized = quantize(model, a_quant("Q4_K_M"))
    pools = _pools(24, 16, nodes=2)
    whole = _place(name, Placement(kind="cpu"), pools)
    placed = _place(name, placement, pools)
    copies = quantized.tied_bytes if placement.gpus else 0
    assert sum(use.weights_bytes for use in placed.uses) == quantized.weights_bytes + copies == placed.weights_bytes
    assert sum(use.kv_cache_bytes for use in placed.uses) == whole.kv_cache_bytes
    assert sum(use.state_bytes for use in placed.uses) == whole.state_bytes
    read = sum(use.dense_read_bytes + use.expert_read_bytes for use in placed.uses)
    assert read == quantized.read_bytes_per_token
    assert sum(use.expert_bytes for use in placed.uses) == sum(block.experts for block in quantized.blocks)
    assert sum(use.cache_share for use in placed.uses) == pytest.approx(1)
    ranks = placement.tensor_parallel
    assert sum(use.layers for use in placed.uses) == len(quantized.blocks) * ranks


def test_embedding_stays_on_the_host_and_a_tied_head_is_copied() -> None:
    quantized = quantize(measured_model("Qwen3-0.6B"), a_quant("Q4_K_M"))
    gpu, ram = _place("Qwen3-0.6B", Placement(kind="gpu", gpus=(0,)), _pools(24)).uses
    assert ram.weights_bytes == quantized.embedding_bytes == 127_626_240
    assert gpu.weights_bytes == quantized.weights_bytes
    assert ram.dense_read_bytes == 0


def test_last_blocks_go_to_the_gpu_with_the_output() -> None:
    quantized = quantize(measured_model("Llama-3.1-8B"), a_quant("Q4_K_M"))
    gpu, ram = _place("Llama-3.1-8B", Placement(kind="split", gpus=(0,), gpu_layers=4), _pools(24)).uses
    last = sum(block.dense for block in quantized.blocks[-4:])
    assert gpu.weights_bytes == last + quantized.output_bytes + quantized.other_bytes
    assert (gpu.layers, ram.layers) == (4, 28)
    assert gpu.cache_share == pytest.approx(4 / 32)
    none = _place("Llama-3.1-8B", Placement(kind="split", gpus=(0,), gpu_layers=0), _pools(24)).uses
    assert none[0].weights_bytes == 0


def test_first_expert_layers_stay_in_ram() -> None:
    """GLM-4.5-Air's first block has no experts: ten expert layers are blocks 1 to 10."""
    quantized = quantize(measured_model("GLM-4.5-Air"), a_quant("Q4_K_M"))
    placement = Placement(kind="experts-in-ram", gpus=(0,), cpu_expert_layers=10)
    gpu, ram = _place("GLM-4.5-Air", placement, _pools(80)).uses
    moved = sum(block.experts for block in quantized.blocks[1:11])
    assert ram.expert_bytes == moved
    assert ram.weights_bytes == moved + quantized.embedding_bytes
    assert ram.expert_read_bytes == pytest.approx(moved * 8 / 128, rel=1e-6)
    assert gpu.layers == 46
    assert ram.kv_cache_bytes == 0


def test_layers_fill_unequal_gpus_alike() -> None:
    first, second, _ = _place("Qwen3-30B-A3B", Placement(kind="multi-gpu", gpus=(0, 1)), _pools(24, 12)).uses
    assert first.total_bytes / (24 * GIB) == pytest.approx(second.total_bytes / (12 * GIB), abs=0.04)


def test_interleaving_spreads_evenly() -> None:
    interleaved = Placement(kind="cpu", numa="interleave", numa_nodes=(0, 1))
    first, second = _place("Llama-3.1-8B", interleaved, _pools(nodes=2)).uses
    assert abs(first.total_bytes - second.total_bytes) < 16
    (bound,) = _place("Llama-3.1-8B", Placement(kind="cpu", numa="bind", numa_nodes=(1,)), _pools(nodes=2)).uses
    assert bound.pool == "node1"


def test_instances_are_whole_copies() -> None:
    placement = Placement(kind="cpu", numa="bind", numa_nodes=(0, 1), instances=2)
    placed = _place("Llama-3.1-8B", placement, _pools(nodes=2))
    assert [use.weights_bytes for use in placed.uses] == [placed.weights_bytes] * 2


def test_unified_memory_holds_everything_once() -> None:
    chip = Gpu(vendor="apple", name="M4", backend="metal", memory_bytes=64 * GIB, unified=True)
    pools = machine_pools(Hardware(gpus=(chip,), memory=Memory(total_bytes=64 * GIB)))
    placed = _place("Qwen3-0.6B", Placement(kind="unified", gpus=(0,)), pools)
    (use,) = placed.uses
    assert use.weights_bytes == quantize(measured_model("Qwen3-0.6B"), a_quant("Q4_K_M")).weights_bytes


def test_vllm_puts_the_embedding_on_the_gpu() -> None:
    uses = _place("Llama-3.1-8B", Placement(kind="gpu", gpus=(0,)), _pools(80), VLLM).uses
    assert [use.pool for use in uses] == ["gpu0"]


def test_gpu_without_known_memory_is_an_error() -> None:
    with pytest.raises(PlannerError, match="GPU 3"):
        _place("Llama-3.2-1B", Placement(kind="gpu", gpus=(3,)), _pools(24))
