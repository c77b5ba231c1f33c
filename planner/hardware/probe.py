"""Reading a machine: every reader once, in one order, into one `Hardware`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.hardware import (
    amd,
    bandwidth,
    cgroup,
    cpu,
    host,
    intel,
    memory,
    numa,
    nvidia,
    nvml,
    pci,
    published,
    smbios,
)
from planner.hardware.calibrations import load_calibrations
from planner.hardware.capture_files import read_saved_driver
from planner.hardware.facts import Cpu, Gpu, Hardware, Memory, NumaNode, SourceKind
from planner.hardware.findings import Findings
from planner.hardware.pci_names import display_name
from planner.hardware.state_folders import state_folder
from planner.hardware.tree import Tree, parse_cpu_list
from planner.units import format_gib

Progress = Callable[[str, float], None]


def probe(
    root: str | Path = "/",
    *,
    measure_bandwidth: bool = True,
    devices: DeviceTable | None = None,
    progress: Progress | None = None,
    numa_matrix: bool = False,
    state_dir: str | Path | None = None,
    models_dir: str | Path | None = None,
) -> Hardware:
    """Reads the machine (`/`) or a captured tree. Raises ProbeError only when `root` is no folder; all that could not
    be read is an unknown fact, with a note.

    With another root nothing is asked of the running kernel or its drivers, and nothing is measured. `progress` gets
    (what, fraction done) during the bandwidth measurement."""
    tree = Tree(root)
    if tree.live and sys.platform != "linux":
        from planner.hardware.other_systems import probe_other_system

        return probe_other_system(devices, measure_bandwidth=measure_bandwidth)
    findings = Findings()
    hardware = read_tree(tree, findings, devices, models_dir)
    if tree.live:
        calibration = load_calibrations(Path(state_dir) if state_dir else state_folder(), findings)
        hardware = msgspec.structs.replace(hardware, calibration=calibration)
    hardware = bandwidth.with_saved(tree, hardware, findings)
    if tree.live and measure_bandwidth:
        hardware = bandwidth.with_measured(tree, hardware, findings, progress, numa_matrix=numa_matrix)
    elif not any(node.bandwidth_bytes_per_s for node in hardware.numa_nodes):
        _without_bandwidth(tree, hardware.numa_nodes, findings)
    hardware = published.with_theoretical(hardware, findings)
    return msgspec.structs.replace(
        hardware, sources=dict(sorted(findings.sources.items())), notes=tuple(findings.notes)
    )


def _without_bandwidth(tree: Tree, nodes: tuple[NumaNode, ...], findings: Findings) -> None:
    why = "not asked for" if tree.live else "a captured tree cannot be measured"
    for i, _ in enumerate(nodes):
        findings.unknown(f"numa_nodes.{i}.bandwidth_bytes_per_s", why)


def read_tree(
    tree: Tree, findings: Findings, devices: DeviceTable | None, models_dir: str | Path | None = None
) -> Hardware:
    """Everything but measurements; sources and notes go to `findings`."""
    topology = cpu.read_topology(tree, findings)
    limits = cgroup.read_limits(tree)
    processors = _usable(tree, topology, limits, findings)
    ram = memory.read_memory(tree, limits, findings)
    nodes, firmware_nodes = numa.read_nodes(tree, topology, ram.total_bytes, findings)
    nodes = _allowed_nodes(nodes, limits, findings)
    system = host.read_os(tree, processors.architecture, findings)
    virtualization = host.read_virtualization(tree, topology.info, system.wsl, findings)
    ram = _with_modules(tree, ram, findings)
    series = published.series_of(topology, devices)
    ram = published.with_series(ram, series, processors.sockets, virtualization is not None, findings)
    gpus = published.with_published(_read_gpus(tree, ram, nodes, findings), devices, findings)
    return Hardware(
        cpu=processors,
        numa_nodes=nodes,
        firmware_nodes=firmware_nodes,
        memory=ram,
        gpus=gpus,
        os=system,
        product=host.read_product(tree, findings),
        virtualization=virtualization,
        container=host.read_container(tree, limits.path, findings),
        disk=host.read_disk(tree, models_dir, findings),
    )


def _usable(tree: Tree, topology: cpu.Topology, limits: cgroup.Limits, findings: Findings) -> Cpu:
    """The processors with what cpuset, affinity and quota leave of them."""
    allowed = set(topology.online)
    reasons = []
    if limits.cpus is not None:
        allowed &= set(limits.cpus)
        reasons.append(limits.cpuset_file or "cpuset")
    status = tree.text("proc/self/status") or ""
    listed = [line.split(":", 1)[1] for line in status.splitlines() if line.startswith("Cpus_allowed_list:")]
    affinity = parse_cpu_list(listed[0]) if listed else None
    if tree.live:
        affinity = tuple(os.sched_getaffinity(0))
    if affinity:
        allowed &= set(affinity)
        reasons.append("affinity")
    findings.fact("cpu.usable_cpus", "derived", "online CPUs within " + (" and ".join(reasons) or "no limit"))
    if limits.quota_cpus is not None:
        findings.fact("cpu.quota_cpus", "read", limits.quota_file)
        findings.note(f"the container may use {limits.quota_cpus:g} CPUs' worth of time")
    if topology.online and len(allowed) < len(topology.online):
        findings.note(f"{len(allowed)} of {len(topology.online)} online CPUs may be used ({' and '.join(reasons)})")
    result = msgspec.structs.replace(
        topology.cpu,
        usable_cpus=len(allowed) or None,
        allowed_cpus=tuple(sorted(allowed)),
        quota_cpus=limits.quota_cpus,
        architecture=host.read_architecture(tree, topology.cpu.architecture, findings),
    )
    findings.cover("cpu", result, "derived", "online CPUs less what cpuset and affinity take")
    return result


def _allowed_nodes(nodes: tuple[NumaNode, ...], limits: cgroup.Limits, findings: Findings) -> tuple[NumaNode, ...]:
    if limits.nodes is None:
        return nodes
    marks = memory.mark_allowed(limits.nodes, tuple(node.id for node in nodes))
    if not any(marks):
        return nodes
    if not all(marks):
        barred = ",".join(str(node.id) for node, mark in zip(nodes, marks, strict=True) if not mark)
        findings.note(f"the cpuset forbids the memory of NUMA nodes {barred}")
    pairs = zip(nodes, marks, strict=True)
    return tuple(node if mark else msgspec.structs.replace(node, allowed=False) for node, mark in pairs)


def _with_modules(tree: Tree, ram: Memory, findings: Findings) -> Memory:
    modules, where = smbios.read_modules(tree)
    if modules is None or not modules.dimms:
        state = "denied" if where == "denied" else "unknown"
        why = "SMBIOS needs root" if state == "denied" else "no SMBIOS memory table here"
        for name in ("type", "channels", "mt_per_s"):
            findings.unknown(f"memory.{name}", why, "denied" if state == "denied" else "unknown")
        if state == "denied":
            findings.note("memory modules unknown: reading SMBIOS needs root (or --import a `dmidecode -t 17` text)")
        return ram
    return add_modules(ram, modules, where, findings)


def add_modules(ram: Memory, modules: smbios.Modules, where: str, findings: Findings) -> Memory:
    """Memory with type, channels, speed and peak bandwidth of its modules."""
    facts = {
        "type": modules.type,
        "channels": modules.channels,
        "mt_per_s": modules.mt_per_s,
        "theoretical_bytes_per_s": modules.theoretical_bytes_per_s,
    }
    for name, value in facts.items():
        if value is None:
            findings.unknown(f"memory.{name}", f"{where}: the modules do not tell")
        else:
            kind: SourceKind = "derived" if name in {"channels", "theoretical_bytes_per_s"} else "read"
            soldered = any(dimm.soldered for dimm in modules.dimms)
            findings.fact(f"memory.{name}", kind, where, "suspect" if soldered and kind == "derived" else "known")
    if len(modules.dimms) and modules.channels is None and modules.type:
        findings.note(f"{len(modules.dimms)} of {modules.slots} memory slots are filled; their labels name no channel")
    return msgspec.structs.replace(ram, **facts)


def _read_gpus(tree: Tree, ram: Memory, nodes: tuple[NumaNode, ...], findings: Findings) -> tuple[Gpu, ...]:
    """NVIDIA first, then AMD, then Intel: the order in which servers of one backend would count them."""
    driver = read_saved_driver(tree)
    if tree.live:
        driver = nvml.read_driver()
        order = os.environ.get("CUDA_DEVICE_ORDER")
        driver = nvidia.visible_boards(driver, os.environ.get("CUDA_VISIBLE_DEVICES"), order, findings)
    gpus = nvidia.gpus_from_driver(driver, ram, nodes, findings)
    known = {gpu.bus_id for gpu in gpus}
    if not driver.boards:
        gpus += _silent_nvidia(tree, nodes, findings, len(gpus))
    gpus += amd.read_amd(tree, ram, nodes, findings, len(gpus))
    gpus += intel.read_intel(tree, ram, nodes, findings, len(gpus))
    if len(gpus) > 1 and len(known) > 1 and format_gib(ram.total_bytes) == "unknown":
        findings.note("system memory is unknown, so only GPU memory can be planned with")
    return gpus


def _silent_nvidia(tree: Tree, nodes: tuple[NumaNode, ...], findings: Findings, first: int) -> tuple[Gpu, ...]:
    """NVIDIA cards on the bus that no driver told about."""
    found: list[Gpu] = []
    for display in (d for d in pci.read_displays(tree) if d.vendor == pci.NVIDIA):
        gpu = Gpu(
            vendor="nvidia",
            name=display_name(tree, pci.NVIDIA, display.device, display.revision),
            backend="cuda",
            numa_node=display.numa_node if display.numa_node is not None else nodes[0].id if len(nodes) == 1 else None,
            link=pci.read_link(tree, display.folder),
            bus_id=display.address,
        )
        findings.cover(f"gpus.{first + len(found)}", gpu, "read", f"/{display.folder}")
        findings.unknown(f"gpus.{first + len(found)}.memory_bytes", "the driver was not asked")
        if tree.live:
            findings.note(f"{gpu.name} is on the PCI bus, but the NVIDIA driver does not answer for it")
        found.append(gpu)
    return tuple(found)
