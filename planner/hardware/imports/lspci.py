"""`lspci` text of another machine, with numbers (`-nn`) or without."""

from __future__ import annotations

import re

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.hardware.facts import Backend, Gpu, GpuVendor, Hardware
from planner.hardware.findings import Findings
from planner.hardware.pci import AMD, INTEL, NVIDIA
from planner.hardware.pci_names import builtin_name, is_discrete_intel, is_integrated_amd
from planner.hardware.published import with_published

LINE = re.compile(r"^((?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (.+)$", re.MULTILINE)
# `06:00.0 3D controller [0302]: NVIDIA Corporation GA102GL [A10] [10de:2236] (rev a1)`; plain lspci lacks the numbers
_DISPLAY = re.compile(
    r"(?:VGA compatible controller|3D controller|Display controller|Processing accelerators)(?: \[[0-9a-f]{4}\])?:"
    r" (?P<title>.+?)(?: \[(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})\])?(?: \(rev (?P<revision>[0-9a-f]{2})\))?"
    r"(?: \(prog-if .*\))?$"
)
_VENDORS: dict[int, GpuVendor] = {NVIDIA: "nvidia", AMD: "amd", INTEL: "intel"}
_VENDOR_WORDS = (("NVIDIA ", NVIDIA), ("Advanced Micro Devices", AMD), ("Intel Corporation", INTEL))
_BACKENDS: dict[GpuVendor, Backend] = {"nvidia": "cuda", "amd": "rocm"}


def add(hardware: Hardware, text: str, name: str, devices: DeviceTable | None, findings: Findings) -> Hardware:
    """GPUs that `lspci` lists, when no better source named any. Their memory is the published figure."""
    gpus: list[Gpu] = []
    for address, rest in LINE.findall(text):
        display = _DISPLAY.match(rest.strip())
        gpu = _gpu(address, display, findings) if display else None
        if gpu is not None:
            findings.cover(f"gpus.{len(gpus)}", gpu, "read", f"lspci in {name}")
            gpus.append(gpu)
    if not gpus:
        findings.note(f"{name} lists no GPU that can compute")
    return msgspec.structs.replace(hardware, gpus=with_published(tuple(gpus), devices, findings))


def _gpu(address: str, display: re.Match[str], findings: Findings) -> Gpu | None:
    title = display["title"]
    if "Microsoft" in title:
        findings.note(
            "lspci shows WSL's paravirtual adapter, not the GPU behind it: import what nvidia-smi prints there"
        )
        return None
    vendor = int(display["vendor"], 16) if display["vendor"] else _vendor_of(title)
    kind = _VENDORS.get(vendor or 0)
    if vendor is None or kind is None:
        return None
    device = int(display["device"], 16) if display["device"] else None
    revision = int(display["revision"], 16) if display["revision"] else None
    product = re.search(r"\[([^\]]+)\]$", title)
    integrated = is_integrated_amd(device) if kind == "amd" else kind == "intel" and not is_discrete_intel(device)
    return Gpu(
        vendor=kind,
        name=builtin_name(vendor, device, revision) or (product[1] if product else title),
        backend="vulkan" if integrated else _BACKENDS.get(kind, "sycl"),
        bus_id=address,
        unified=integrated,
    )


def _vendor_of(title: str) -> int | None:
    return next((number for word, number in _VENDOR_WORDS if title.startswith(word)), None)
