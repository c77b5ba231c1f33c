"""macOS and Windows: no /proc, so sysctl by name and psutil."""

from __future__ import annotations

import ctypes
import platform
import sys

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.hardware import nvidia, nvml
from planner.hardware.facts import Cpu, Hardware, Memory, NumaNode, Os
from planner.hardware.findings import Findings
from planner.hardware.imports.apple_text import mac_hardware, parse_sysctl
from planner.hardware.published import with_published

_UTF8, _SINT32 = 0x08000100, 3  # kCFStringEncodingUTF8, kCFNumberSInt32Type
_TEXT_NAMES = ("machdep.cpu.brand_string", "hw.perflevel0.name", "hw.perflevel1.name", "hw.perflevel2.name")
_NUMBER_NAMES = (
    "hw.memsize", "hw.memsize_usable", "hw.ncpu", "hw.physicalcpu_max", "hw.pagesize", "hw.nperflevels",
    "kern.hv_vmm_present", "iogpu.wired_limit_mb", "debug.iogpu.wired_limit", "sysctl.proc_translated",
    "hw.perflevel0.physicalcpu_max", "hw.perflevel1.physicalcpu_max", "hw.perflevel2.physicalcpu_max",
    "hw.perflevel0.logicalcpu_max", "hw.perflevel1.logicalcpu_max", "hw.perflevel2.logicalcpu_max",
    "hw.optional.arm.FEAT_DotProd", "hw.optional.arm.FEAT_I8MM", "hw.optional.arm.FEAT_BF16",
    "hw.optional.arm.FEAT_FP16", "hw.optional.arm.FEAT_SME",
)  # fmt: skip


def probe_other_system(findings: Findings, devices: DeviceTable | None) -> Hardware:
    """The running Mac or Windows machine, basic: CPU, memory, GPUs that a library tells; no RAM bandwidth."""
    hardware = _basic(findings)
    if sys.platform == "darwin" and _sysctl_value("hw.optional.arm64", text=False) == "1":  # also under Rosetta
        hardware = mac_hardware(parse_sysctl(_sysctl_text()), hardware, "sysctl", devices, findings)
    else:
        driver = nvml.read_driver()
        gpus = nvidia.gpus_from_driver(driver, hardware.memory, hardware.numa_nodes, findings)
        hardware = msgspec.structs.replace(hardware, gpus=with_published(gpus, devices, findings))
    findings.note(f"RAM bandwidth is not measured on {hardware.os.name}")
    return hardware


def _basic(findings: Findings) -> Hardware:
    """What psutil and the standard library tell on any system."""
    import psutil  # 50 ms; only where no /proc exists

    memory_now, swap = psutil.virtual_memory(), psutil.swap_memory()
    threads = psutil.cpu_count(logical=True)
    cpu = Cpu(
        model=_cpu_model(),
        architecture=platform.machine().lower() or None,
        cores=psutil.cpu_count(logical=False),
        threads=threads,
        usable_cpus=threads,
        allowed_cpus=tuple(range(threads or 0)),
    )
    memory = Memory(total_bytes=memory_now.total, available_bytes=memory_now.available, swap_total_bytes=swap.total)
    node = NumaNode(id=0, cpus=cpu.allowed_cpus, memory_bytes=memory.total_bytes, distances={0: 10})
    name = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    system = Os(name=name, release=platform.release() or None)
    for path, record in (("cpu", cpu), ("memory", memory), ("os", system)):
        findings.cover(path, record, "read", "psutil")
    findings.cover("numa_nodes.0", node, "derived", "taken as one node")
    return Hardware(cpu=cpu, memory=memory, numa_nodes=(node,), os=system)


def _cpu_model() -> str | None:
    """The brand text: py-cpuinfo runs code in a child process, so the registry or sysctl goes first."""
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return _sysctl_value("machdep.cpu.brand_string", text=True) if sys.platform == "darwin" else None


def _sysctl_text() -> str:
    """The named values in the form that `sysctl` prints, so that one parser reads both."""
    lines = []
    for names, text in ((_TEXT_NAMES, True), (_NUMBER_NAMES, False)):
        for name in names:
            value = _sysctl_value(name, text=text)
            if value is not None:
                lines.append(f"{name}: {value}")
    cores = gpu_core_count()
    if cores is not None:
        lines.append(f"gpu-core-count: {cores}")
    return "\n".join(lines)


def _sysctl_value(name: str, *, text: bool) -> str | None:
    """One value through `sysctlbyname`; None when the system does not know the name."""
    libc = ctypes.CDLL(None)
    size = ctypes.c_size_t(0)
    if libc.sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0) != 0 or size.value == 0:
        return None
    buffer = ctypes.create_string_buffer(size.value)
    if libc.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0) != 0:
        return None
    raw = buffer.raw[: size.value]
    return raw.rstrip(b"\0").decode("utf-8", "replace") if text else str(int.from_bytes(raw, sys.byteorder))


def gpu_core_count() -> int | None:
    """The GPU cores of an Apple chip from the IORegistry (`gpu-core-count` of AGXAccelerator), which sysctl lacks."""
    try:
        iokit, foundation = (
            ctypes.CDLL(f"/System/Library/Frameworks/{name}.framework/{name}") for name in ("IOKit", "CoreFoundation")
        )
    except OSError:
        return None
    iokit.IOServiceMatching.restype = ctypes.c_void_p
    iokit.IOServiceGetMatchingService.argtypes = (ctypes.c_uint32, ctypes.c_void_p)
    iokit.IORegistryEntryCreateCFProperty.argtypes = (
        ctypes.c_uint32,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint32,
    )
    iokit.IORegistryEntryCreateCFProperty.restype = ctypes.c_void_p
    foundation.CFStringCreateWithCString.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32)
    foundation.CFStringCreateWithCString.restype = ctypes.c_void_p
    foundation.CFNumberGetValue.argtypes = (ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p)
    service = iokit.IOServiceGetMatchingService(0, iokit.IOServiceMatching(b"AGXAccelerator"))
    if not service:  # a virtual machine
        return None
    key = foundation.CFStringCreateWithCString(None, b"gpu-core-count", _UTF8)
    number = iokit.IORegistryEntryCreateCFProperty(service, key, None, 0)
    cores = ctypes.c_int32(0)
    told = bool(number) and foundation.CFNumberGetValue(number, _SINT32, ctypes.byref(cores))
    return cores.value if told and 0 < cores.value < 1024 else None
