"""Which devices a placement uses, which backend drives them, which threads and NUMA nodes go with them."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

import msgspec

from planner.hardware.facts import Backend, Gpu, Hardware
from planner.servers.records import Service
from planner.sizing.identity import IdentityCache
from planner.sizing.records import Placement

# Variables that limit a process to some GPUs; CUDA's accepts UUIDs, the others indexes. ROCm has a second one for
# servers that do not pass the first on.
DEVICE_VARIABLES: dict[Backend, str] = {
    "cuda": "CUDA_VISIBLE_DEVICES",
    "rocm": "ROCR_VISIBLE_DEVICES",
    "vulkan": "GGML_VK_VISIBLE_DEVICES",
}
SECOND_ROCM_VARIABLE = "HIP_VISIBLE_DEVICES"

_instruction_sets: IdentityCache[frozenset[str]] = IdentityCache(8)


def used_gpus(hardware: Hardware, placement: Placement | None) -> tuple[Gpu, ...]:
    """The GPUs of a placement; without one, all of the machine."""
    if placement is None:
        return hardware.gpus
    return tuple(hardware.gpus[index] for index in placement.gpus if index < len(hardware.gpus))


def gpu_backend(hardware: Hardware, placement: Placement | None) -> Backend:
    """The backend of the GPUs that a placement uses, `cpu` when it uses none."""
    gpus = used_gpus(hardware, placement)
    return gpus[0].backend if gpus else "cpu"


def computes_on_cpu(placement: Placement) -> bool:
    """True when no GPU takes part."""
    return not placement.gpus


def compute_capability(gpus: tuple[Gpu, ...]) -> tuple[int, int] | None:
    """The lowest compute capability of some NVIDIA GPUs, None when one is not known."""
    values = [gpu.compute_capability for gpu in gpus]
    if not values or None in values:
        return None
    pairs = [str(value).partition(".") for value in values]
    return min((int(major), int(minor or 0)) for major, _, minor in pairs)


def is_apple_silicon(hardware: Hardware) -> bool:
    """True for a Mac with an Apple GPU."""
    return any(gpu.vendor == "apple" for gpu in hardware.gpus)


def instruction_sets(hardware: Hardware) -> frozenset[str]:
    """Names of the CPU's instruction sets, lower case without separators (`avx512f`)."""

    def read() -> frozenset[str]:
        return frozenset(name.casefold().replace("_", "").replace("-", "") for name in hardware.cpu.isa)

    return _instruction_sets.value((hardware,), (), read)


def physical_cores(hardware: Hardware) -> int | None:
    """Cores that one computing thread each should go to: performance cores on hybrid chips, never more than the
    container or affinity leaves. None when the CPU is not known."""
    cores = _physical_cores(hardware)
    if cores is None:
        return None
    limits = [value for value in (hardware.cpu.usable_cpus, hardware.cpu.quota_cpus) if value]
    return max(1, min([cores, *(int(value) for value in limits)]))


def _physical_cores(hardware: Hardware) -> int | None:
    performance = sum(kind.cores for kind in hardware.cpu.core_types if kind.name.upper().startswith("P"))
    return performance or hardware.cpu.cores


def threads(service: Service, hardware: Hardware) -> int | None:
    """Computing threads of one instance: as planned, else the physical cores of the nodes that it is bound to."""
    if service.threads is not None:
        return service.threads
    cores, whole = physical_cores(hardware), _physical_cores(hardware)
    used, instances = service.placement.numa_nodes, service.placement.instances
    left = [len(node.cpus) for node in hardware.plan_nodes if node.cpus and node.id in used]
    if cores is None or whole is None or service.placement.numa != "bind" or not left:
        return cores
    nodes = sum(1 for node in hardware.numa_nodes if node.cpus)
    per_instance = len(used) if instances == 1 else 1
    return max(1, min(whole * per_instance // nodes, min(left) * per_instance, cores // instances))


class Numa(msgspec.Struct, frozen=True):
    """NUMA policy of a launch: how, over which nodes, and the CPUs of those nodes."""

    policy: Literal["none", "bind", "interleave"]
    nodes: tuple[int, ...]
    cpus: tuple[int, ...]


def numa_of(placement: Placement, hardware: Hardware) -> Numa:
    """The policy of a placement; `none` on a machine with one node of its own memory and CPUs."""
    if placement.numa == "none" or not placement.numa_nodes:
        return Numa("none", (), ())
    cpus = sorted(cpu for node in hardware.plan_nodes if node.id in placement.numa_nodes for cpu in node.cpus)
    return Numa(placement.numa, placement.numa_nodes, tuple(cpus))


def device_environment(
    backend: Backend, placement: Placement, hardware: Hardware, known: Container[str]
) -> dict[str, str]:
    """The variable that keeps a process on its own GPUs, where the machine has others too, as far as the server
    knows one (`known`)."""
    variable = DEVICE_VARIABLES.get(backend)
    if backend == "rocm" and variable not in known:
        variable = SECOND_ROCM_VARIABLE
    if variable is None or variable not in known or not placement.gpus or len(placement.gpus) == len(hardware.gpus):
        return {}
    uuids = [gpu.uuid for gpu in used_gpus(hardware, placement)]
    if backend == "cuda" and all(uuids):
        return {variable: ",".join(str(uuid) for uuid in uuids)}
    return {variable: ",".join(str(index) for index in placement.gpus)}
