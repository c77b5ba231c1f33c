"""GPUs of an imagined machine: `NAME[:COUNT]` looked up in the device table, or bare memory and bandwidth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

import msgspec

from planner.catalog.records.device import Device, DeviceTable
from planner.errors import UsageError
from planner.hardware.facts import Backend, Gpu, GpuVendor, Link
from planner.hardware.findings import Findings
from planner.hardware.pci import make_link
from planner.units import format_gib

MOST_GPUS = 64
_TOLERANCE = 0.1  # drivers report up to a tenth less than the nominal size (ECC, reserve)
_BACKENDS: dict[GpuVendor, tuple[Backend, ...]] = {
    "nvidia": ("cuda", "vulkan"),
    "amd": ("rocm", "vulkan"),
    "intel": ("sycl", "vulkan"),
    "apple": ("metal", "vulkan"),
    "other": ("vulkan", "cuda", "rocm", "sycl"),
}
_VENDOR_OF: dict[Backend, GpuVendor] = {"cuda": "nvidia", "rocm": "amd", "sycl": "intel"}


class GpuWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asked of the GPUs; sizes already in bytes."""

    names: tuple[str, ...] = ()
    vram_bytes: int | None = None
    bandwidth_bytes_per_s: float | None = None
    backend: Backend | None = None


def parse_backend(text: str | None) -> Backend | None:
    """One of the backends, case ignored. Raises UsageError for another word."""
    if text is None:
        return None
    word = text.strip().casefold()
    known: tuple[Backend, ...] = get_args(Backend)
    for backend in known:
        if word == backend:
            return backend
    raise UsageError(f"unknown backend {text!r}", hint=f"one of {', '.join(known)}")


def split_count(text: str) -> tuple[str, int]:
    """`RTX 3090:2` is (`RTX 3090`, 2)."""
    match = re.fullmatch(r"\s*(.*?)\s*(?::\s*([0-9]+))?\s*", text, re.DOTALL)
    name, count = (match[1], int(match[2] or 1)) if match and len(match[2] or "") < 6 else (text, 0)
    if not name or not 1 <= count <= MOST_GPUS:
        raise UsageError(f"--gpu {text!r}: expected NAME or NAME:COUNT", hint='write it like "RTX 3090:2"')
    return name, count


def imagine_gpus(wish: GpuWish, devices: DeviceTable, findings: Findings) -> tuple[Gpu, ...]:
    """The GPUs asked for, with catalog figures. Raises UnknownName, UsageError (contradictions, several fit)."""
    if not wish.names:
        return (_nameless(wish, findings),) if wish.vram_bytes is not None else ()
    gpus: list[Gpu] = []
    pairs = [(_device(name, wish, devices), count) for name, count in map(split_count, wish.names)]
    if len({device.id for device, _ in pairs}) > 1 and (wish.vram_bytes or wish.bandwidth_bytes_per_s):
        raise UsageError(
            "--vram and --gpu-bandwidth with different GPUs leave open which one is meant",
            hint="leave them out: the catalog knows the named GPUs",
        )
    for device, count in pairs:
        _check_kind(device, count, len(pairs))
        for _ in range(count):
            gpus.append(_gpu(device, wish, findings, f"gpus.{len(gpus)}"))
    return _linked(tuple(gpus), [device for device, count in pairs for _ in range(count)])


def _device(name: str, wish: GpuWish, devices: DeviceTable) -> Device:
    """The named device; `--vram` decides between variants of one name."""
    try:
        return devices.device(name)
    except UsageError:
        found = devices.find_device(name, wish.vram_bytes) if wish.vram_bytes else None
        if found is None:
            raise
        return found


def _check_kind(device: Device, count: int, kinds: int) -> None:
    if device.kind == "apple":
        raise UsageError(f"{device.name} is no card of its own", hint='use --apple, like --apple "M3 Max 40c 128GiB"')
    if device.kind == "cpu":
        raise UsageError(f"{device.name} is a processor", hint="use --cpu for it")
    if device.kind == "apu" and (count > 1 or kinds > 1):
        raise UsageError(f"{device.name} shares the machine's memory: there is one of it, and no other GPU")


def _vendor(device: Device) -> GpuVendor:
    word = device.vendor.casefold()
    for vendor in ("nvidia", "amd", "intel", "apple"):
        if word.startswith(vendor):
            return vendor
    return "other"


def _gpu(device: Device, wish: GpuWish, findings: Findings, path: str) -> Gpu:
    vendor = _vendor(device)
    unified = device.kind == "apu"
    gpu = Gpu(
        vendor=vendor,
        name=device.name,
        backend=_backend(vendor, wish, device.name),
        device=device.id,
        architecture=device.architecture,
        memory_bytes=None if unified else _memory(device, wish, findings, path),
        bandwidth_bytes_per_s=wish.bandwidth_bytes_per_s or device.bandwidth_bytes_per_s,
        fp16_flops_per_s=device.fp16_flops_per_s,
        fp32_flops_per_s=device.fp32_flops_per_s,
        compute_capability=device.compute_capability,
        cores=device.gpu_cores,
        power_watts=device.power_watts,
        link=Link(kind="on-die") if unified else _link(device.bus),
        unified=unified,
    )
    if wish.bandwidth_bytes_per_s is not None:
        findings.fact(f"{path}.bandwidth_bytes_per_s", "given", "--gpu-bandwidth")
    if wish.backend is not None:
        findings.fact(f"{path}.backend", "given", "--backend")
    findings.cover(path, gpu, "catalog", device.source)
    return gpu


def _memory(device: Device, wish: GpuWish, findings: Findings, path: str) -> int | None:
    """What was given, else the driver's own figure, else the nominal size."""
    catalog = device.driver_memory_bytes or device.memory_bytes
    if wish.vram_bytes is None:
        return catalog
    findings.fact(f"{path}.memory_bytes", "given", "--vram")
    if catalog is not None and abs(wish.vram_bytes - catalog) > _TOLERANCE * catalog:
        findings.note(f"{device.name} has {format_gib(catalog)}; planned with {format_gib(wish.vram_bytes)} as asked")
    return wish.vram_bytes


def _backend(vendor: GpuVendor, wish: GpuWish, name: str) -> Backend:
    if wish.backend is None:
        return _BACKENDS[vendor][0]
    if wish.backend not in _BACKENDS[vendor]:
        allowed = " or ".join(_BACKENDS[vendor])
        raise UsageError(f"--backend {wish.backend} does not fit {name}", hint=f"it runs {allowed}")
    return wish.backend


def _link(bus: str | None) -> Link | None:
    """`PCIe 4.0 x16` as a link; a socketed module's host link is not told by its bus."""
    match = re.search(r"PCIe (\d)\.0 x(\d{1,2})", bus or "")
    return make_link(int(match[1]), int(match[2])) if match else None


def _linked(gpus: tuple[Gpu, ...], devices: Sequence[Device]) -> tuple[Gpu, ...]:
    """Socketed modules (SXM) of one kind reach each other through NVLink; cards need a bridge nobody named."""
    result = []
    for i, gpu in enumerate(gpus):
        peers = tuple(
            j
            for j, other in enumerate(gpus)
            if j != i and other.device == gpu.device and "SXM" in f"{devices[i].bus} {devices[i].name}"
        )
        result.append(msgspec.structs.replace(gpu, nvlink_peers=peers) if peers else gpu)
    return tuple(result)


def _nameless(wish: GpuWish, findings: Findings) -> Gpu:
    """`--vram` without `--gpu`: it can be sized; its speed stays unknown."""
    backend: Backend = wish.backend or "cuda"
    if backend in {"metal", "cpu"}:
        raise UsageError(
            f"--vram with --backend {backend} makes no sense",
            hint="for Apple chips use --apple; without a GPU leave --vram out",
        )
    gpu = Gpu(
        vendor=_VENDOR_OF.get(backend, "other"),
        name="GPU",
        backend=backend,
        memory_bytes=wish.vram_bytes,
        bandwidth_bytes_per_s=wish.bandwidth_bytes_per_s,
    )
    findings.note("the GPU has no name, so speeds are unknown: give --gpu")
    if wish.backend is None:
        findings.fact("gpus.0.backend", "assumed", "--backend was not given")
        findings.fact("gpus.0.vendor", "assumed", "follows from the backend")
    findings.cover("gpus.0", gpu, "given", "--vram")
    return gpu
