"""Named facts that the decision matrix may ask: small functions of a situation, in one dict; no expressions in YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from planner.catalog.records.policy import Role, Workload
from planner.hardware.facts import Hardware
from planner.sizing.records import Record

WORKLOADS = (
    "chat",
    "prototype",
    "team",
    "code",
    "reasoning",
    "long-context",
    "agent",
    "multimodal",
    "batch",
    "embedding",
    "macos",
)

# The source scenario "internal team tool" starts at 5 concurrent users.
MANY_USERS = 5

# vLLM's CUDA 13 build needs Turing or newer (vLLM 0.33 installation page).
VLLM_COMPUTE_CAPABILITY = (7, 5)


class Situation(Record):
    """What is asked of which machine: the workload with the person's users and context, and the roles to plan."""

    hardware: Hardware
    workload: Workload
    users: int
    context_tokens: int
    roles: tuple[Role, ...] = ("interactive",)
    deterministic: bool = False


Fact = Callable[[Situation], bool]


def workload_is(name: str) -> Fact:
    """The fact that the workload is the one of that id."""
    return lambda situation: situation.workload.id == name


def single_user(situation: Situation) -> bool:
    """One request at a time."""
    return situation.users == 1


def many_users(situation: Situation) -> bool:
    """Five concurrent users or more."""
    return situation.users >= MANY_USERS


def has_gpu(situation: Situation) -> bool:
    """At least one accelerator."""
    return bool(situation.hardware.gpus)


def cpu_only(situation: Situation) -> bool:
    """No accelerator."""
    return not situation.hardware.gpus


def several_gpus(situation: Situation) -> bool:
    """Two accelerators or more."""
    return len(situation.hardware.gpus) > 1


def nvidia_gpu(situation: Situation) -> bool:
    """An NVIDIA GPU that runs CUDA."""
    return any(gpu.backend == "cuda" for gpu in situation.hardware.gpus)


def amd_gpu(situation: Situation) -> bool:
    """An AMD GPU."""
    return any(gpu.vendor == "amd" for gpu in situation.hardware.gpus)


def apple_silicon(situation: Situation) -> bool:
    """An Apple chip with its unified memory."""
    return any(gpu.vendor == "apple" for gpu in situation.hardware.gpus)


def vllm_gpu(situation: Situation) -> bool:
    """A GPU that vLLM supports: NVIDIA of compute capability 7.5 or newer, or AMD under ROCm.
    An NVIDIA GPU of unknown capability counts."""
    return any(
        gpu.backend == "rocm" or (gpu.backend == "cuda" and _new_enough(gpu.compute_capability))
        for gpu in situation.hardware.gpus
    )


def _new_enough(compute_capability: str | None) -> bool:
    if compute_capability is None:
        return True
    major, _, minor = compute_capability.partition(".")
    return (int(major), int(minor or 0)) >= VLLM_COMPUTE_CAPABILITY


def unified_memory(situation: Situation) -> bool:
    """The GPU computes in system memory."""
    return situation.hardware.unified


def separate_memory(situation: Situation) -> bool:
    """RAM is a memory of its own, beside that of GPUs if there are any."""
    return not situation.hardware.unified


def ram_known(situation: Situation) -> bool:
    """The size of RAM is known, so a placement may use it."""
    return situation.hardware.ram_bytes is not None


def several_numa_nodes(situation: Situation) -> bool:
    """Two NUMA nodes or more have CPUs."""
    return len(situation.hardware.compute_nodes) > 1


def several_roles(situation: Situation) -> bool:
    """More than one service must run."""
    return len(situation.roles) > 1


def deterministic(situation: Situation) -> bool:
    """The same input must give the same output."""
    return situation.deterministic or situation.workload.sampling == "deterministic"


FACTS: Mapping[str, Fact] = {
    **{f"workload_is_{name.replace('-', '_')}": workload_is(name) for name in WORKLOADS},
    "single_user": single_user,
    "many_users": many_users,
    "has_gpu": has_gpu,
    "cpu_only": cpu_only,
    "several_gpus": several_gpus,
    "nvidia_gpu": nvidia_gpu,
    "amd_gpu": amd_gpu,
    "apple_silicon": apple_silicon,
    "vllm_gpu": vllm_gpu,
    "unified_memory": unified_memory,
    "separate_memory": separate_memory,
    "ram_known": ram_known,
    "several_numa_nodes": several_numa_nodes,
    "several_roles": several_roles,
    "deterministic": deterministic,
}


# What a fact brings with it, and which facts never hold together: with these `catalog check` finds rows that nothing
# reaches.
IMPLIED: Mapping[str, tuple[str, ...]] = dict.fromkeys(
    ("several_gpus", "nvidia_gpu", "amd_gpu", "apple_silicon", "vllm_gpu", "unified_memory"), ("has_gpu",)
)
EXCLUSIVE: tuple[frozenset[str], ...] = (
    frozenset(name for name in FACTS if name.startswith("workload_is_")),
    frozenset({"single_user", "many_users"}),
    frozenset({"has_gpu", "cpu_only"}),
    frozenset({"unified_memory", "separate_memory"}),
)


def with_implied(names: Iterable[str]) -> frozenset[str]:
    """The facts, and those that hold whenever they do."""
    named = tuple(names)
    return frozenset(named).union(*(IMPLIED.get(name, ()) for name in named))


def contradiction(names: Iterable[str]) -> tuple[str, ...]:
    """The facts among these that can never hold together; empty where all can."""
    held = with_implied(names)
    return next((tuple(sorted(held & group)) for group in EXCLUSIVE if len(held & group) > 1), ())


def true_facts(situation: Situation) -> tuple[str, ...]:
    """The names of all facts that hold, for `--explain`."""
    return tuple(name for name, fact in FACTS.items() if fact(situation))
