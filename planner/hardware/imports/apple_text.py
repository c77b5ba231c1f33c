"""`sysctl` text and `system_profiler -json`: a Mac's chip, cores and memory. The same reader serves the running Mac."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from planner.catalog.records.device import Device, DeviceTable
from planner.errors import PlannerError, ProbeError
from planner.hardware.apple import PAGE_BYTES, apple_gpu, chip_name
from planner.hardware.facts import CoreType, Cpu, Gpu, Hardware, Memory, NumaNode, Os
from planner.hardware.findings import Findings
from planner.units import parse_bytes

# sysctl's feature names to the kernel names that everything else here uses
_FEATURES = {
    "FEAT_DotProd": "asimddp",
    "FEAT_I8MM": "i8mm",
    "FEAT_BF16": "bf16",
    "FEAT_FP16": "asimdhp",
    "FEAT_SME": "sme",
}


class Mac(msgspec.Struct, frozen=True, kw_only=True):
    """What either source tells of a Mac."""

    chip: str | None = None
    cores: int | None = None
    tiers: tuple[CoreType, ...] = ()
    memory_bytes: int | None = None
    usable_bytes: int | None = None
    memory_type: str | None = None
    gpu_cores: int | None = None
    wired_limit_mib: int | None = None
    translated: bool = False
    isa: tuple[str, ...] = ()
    page_bytes: int | None = None
    virtual: bool = False


def add(hardware: Hardware, text: str, name: str, devices: DeviceTable | None, findings: Findings) -> Hardware:
    """The Mac of the text; what an earlier file told of it stays where this one is silent."""
    mac = parse_system_profiler(text, name) if '"SP' in text else parse_sysctl(text)
    return mac_hardware(mac, hardware, name, devices, findings)


def parse_sysctl(text: str) -> Mac:
    """`hw.memsize: 137438953472` lines (also with `=`)."""
    facts = dict(re.findall(r"^([\w.-]+)\s*[:=]\s*(.*?)\s*$", text, re.MULTILINE))

    def number(*names: str) -> int | None:
        found = (facts.get(name, "") for name in names)
        return next((int(value) for value in found if value.isdecimal() and len(value) < 19), None)

    tiers = []
    for level in range(number("hw.nperflevels") or 4):
        cores = number(f"hw.perflevel{level}.physicalcpu_max", f"hw.perflevel{level}.physicalcpu")
        if cores:
            threads = number(f"hw.perflevel{level}.logicalcpu_max") or cores
            tiers.append(
                CoreType(name=facts.get(f"hw.perflevel{level}.name", f"level {level}"), cores=cores, threads=threads)
            )
    brand = facts.get("machdep.cpu.brand_string")
    told = brand and not brand.startswith("VirtualApple")  # what Rosetta says in place of the chip
    return Mac(
        chip=brand.removesuffix(" (Virtual)") if brand and told else None,
        cores=number("hw.physicalcpu_max", "hw.physicalcpu", "hw.ncpu"),
        tiers=tuple(tiers),
        memory_bytes=number("hw.memsize"),
        usable_bytes=number("hw.memsize_usable"),
        gpu_cores=number("gpu-core-count"),
        translated=facts.get("sysctl.proc_translated") == "1",
        wired_limit_mib=number("iogpu.wired_limit_mb", "debug.iogpu.wired_limit"),
        isa=tuple(sorted(kernel for name, kernel in _FEATURES.items() if facts.get(f"hw.optional.arm.{name}") == "1")),
        page_bytes=number("hw.pagesize"),
        virtual="(Virtual)" in (brand or "") or facts.get("kern.hv_vmm_present") == "1",
    )


def parse_system_profiler(text: str, name: str = "system_profiler") -> Mac:
    """`SPHardwareDataType`, `SPMemoryDataType` and `SPDisplaysDataType`. Raises ProbeError on broken JSON."""
    try:
        document = json.loads(text[text.index("{") :])
    except (ValueError, RecursionError) as error:
        raise ProbeError(
            f"{name}: broken JSON: {error}", hint="paste: system_profiler -json SPHardwareDataType"
        ) from error
    machine, memory, display = (_first(document, f"SP{part}DataType") for part in ("Hardware", "Memory", "Displays"))
    chip = str(machine.get("chip_type") or "") or _chip_of_display(display)
    total, tiers = _processors(machine.get("number_processors"))
    size = machine.get("physical_memory") or memory.get("SPMemoryDataType")
    kind = str(memory.get("dimm_type") or "").upper().replace("LP_", "LP")
    gpu_cores = str(display.get("sppci_cores") or "")
    return Mac(
        chip=chip.removesuffix(" (Virtual)") if chip else None,
        cores=total,
        tiers=tiers,
        memory_bytes=_size(size),
        memory_type=kind or None,
        gpu_cores=int(gpu_cores) if gpu_cores.isdecimal() and len(gpu_cores) < 5 else None,
        virtual="(Virtual)" in (chip or ""),
    )


def _chip_of_display(display: dict[str, Any]) -> str | None:
    """`sppci_model` names the chip; early macOS 11 has the key `kHW_AppleM1Item` in its place."""
    key = re.fullmatch(r"kHW_Apple(M\d+)(Pro|Max|Ultra)?Item", str(display.get("_name") or ""))
    model = str(display.get("sppci_model") or "")
    if key:
        return " ".join(part for part in ("Apple", key[1], key[2]) if part)
    return model if model.startswith("Apple ") else None


def _first(document: Any, key: str) -> dict[str, Any]:
    section = document.get(key) if isinstance(document, dict) else None
    return section[0] if isinstance(section, list) and section and isinstance(section[0], dict) else {}


def _size(text: Any) -> int | None:
    """`16 GB`: system_profiler means GiB."""
    try:
        return parse_bytes(str(text).replace(" ", "").replace("GB", "GiB").replace("TB", "TiB")) if text else None
    except PlannerError:
        return None


def _processors(stated: Any) -> tuple[int | None, tuple[CoreType, ...]]:
    """`proc 8:4:4` is total, performance, efficiency; `total:super:P:E` from macOS 26; a plain number in a VM."""
    if isinstance(stated, int) and not isinstance(stated, bool):
        return stated, ()
    match = re.fullmatch(r"proc (\d{1,4}(?::\d{1,4})+)", str(stated or ""))
    if match is None:
        return None, ()
    total, *tiers = (int(part) for part in match[1].split(":"))
    names = ("Super", "Performance", "Efficiency") if len(tiers) == 3 else ("Performance", "Efficiency")
    kinds = tuple(CoreType(name=n, cores=c, threads=c) for n, c in zip(names, tiers, strict=False) if c)
    return total, kinds


def mac_hardware(mac: Mac, base: Hardware, origin: str, devices: DeviceTable | None, findings: Findings) -> Hardware:
    """A Mac as hardware: one node, one GPU in the same memory. `base` fills what this source leaves open."""
    total = mac.memory_bytes or base.memory.total_bytes
    chip = mac.chip or base.cpu.model
    cores = mac.cores or base.cpu.cores
    cpu = Cpu(
        model=chip,
        vendor="Apple",
        architecture="arm64",
        sockets=1,
        cores=cores,
        threads=cores,
        usable_cpus=cores,
        allowed_cpus=tuple(range(cores or 0)),
        isa=mac.isa or base.cpu.isa,
        core_types=mac.tiers or base.cpu.core_types,
    )
    memory = Memory(
        total_bytes=total,
        available_bytes=base.memory.available_bytes,
        swap_total_bytes=base.memory.swap_total_bytes,
        type=mac.memory_type or base.memory.type,
    )
    node = NumaNode(id=0, cpus=cpu.allowed_cpus, memory_bytes=total, distances={0: 10}, package=0)
    gpu_cores = mac.gpu_cores or next((gpu.cores for gpu in base.gpus if gpu.vendor == "apple"), None)
    gpus: tuple[Gpu, ...] = ()
    if chip is not None:
        device = _device(chip, gpu_cores, devices, findings)
        name = chip_name(device) if device else chip
        gpu = apple_gpu(device, name, total, findings, cores=gpu_cores, wired_limit_mib=mac.wired_limit_mib)
        if mac.usable_bytes and gpu.working_set_bytes and mac.usable_bytes < gpu.working_set_bytes:
            gpu = msgspec.structs.replace(gpu, working_set_bytes=mac.usable_bytes)
            findings.fact("gpus.0.working_set_bytes", "read", "hw.memsize_usable")
        gpus = (gpu,)
    if mac.translated:
        findings.note("this Python runs under Rosetta: what it starts is translated too; install an arm64 Python")
    system = Os(name="macos", release=base.os.release, page_bytes=mac.page_bytes or PAGE_BYTES)
    for path, record in (("cpu", cpu), ("memory", memory), ("os", system)):
        findings.cover(path, record, "read", origin)
    findings.cover("numa_nodes.0", node, "derived", "unified memory is one node")
    return msgspec.structs.replace(
        base,
        cpu=cpu,
        memory=memory,
        numa_nodes=(node,),
        gpus=gpus,
        os=system,
        virtualization="apple" if mac.virtual else base.virtualization,
    )


def _device(chip: str, gpu_cores: int | None, devices: DeviceTable | None, findings: Findings) -> Device | None:
    """The chip's bin; without GPU cores the lower one, which a note says."""
    if devices is None:
        return None
    try:
        device = devices.device(f"{chip} {gpu_cores}c" if gpu_cores else chip)
    except PlannerError:
        findings.note(f"{chip} is not in the device catalog, so its speed is unknown unless measured")
        return None
    if gpu_cores is None and device.gpu_cores:
        findings.note(f"{chip}: GPU cores not told, {device.gpu_cores} assumed (the lower bin)")
        findings.fact("gpus.0.cores", "assumed", "lower bin")
    return device
