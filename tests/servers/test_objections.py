"""What each server refuses and why, the memory rules it hands out, and the names of its speed constants."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from planner.catalog.records import Architecture, Context, Model
from planner.hardware.facts import Cpu, Hardware, Os
from planner.servers import SERVERS
from planner.servers.devices import physical_cores, threads
from planner.sizing.records import KvType, Placement
from planner.units import MIB
from tests.servers.examples import (
    DESKTOP,
    EMBEDDING,
    GPT_OSS,
    IMAGE,
    LINUX,
    MAC,
    ON_CPU,
    ON_GPU,
    QWEN3_14B,
    RADEON,
    RTX_4090,
    SERVER,
    TWO_3090,
    UNIFIED,
    gpu,
    quant,
    service,
)

ARC = replace(RTX_4090, gpus=(gpu("Arc B580", 12, None, vendor="intel", backend="sycl"),))
MIXED = replace(RTX_4090, gpus=(*RTX_4090.gpus, *RADEON.gpus))
PASCAL = replace(RTX_4090, gpus=(gpu("GTX 1080 Ti", 11, "6.1"),))
WINDOWS = replace(RTX_4090, os=Os(name="windows"))
LAPTOP = Hardware(cpu=DESKTOP, os=LINUX)
ARM = Hardware(cpu=Cpu(architecture="aarch64", cores=64), os=LINUX)
SPLIT = Placement(kind="split", gpus=(0,), gpu_layers=20)
BOTH = Placement(kind="multi-gpu", gpus=(0, 1))
TENSOR = Placement(kind="tensor-parallel", gpus=(0, 1), tensor_parallel=2)
THREE = Placement(kind="tensor-parallel", gpus=(0, 1, 0), tensor_parallel=3)
PLAIN = replace(QWEN3_14B, context=Context(native_tokens=32768))
STRETCHED = replace(QWEN3_14B, context=Context(native_tokens=32768, extended_tokens=131072, how="YaRN"))
ODD_HEADS = replace(
    QWEN3_14B, architecture=Architecture(layers=32, hidden_size=2560, vocabulary_size=51200, head_dim=80)
)
Q8 = KvType(k="q8_0", v="q8_0")
FP8 = KvType(k="fp8", v="fp8")


@pytest.mark.parametrize(
    ("server", "model", "quant_id", "hardware", "placement", "more", "reasons"),
    [
        ("llama-server", QWEN3_14B, "Q4_K_M", RTX_4090, ON_GPU, {}, []),
        ("llama-server", QWEN3_14B, "Q4_K_M", RTX_4090, SPLIT, {"kv_type": Q8}, []),
        ("llama-server", QWEN3_14B, "AWQ", RTX_4090, None, {}, ["format"]),
        ("llama-server", QWEN3_14B, "Q4_K_M", RTX_4090, None, {"kv_type": FP8}, ["kv-type"]),
        ("llama-server", ODD_HEADS, "Q4_K_M", RTX_4090, None, {"kv_type": Q8}, ["kv-type"]),
        ("llama-server", QWEN3_14B, "Q4_K_M", TWO_3090, TENSOR, {}, ["tensor-parallel"]),
        ("llama-server", QWEN3_14B, "Q4_K_M", MIXED, BOTH, {}, ["mixed-gpus"]),
        ("llama-server", IMAGE, "Q4_0", RTX_4090, None, {}, ["kind"]),
        ("llama-server", GPT_OSS, "Q4_K_M", RTX_4090, None, {}, ["no-source"]),
        ("llama-server", STRETCHED, "Q4_K_M", RTX_4090, None, {"context_tokens": 65536}, []),
        ("llama-server", PLAIN, "Q4_K_M", RTX_4090, None, {"context_tokens": 65536}, ["context"]),
        ("ollama", QWEN3_14B, "Q8_0", ARC, ON_GPU, {"kv_type": Q8}, []),
        ("ollama", QWEN3_14B, "Q8_0", ARC, None, {"kv_type": KvType(k="q8_0", v="f16")}, ["kv-type"]),
        ("ollama", QWEN3_14B, "Q8_0", ARC, None, {"kv_type": KvType(k="q5_1", v="q5_1")}, ["kv-type"]),
        ("ollama", STRETCHED, "Q4_K_M", RTX_4090, None, {"context_tokens": 65536}, ["context"]),
        ("vllm", QWEN3_14B, "AWQ", RTX_4090, ON_GPU, {"kv_type": FP8}, []),
        ("vllm", QWEN3_14B, "AWQ", TWO_3090, TENSOR, {}, []),
        ("vllm", QWEN3_14B, "AWQ", TWO_3090, THREE, {}, ["tensor-parallel"]),  # 40 heads
        ("vllm", QWEN3_14B, "Q4_K_M", RTX_4090, None, {}, ["format"]),
        ("vllm", QWEN3_14B, "AWQ", PASCAL, None, {}, ["compute-capability"]),
        ("vllm", QWEN3_14B, "AWQ", MAC, None, {}, ["platform"]),
        ("vllm", QWEN3_14B, "AWQ", WINDOWS, None, {}, ["platform"]),
        ("vllm", QWEN3_14B, "AWQ", ARC, None, {}, ["platform"]),
        ("vllm", QWEN3_14B, "AWQ", MIXED, BOTH, {}, ["platform"]),
        ("vllm", QWEN3_14B, "BF16", LAPTOP, ON_CPU, {}, ["platform"]),
        ("vllm", QWEN3_14B, "BF16", ARM, ON_CPU, {}, []),
        ("vllm", QWEN3_14B, "BF16", SERVER, ON_CPU, {}, []),
        ("vllm", QWEN3_14B, "FP8", SERVER, ON_CPU, {}, ["quant-kernel"]),
        ("vllm", QWEN3_14B, "FP8", RADEON, None, {}, ["quant-kernel"]),  # RDNA 3 has no FP8
        ("vllm", QWEN3_14B, "NVFP4", RADEON, None, {}, ["quant-kernel"]),
        ("vllm", QWEN3_14B, "AWQ", RTX_4090, SPLIT, {}, ["offload"]),
        ("vllm", QWEN3_14B, "AWQ", RTX_4090, None, {"kv_type": Q8}, ["kv-type"]),
        ("vllm", QWEN3_14B, "W4A16", RTX_4090, None, {}, ["no-source"]),
        ("mlx-lm", QWEN3_14B, "MLX-4bit", MAC, UNIFIED, {"kv_type": Q8}, []),
        ("mlx-lm", QWEN3_14B, "MLX-8bit", MAC, None, {}, ["no-source"]),
        ("mlx-lm", QWEN3_14B, "MLX-4bit", RTX_4090, None, {}, ["platform"]),
        ("mlx-lm", QWEN3_14B, "Q4_K_M", MAC, None, {}, ["format"]),
        ("mlx-lm", QWEN3_14B, "MLX-4bit", MAC, SPLIT, {}, ["offload"]),
        ("localai", IMAGE, "BF16", RTX_4090, ON_GPU, {}, []),
        ("localai", IMAGE, "Q4_0", RTX_4090, None, {}, ["format"]),
        ("localai", IMAGE, "BF16", TWO_3090, BOTH, {}, ["offload"]),
        ("localai", EMBEDDING, "Q8_0", SERVER, ON_CPU, {}, []),
        ("localai", QWEN3_14B, "Q4_K_M", WINDOWS, None, {}, ["platform"]),
    ],
)
def test_objections(
    server: str,
    model: Model,
    quant_id: str,
    hardware: Hardware,
    placement: Placement | None,
    more: dict[str, Any],
    reasons: list[str],
) -> None:
    found = SERVERS[server].supports(model, quant(quant_id), hardware, placement, **more)
    assert [objection.reason_id for objection in found] == reasons
    assert all(objection.text for objection in found)


@pytest.mark.parametrize(
    ("server", "hardware", "placement", "stack"),
    [
        ("llama-server", RTX_4090, ON_GPU, "llama.cpp-cuda"),
        ("llama-server", RTX_4090, ON_CPU, "llama.cpp-cpu"),
        ("llama-server", ARC, ON_GPU, "llama.cpp-sycl"),
        ("llama-server", MAC, UNIFIED, "llama.cpp-metal"),
        ("ollama", ARC, ON_GPU, "ollama-vulkan"),
        ("ollama", MAC, UNIFIED, "ollama-metal"),
        ("localai", RADEON, ON_GPU, "localai-rocm"),
        ("vllm", RADEON, ON_GPU, "vllm-rocm"),
        ("vllm", SERVER, ON_CPU, "vllm-cpu"),
        ("mlx-lm", MAC, UNIFIED, "mlx"),
    ],
)
def test_stacks(server: str, hardware: Hardware, placement: Placement, stack: str) -> None:
    assert SERVERS[server].stack(hardware, placement) == stack


@pytest.mark.parametrize(
    ("server", "quant_id", "hardware", "placement", "policy", "overhead_mib"),
    [
        ("llama-server", "Q4_K_M", RTX_4090, ON_GPU, "llama.cpp", 300),
        ("llama-server", "Q4_K_M", replace(RTX_4090, gpus=(gpu("H100", 80, "9.0"),)), ON_GPU, "llama.cpp", 600),
        ("llama-server", "Q4_K_M", Hardware(), ON_CPU, "llama.cpp", 0),
        ("ollama", "Q4_K_M", MAC, UNIFIED, "llama.cpp", 128),
        ("vllm", "AWQ", RTX_4090, ON_GPU, "vllm", 1024),
        ("vllm", "AWQ", TWO_3090, TENSOR, "vllm", 1536),
        ("mlx-lm", "MLX-4bit", MAC, UNIFIED, "mlx", 512),
    ],
)
def test_memory_rules(
    server: str, quant_id: str, hardware: Hardware, placement: Placement, policy: str, overhead_mib: int
) -> None:
    rules = SERVERS[server].allocation(QWEN3_14B, quant(quant_id), hardware, placement)
    assert (rules.policy, rules.device_overhead_bytes) == (policy, overhead_mib * MIB)
    assert rules.device_overhead_source


def test_threads_are_physical_cores_that_may_be_used() -> None:
    hybrid = replace(RTX_4090.cpu, core_types=(), cores=24, usable_cpus=6, quota_cpus=4.5)
    assert physical_cores(RTX_4090) == 16
    assert physical_cores(replace(RTX_4090, cpu=hybrid)) == 4
    assert physical_cores(Hardware()) is None
    bound = Placement(kind="cpu", numa="bind", numa_nodes=(0,))
    assert threads(service("llama-server", QWEN3_14B, "Q4_K_M", bound, SERVER), SERVER) == 16  # half of 32 cores
    assert threads(service("llama-server", QWEN3_14B, "Q4_K_M", ON_CPU, SERVER), SERVER) == 32
    assert threads(service("llama-server", QWEN3_14B, "Q4_K_M", ON_CPU, SERVER, threads=7), SERVER) == 7


def test_every_room_answers_for_an_unknown_machine() -> None:
    """Nothing is known: no crash, and no claim to run where hardware is a condition."""
    for server, room in SERVERS.items():
        offered = room.quants(QWEN3_14B, Hardware())
        assert bool(offered) == (server in ("ollama", "localai", "llama-server"))


def test_the_registry_is_keyed_by_the_rooms_own_ids() -> None:
    assert {name: room.id for name, room in SERVERS.items()} == {name: name for name in SERVERS}
    assert set(SERVERS) == {"ollama", "vllm", "mlx-lm", "localai", "llama-server"}


def test_the_smallest_gpu_of_several_decides_the_kernels() -> None:
    pair = replace(TWO_3090, gpus=(gpu("RTX 4090", 24, "8.9"), gpu("RTX 2080 Ti", 11, "7.5")))
    reasons = [o.reason_id for o in SERVERS["vllm"].supports(GPT_OSS, quant("MXFP4"), pair)]
    assert reasons == ["quant-kernel"]
