"""A machine from options instead of probing. Never borrows a part from the machine it runs on."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.errors import UsageError
from planner.hardware import apple as apple_chips
from planner.hardware.facts import Cpu, Gpu, Hardware, Memory, Os, SourceKind
from planner.hardware.findings import Findings
from planner.hardware.imagined_gpus import GpuWish, imagine_gpus, parse_backend
from planner.hardware.imagined_ram import (
    SERVER,
    Processor,
    RamWish,
    assemble,
    assumed_platform,
    find_processor,
    imagine_cpu,
    ram_bandwidth,
    split_nodes,
)
from planner.units import format_gib, parse_bytes, parse_bytes_per_s

MOST_CORES, MOST_NODES = 4096, 64


def what_if(
    devices: DeviceTable,
    *,
    gpus: Iterable[str] | str = (),
    apple: str | None = None,
    cpu: str | None = None,
    cores: int | None = None,
    ram: int | str | None = None,
    ram_bandwidth: float | str | None = None,
    numa_nodes: int | None = 1,
    vram: int | str | None = None,
    gpu_bandwidth: float | str | None = None,
    backend: str | None = None,
) -> Hardware:
    """The machine described. Sizes are bytes or text with a unit; `ram` and `ram_bandwidth` are totals, split evenly
    over `numa_nodes`.

    Raises UsageError on contradictions and bare numbers, UnknownName on names that the device table lacks."""
    gpu_wish = GpuWish(
        names=(gpus,) if isinstance(gpus, str) else tuple(gpus),
        vram_bytes=None if vram is None else parse_bytes(vram, "--vram"),
        bandwidth_bytes_per_s=None if gpu_bandwidth is None else parse_bytes_per_s(gpu_bandwidth, "--gpu-bandwidth"),
        backend=parse_backend(backend),
    )
    wish = RamWish(
        cpu=cpu,
        cores=_count(cores, "--cores", MOST_CORES) if cores is not None else None,
        ram_bytes=None if ram is None else parse_bytes(ram, "--ram"),
        bandwidth_bytes_per_s=None if ram_bandwidth is None else parse_bytes_per_s(ram_bandwidth, "--ram-bandwidth"),
        numa_nodes=_count(1 if numa_nodes is None else numa_nodes, "--numa-nodes", MOST_NODES),
    )
    findings = Findings()
    if apple is not None:
        hardware = _apple_machine(apple, gpu_wish, wish, devices, findings)
    else:
        hardware = _machine(gpu_wish, wish, devices, findings)
    return msgspec.structs.replace(
        hardware, sources=dict(sorted(findings.sources.items())), notes=tuple(findings.notes)
    )


def _count(value: int, option: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"{option} {value!r}: expected a whole number from 1 to {most}")
    return value


def _machine(gpu_wish: GpuWish, wish: RamWish, devices: DeviceTable, findings: Findings) -> Hardware:
    _check(gpu_wish, wish)
    processor = find_processor(wish, devices)
    assumptions = Findings()
    platform = assumed_platform(wish)
    gpus = imagine_gpus(gpu_wish, devices, findings)
    if gpus and gpus[0].unified:
        return _apu_machine(gpus[0], gpu_wish, wish, processor, devices, findings)
    cpu = imagine_cpu(wish, processor, assumptions, larger=platform == SERVER)
    bandwidth = ram_bandwidth(wish, processor, platform, devices, assumptions)
    if wish.ram_bytes is None:
        assumptions.note("system memory is unknown, so no plan may use it: give --ram")
    hardware = assemble(wish, processor, cpu, bandwidth, gpus, assumptions)
    findings.notes[:0] = assumptions.notes
    findings.sources.update(assumptions.sources)
    return hardware


def _check(gpu_wish: GpuWish, wish: RamWish) -> None:
    """Contradictions between options. Raises UsageError."""
    nothing = (gpu_wish.names, gpu_wish.vram_bytes, wish.cpu, wish.cores, wish.ram_bytes)
    if not any(nothing):
        raise UsageError("no machine is described", hint="name at least --gpu, --vram, --apple, --cpu or --ram")
    has_gpu = bool(gpu_wish.names or gpu_wish.vram_bytes)
    if gpu_wish.bandwidth_bytes_per_s is not None and not has_gpu:
        raise UsageError("--gpu-bandwidth without a GPU", hint="give --gpu or --vram, or --ram-bandwidth for the RAM")
    if gpu_wish.backend == "cpu" and has_gpu:
        raise UsageError("--backend cpu contradicts --gpu and --vram", hint="leave the GPU out")
    if gpu_wish.backend not in {None, "cpu"} and not has_gpu:
        raise UsageError(f"--backend {gpu_wish.backend} without a GPU", hint="give --gpu or --vram")


def _apu_machine(
    gpu: Gpu, gpu_wish: GpuWish, wish: RamWish, processor: Processor, devices: DeviceTable, findings: Findings
) -> Hardware:
    """A chip whose GPU computes in system memory (GB10, Strix Halo). `--vram` is the most that the GPU may use."""
    if wish.numa_nodes > 1:
        raise UsageError(f"--numa-nodes {wish.numa_nodes} contradicts {gpu.name}, which has one memory")
    device = devices.device(gpu.name)
    total = wish.ram_bytes or device.memory_bytes
    limit, source, why = _apu_limit(gpu, gpu_wish, total)
    if limit is not None:
        findings.fact("gpus.0.working_set_bytes", source, why)
        findings.fact("gpus.0.memory_bytes", "derived", "the machine's memory")
    if source == "assumed":
        findings.notes.insert(0, f"{gpu.name} is assumed to use {format_gib(limit)} of the memory: give --vram")
    if total is None:
        findings.notes.insert(0, f"{gpu.name} computes in system memory, whose size is unknown: give --ram")
    gpu = msgspec.structs.replace(gpu, memory_bytes=total, working_set_bytes=limit)
    cpu = imagine_cpu(wish, processor, findings, larger=False)
    known = wish.bandwidth_bytes_per_s or gpu.bandwidth_bytes_per_s
    bandwidth: tuple[float | None, SourceKind, str] = (known, "catalog", f"{gpu.name}: {device.source}")
    if wish.bandwidth_bytes_per_s is not None:
        bandwidth = (known, "given", "--ram-bandwidth")
    hardware = assemble(msgspec.structs.replace(wish, ram_bytes=total), processor, cpu, bandwidth, (gpu,), findings)
    if wish.ram_bytes is None and total is not None:
        findings.fact("memory.total_bytes", "catalog", device.source)
    return hardware


def _apu_limit(gpu: Gpu, gpu_wish: GpuWish, total: int | None) -> tuple[int | None, SourceKind, str]:
    if total is None:
        return None, "derived", ""
    if gpu_wish.vram_bytes is not None:
        if gpu_wish.vram_bytes > total:
            raise UsageError(f"--vram is more than the machine's memory, {format_gib(total)}")
        return gpu_wish.vram_bytes, "given", "--vram: the part that the GPU may use"
    if gpu.vendor == "nvidia":
        return total, "catalog", "CUDA may allocate all of the shared memory"
    return total // 2, "assumed", "amdgpu lets the GPU map half of the RAM unless ttm.pages_limit says more"


def _apple_machine(text: str, gpu_wish: GpuWish, wish: RamWish, devices: DeviceTable, findings: Findings) -> Hardware:
    chip = apple_chips.parse_chip(text)
    _check_apple(chip, gpu_wish, wish)
    device = apple_chips.find_chip(chip, devices, findings)
    total = chip.memory_bytes or wish.ram_bytes
    if total is None and len(device.memory_options_bytes) == 1:
        total = device.memory_options_bytes[0]
    if total is None:
        findings.notes.insert(0, f'memory is unknown, so nothing can be planned: give --apple "{text.strip()} SIZE"')
        findings.unknown("memory.total_bytes", "no size in --apple")
    else:
        apple_chips.check_size(device, total, findings)
        findings.fact("memory.total_bytes", "given" if chip.memory_bytes or wish.ram_bytes else "catalog", "--apple")
    name = apple_chips.chip_name(device)
    gpu = apple_chips.apple_gpu(device, name, total, findings)
    rate = gpu_wish.bandwidth_bytes_per_s or wish.bandwidth_bytes_per_s
    if rate is not None:
        gpu = msgspec.structs.replace(gpu, bandwidth_bytes_per_s=rate)
        findings.fact("gpus.0.bandwidth_bytes_per_s", "given", "--ram-bandwidth or --gpu-bandwidth")
    series = devices.cpu_series(name)
    cores = wish.cores or (series.cores if series else None)
    cpu = Cpu(model=name, vendor="Apple", architecture="arm64", sockets=1, cores=cores, threads=cores)
    findings.cover("cpu", cpu, "given" if wish.cores else "catalog", "--apple")
    node = split_nodes(1, cores or 0, total, None)[0]
    findings.cover("numa_nodes.0", node, "derived", "unified memory is one node")
    findings.unknown("numa_nodes.0.bandwidth_bytes_per_s", "the CPU alone reaches only part of the chip's bandwidth")
    system = Os(name="macos", page_bytes=apple_chips.PAGE_BYTES)
    findings.cover("os", system, "derived", "an Apple chip")
    return Hardware(cpu=cpu, numa_nodes=(node,), memory=Memory(total_bytes=total), gpus=(gpu,), os=system)


def _check_apple(chip: apple_chips.Chip, gpu_wish: GpuWish, wish: RamWish) -> None:
    if gpu_wish.names or gpu_wish.vram_bytes is not None:
        raise UsageError("--apple contradicts --gpu and --vram", hint="an Apple chip's GPU uses the machine's memory")
    if wish.cpu is not None:
        raise UsageError("--apple contradicts --cpu", hint="the chip is the CPU")
    if wish.numa_nodes > 1:
        raise UsageError("--apple contradicts --numa-nodes", hint="unified memory is one node")
    if gpu_wish.backend not in {None, "metal"}:
        raise UsageError(f"--apple contradicts --backend {gpu_wish.backend}", hint="Apple chips run metal")
    if chip.memory_bytes and wish.ram_bytes and chip.memory_bytes != wish.ram_bytes:
        raise UsageError("--apple and --ram name different sizes", hint="give one of them")
    if gpu_wish.bandwidth_bytes_per_s and wish.bandwidth_bytes_per_s not in {None, gpu_wish.bandwidth_bytes_per_s}:
        raise UsageError("--gpu-bandwidth and --ram-bandwidth differ, but an Apple chip has one memory")
