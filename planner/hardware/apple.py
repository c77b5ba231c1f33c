"""Apple silicon: chips by name, and how much of the memory the GPU may use."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from planner.catalog.records.device import Device, DeviceTable
from planner.errors import UsageError
from planner.hardware.facts import Gpu, Link
from planner.hardware.findings import Findings
from planner.units import GIB, MIB, format_gib, parse_bytes

PAGE_BYTES = 16384
# Metal's recommendedMaxWorkingSetSize by default: 2/3 of RAM on 16 and 32 GiB machines, 3/4 on 96 GiB (logged by
# llama.cpp users); the border lies at 36 GiB. A 2026 system was seen with 0.78.
_SMALL_LIMIT_BYTES = 36 * GIB


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """`M3 Max 40c 128GiB` taken apart."""

    name: str
    gpu_cores: int | None = None
    memory_bytes: int | None = None


def parse_chip(text: str) -> Chip:
    """Chip, GPU cores (`40c`, `40-core GPU`) and size. Raises UsageError when no chip is named."""
    rest = text.strip()
    size = re.search(r"(?<![\w.])\d+(?:\.\d+)?\s*[KMGT]i?B\b", rest, re.IGNORECASE)
    if size:
        rest = rest[: size.start()] + " " + rest[size.end() :]
    cores = re.search(r"(?<!\w)(\d{1,3})\s*-?\s*c(?:ores?)?\b(?:\s*gpu)?", rest, re.IGNORECASE)
    if cores:
        rest = rest[: cores.start()] + " " + rest[cores.end() :]
    name = re.sub(r"[\s,]+", " ", re.sub(r"\b(apple|gpu)\b", " ", rest, flags=re.IGNORECASE)).strip()
    stray = re.search(r"(?:^| )(\d+)$", name)
    if not name or stray:
        what = f"{stray[1]!r} has no unit" if stray else "no chip is named"
        raise UsageError(f"--apple {text!r}: {what}", hint='write it like "M3 Max 40c 128GiB"')
    return Chip(
        name=name,
        gpu_cores=int(cores[1]) if cores else None,
        memory_bytes=parse_bytes(size[0], "--apple") if size else None,
    )


def find_chip(chip: Chip, devices: DeviceTable, findings: Findings) -> Device:
    """The chip's bin. Without GPU cores it is the lower one, which a note says. Raises UnknownName, UsageError."""
    cores = f" {chip.gpu_cores}c" if chip.gpu_cores else ""
    device = devices.device(f"Apple {chip.name}{cores}")
    if device.kind != "apple":
        raise UsageError(f"{device.name} is no Apple chip", hint="use --gpu or --cpu for it")
    bins = _bins(device, devices)
    if chip.gpu_cores and device.gpu_cores and chip.gpu_cores != device.gpu_cores:
        sold = " or ".join(str(other.gpu_cores) for other in bins)
        raise UsageError(f"{chip.name} has no {chip.gpu_cores}-core GPU", hint=f"it was sold with {sold} cores")
    if chip.gpu_cores is None and len(bins) > 1:
        device = bins[0]
        sold = " or ".join(str(other.gpu_cores) for other in bins)
        findings.note(
            f"{chip.name} has {sold} GPU cores: the lower bin ({device.gpu_cores}) is taken; "
            f'name the other as "{chip.name} {bins[-1].gpu_cores}c"'
        )
    return device


def _bins(device: Device, devices: DeviceTable) -> list[Device]:
    """All bins of the chip, smallest first: devices whose id differs only in the core count."""
    known = getattr(devices, "devices", None)
    stem = re.sub(r"-?\d+-?c(ores?)?$", "", device.id)
    every = known.values() if isinstance(known, Mapping) else (device,)
    same = [d for d in every if d.kind == "apple" and d.gpu_cores and re.sub(r"-?\d+-?c(ores?)?$", "", d.id) == stem]
    return sorted(same or [device], key=lambda found: found.gpu_cores or 0)


def working_set_bytes(memory_bytes: int, wired_limit_mib: int | None = None) -> tuple[int, str]:
    """(most that the GPU may use, why). `iogpu.wired_limit_mb` decides where it is set (0 is the default)."""
    if wired_limit_mib:
        return min(wired_limit_mib * MIB, memory_bytes), "iogpu.wired_limit_mb"
    if memory_bytes <= _SMALL_LIMIT_BYTES:
        return memory_bytes * 2 // 3, "default: 2/3 of the memory up to 36 GiB"
    return memory_bytes * 3 // 4, "default: 3/4 of the memory above 36 GiB"


def apple_gpu(
    device: Device | None,
    name: str,
    memory_bytes: int | None,
    findings: Findings,
    *,
    cores: int | None = None,
    wired_limit_mib: int | None = None,
    index: int = 0,
) -> Gpu:
    """The GPU of a chip; its memory is the machine's."""
    path = f"gpus.{index}"
    limit, why = working_set_bytes(memory_bytes, wired_limit_mib) if memory_bytes else (None, "")
    if limit is not None:
        findings.fact(f"{path}.working_set_bytes", "read" if wired_limit_mib else "assumed", why)
        findings.fact(f"{path}.memory_bytes", "derived", "unified: the machine's memory")
    gpu = Gpu(
        vendor="apple",
        name=f"Apple {name}" if not name.casefold().startswith("apple") else name,
        backend="metal",
        device=device.id if device else None,
        architecture=device.architecture if device else None,
        memory_bytes=memory_bytes,
        working_set_bytes=limit,
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s if device else None,
        fp16_flops_per_s=device.fp16_flops_per_s if device else None,
        fp32_flops_per_s=device.fp32_flops_per_s if device else None,
        cores=cores or (device.gpu_cores if device else None),
        power_watts=device.power_watts if device else None,
        link=Link(kind="on-die"),
        unified=True,
    )
    findings.cover(path, gpu, "catalog" if device else "read", device.source if device else "sysctl")
    return gpu


def chip_name(device: Device) -> str:
    """`Apple M3 Max` of `Apple M3 Max 40-core GPU`."""
    return re.sub(r"\s*\d+\s*-?\s*c(ores?)?\b(\s*GPU)?", "", device.name, flags=re.IGNORECASE).strip()


def check_size(device: Device, memory_bytes: int, findings: Findings) -> None:
    """Says when a chip was never sold with that much memory."""
    options = device.memory_options_bytes
    if options and memory_bytes not in options:
        sold = ", ".join(format_gib(size, 0) for size in options)
        findings.note(f"{device.name} is sold with {sold}; planned with {format_gib(memory_bytes)} as asked")
