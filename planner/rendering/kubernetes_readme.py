"""What the README of a Kubernetes bundle says beyond its template: limits of the target, and ports to forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from planner.rendering.deployment import Deployment, Unit
from planner.rendering.kubernetes_pod import exclusive_cpus, object_name
from planner.servers.devices import threads, used_gpus

_LOCKED = "pods cannot raise the limit of locked memory; that of the container runtime holds."
_INTERLEAVED = "it is planned with memory interleaved over NUMA nodes, which no manifest can ask for: expect less."
_SHARED = (
    "Several services are planned on one GPU, which a device plugin gives to one pod alone: without its time-slicing"
    " (or MPS) all but one stay Pending."
)


def limits(deployment: Deployment) -> list[str]:
    """What Kubernetes cannot be asked for, or only where the cluster is set up for it."""
    found = [
        f"{unit.name}: {text}" for unit in deployment.units for text in (*_of_gpus(deployment, unit), *_of_memory(unit))
    ]
    found += [text for unit in deployment.units for text in _of_threads(deployment, unit)]
    users = Counter(index for unit in deployment.units for index in unit.launch.gpu_indexes)
    return [*found, _SHARED] if any(count > 1 for count in users.values()) else found


def _of_gpus(deployment: Deployment, unit: Unit) -> Iterator[str]:
    if not unit.launch.gpu_indexes:
        return
    gpus = used_gpus(deployment.plan.hardware, unit.service.placement)
    names = list(dict.fromkeys(gpu.name for gpu in gpus))
    if len(names) < len({gpu.name for gpu in deployment.plan.hardware.gpus}):
        yield f"it is planned for {', '.join(names)}; a device plugin may hand out another card of the machine."
    if any(gpu.slice_of for gpu in gpus):
        yield "MIG slices are nvidia.com/gpu under the device plugin's strategy `single` only."


def _of_memory(unit: Unit) -> Iterator[str]:
    if unit.launch.locks_memory:
        yield _LOCKED
    if unit.launch.numa == "interleave":
        yield _INTERLEAVED


def _of_threads(deployment: Deployment, unit: Unit) -> Iterator[str]:
    count = threads(unit.service, deployment.plan.hardware)
    for instance in deployment.instances(unit):
        cpus = exclusive_cpus(deployment, unit, instance)
        if cpus is not None and count is not None and count > cpus:
            yield (
                f"{instance.name}: {count} threads on {cpus} CPUs of its own, as one core is left to the system;"
                " a plan from a `planner probe` inside such a pod counts them."
            )


def forwards(deployment: Deployment) -> list[str]:
    """Services and ports, as `kubectl port-forward` takes them, that bring this machine to where clients connect."""
    if deployment.router is not None:
        return [f"{object_name('router')} {deployment.router.port}"]
    return [f"{object_name(i.name)} {i.port}:{u.launch.port}" for u, i in deployment.processes()]
