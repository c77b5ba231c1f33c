"""Named facts: what each says of real shapes of machines."""

from __future__ import annotations

from itertools import product

import pytest

from planner.catalog.records import Workload
from planner.hardware.facts import Gpu, Hardware, Memory, NumaNode
from planner.planning.facts import FACTS, WORKLOADS, Situation, contradiction, true_facts, with_implied
from planner.units import GIB

RTX = Gpu(vendor="nvidia", name="RTX 4090", backend="cuda", memory_bytes=24 * GIB, compute_capability="8.9")
PASCAL = Gpu(vendor="nvidia", name="GTX 1080", backend="cuda", memory_bytes=8 * GIB, compute_capability="6.1")
M3 = Gpu(vendor="apple", name="Apple M3 Max", backend="metal", memory_bytes=128 * GIB, unified=True)


def situation(*gpus: Gpu, workload: str = "chat", users: int = 1, **hardware: object) -> Situation:
    machine = Hardware(gpus=gpus, **hardware)  # type: ignore[arg-type]
    asked = Workload(id=workload, title=workload, prompt_tokens=1, output_tokens=1, context_tokens=8)
    return Situation(hardware=machine, workload=asked, users=users, context_tokens=8)


@pytest.mark.parametrize("name", WORKLOADS)
def test_workload_facts_hold_for_their_own_workload_alone(name: str) -> None:
    holding = [fact for fact in FACTS if fact.startswith("workload_is_") and FACTS[fact](situation(workload=name))]
    assert holding == [f"workload_is_{name.replace('-', '_')}"]


@pytest.mark.parametrize(
    ("users", "single", "many"), [(1, True, False), (4, False, False), (5, False, True), (20, False, True)]
)
def test_users_from_five_on_are_many(users: int, single: bool, many: bool) -> None:
    asked = situation(users=users)
    assert (FACTS["single_user"](asked), FACTS["many_users"](asked)) == (single, many)


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ((), {"cpu_only", "separate_memory"}),
        ((RTX,), {"has_gpu", "nvidia_gpu", "vllm_gpu", "separate_memory"}),
        ((RTX, RTX), {"has_gpu", "several_gpus", "nvidia_gpu", "vllm_gpu", "separate_memory"}),
        ((PASCAL,), {"has_gpu", "nvidia_gpu", "separate_memory"}),
        ((M3,), {"has_gpu", "apple_silicon", "unified_memory"}),
    ],
)
def test_gpu_facts(gpus: tuple[Gpu, ...], expected: set[str]) -> None:
    about_gpus = {"cpu_only", "has_gpu", "nvidia_gpu", "vllm_gpu", "several_gpus", "apple_silicon"}
    about_gpus |= {"unified_memory", "separate_memory"}
    assert set(true_facts(situation(*gpus))) & about_gpus == expected


def test_vllm_takes_amd_under_rocm_but_not_under_vulkan() -> None:
    rocm = Gpu(vendor="amd", name="MI300X", backend="rocm", memory_bytes=192 * GIB)
    vulkan = Gpu(vendor="amd", name="RX 6600", backend="vulkan", memory_bytes=8 * GIB)
    assert FACTS["vllm_gpu"](situation(rocm))
    assert not FACTS["vllm_gpu"](situation(vulkan))
    assert FACTS["amd_gpu"](situation(vulkan))


def test_memory_facts_follow_what_is_known() -> None:
    nodes = (NumaNode(id=0, cpus=(0,)), NumaNode(id=1, cpus=(1,)), NumaNode(id=2, memory_only=True))
    known = situation(memory=Memory(total_bytes=64 * GIB), numa_nodes=nodes)
    assert FACTS["ram_known"](known)
    assert FACTS["several_numa_nodes"](known)
    assert not FACTS["ram_known"](situation())
    assert not FACTS["several_numa_nodes"](situation(numa_nodes=nodes[:1]))


def test_roles_and_determinism() -> None:
    asked = Workload(id="code", title="", prompt_tokens=1, output_tokens=1, context_tokens=8, sampling="deterministic")
    two = Situation(hardware=Hardware(), workload=asked, users=1, context_tokens=8, roles=("interactive", "batch"))
    assert FACTS["several_roles"](two)
    assert FACTS["deterministic"](two)
    assert not FACTS["deterministic"](situation())


def test_implied_facts_hold_and_exclusive_ones_never_together() -> None:
    """On every machine, workload and number of users: what `catalog check` calls unreachable really is."""
    fastest = Gpu(vendor="nvidia", name="GB10", backend="cuda", memory_bytes=128 * GIB, unified=True)
    radeon = Gpu(vendor="amd", name="MI300X", backend="rocm", memory_bytes=192 * GIB)
    machines = [(), (RTX,), (RTX, PASCAL), (M3,), (fastest,), (radeon, radeon)]
    for gpus, name, users in product(machines, WORKLOADS, (1, 4, 5)):
        work = Workload(id=name, title="", prompt_tokens=1, output_tokens=1, context_tokens=8)
        here = Situation(hardware=Hardware(gpus=gpus), workload=work, users=users, context_tokens=8)
        held = set(true_facts(here))
        assert held == with_implied(held)
        assert contradiction(held) == ()
    assert contradiction(["several_gpus", "cpu_only"]) == ("cpu_only", "has_gpu")
