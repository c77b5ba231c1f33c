"""Where a program's model will lie on a machine, as far as its file and its words say."""

from __future__ import annotations

import re

from planner.catalog.records import Model
from planner.doctor.records import Served
from planner.doctor.settings import Settings
from planner.hardware.facts import Hardware
from planner.sizing.records import Placement
from planner.sizing.tensors import expand

_CONTAINERS = frozenset({"compose", "quadlet", "kubernetes"})
# Parts of images that reach GPUs by device files, which no reservation names.
_BY_DEVICE_FILE = re.compile(r"rocm|vulkan|intel|sycl")
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def placement_of(
    served: Served, settings: Settings, hardware: Hardware | None, model: Model | None
) -> Placement | None:
    """The placement, None where it cannot be told: devices of podman and Kubernetes, more ranks than GPUs."""
    if settings.on_cpu:
        return Placement(kind="cpu")
    gpus = _visible(served, hardware)
    if gpus is None:
        return None
    if not gpus:
        return Placement(kind="cpu")
    assert hardware is not None
    if hardware.gpus[gpus[0]].unified:
        return Placement(kind="unified", gpus=gpus[:1])
    if served.server == "vllm":
        return _of_vllm(settings, gpus)
    return _of_llama_cpp(settings, gpus, model)


def _visible(served: Served, hardware: Hardware | None) -> tuple[int, ...] | None:
    """Indexes of the GPUs that the program reaches."""
    reserved = bool(served.devices or served.legacy_runtime)
    if served.kind in _CONTAINERS and not reserved:
        by_file = served.kind == "quadlet" or _BY_DEVICE_FILE.search(served.image or "") is not None
        return None if by_file and (hardware is None or hardware.gpus) else ()
    if hardware is None:
        return None
    everything = tuple(range(len(hardware.gpus)))
    named = [device for device in served.devices if not device.startswith("count ")]
    stated = next((served.environment[name] for name in _VISIBLE if name in served.environment), None)
    if stated is not None:
        named = [part.strip() for part in stated.split(",") if part.strip()]
        if not named:
            return ()
    if named:
        found = tuple(index for index in everything if {str(index), hardware.gpus[index].uuid} & set(named))
        return found or None
    counts = [int(word) for device in served.devices if (word := device.removeprefix("count ")).isdecimal()]
    return everything[: sum(counts)] if counts else everything


def _of_vllm(settings: Settings, gpus: tuple[int, ...]) -> Placement | None:
    wanted = settings.ranks * settings.stages
    if wanted > len(gpus):
        return None
    if settings.ranks > 1:
        return Placement(kind="tensor-parallel", gpus=gpus[:wanted], tensor_parallel=settings.ranks)
    return Placement(kind="multi-gpu" if wanted > 1 else "gpu", gpus=gpus[:wanted])


def _of_llama_cpp(settings: Settings, gpus: tuple[int, ...], model: Model | None) -> Placement | None:
    if settings.gpu_layers is None and not settings.expert_layers:
        return Placement(kind="multi-gpu" if len(gpus) > 1 else "gpu", gpus=gpus)
    if model is None or (model.architecture is None and not model.tensors):
        return None if settings.expert_layers else Placement(kind="gpu", gpus=gpus)
    shape = expand(model).shape
    if settings.expert_layers and shape.moe_layers:
        return Placement(
            kind="experts-in-ram", gpus=gpus, cpu_expert_layers=min(settings.expert_layers, shape.moe_layers)
        )
    if settings.gpu_layers is not None and settings.gpu_layers <= shape.layers:
        return Placement(kind="split", gpus=gpus, gpu_layers=settings.gpu_layers)
    return Placement(kind="multi-gpu" if len(gpus) > 1 else "gpu", gpus=gpus)
