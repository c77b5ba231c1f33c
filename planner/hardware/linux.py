"""A Linux machine from its files: every reader once, in one order, into one `Hardware`."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.hardware import amd, cgroup, cpu, host, intel, memory, numa, nvidia, nvml, pci, published
from planner.hardware.capture_files import from_a_running_machine, read_saved_driver, read_saved_live
from planner.hardware.facts import Cpu, Gpu, Hardware, Memory, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.module_facts import with_modules
from planner.hardware.nvidia import Driver
from planner.hardware.pci_names import display_name
from planner.hardware.tree import Tree, parse_cpu_list


def read_linux(
    tree: Tree,
    findings: Findings,
    devices: DeviceTable | None,
    driver: Driver = Driver(),  # noqa: B008 - frozen
    models_dir: str | Path | None = None,
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
    ram = with_modules(tree, ram, findings)
    series = published.series_of(topology, devices)
    ram = published.with_series(ram, series, processors.sockets, virtualization is not None, findings)
    gpus = published.with_published(_read_gpus(tree, driver, ram, nodes, findings), devices, findings)
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
    affinity = tuple(os.sched_getaffinity(0)) if tree.live else read_saved_live(tree).allowed_cpus or affinity
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
        **host.read_frequency(tree),
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


def read_driver(tree: Tree) -> Driver:
    """What the NVIDIA driver says now, or said when the tree was captured."""
    if not tree.live:
        return read_saved_driver(tree)
    order = os.environ.get("CUDA_DEVICE_ORDER")
    return nvidia.visible_boards(nvml.read_driver(), os.environ.get("CUDA_VISIBLE_DEVICES"), order)


def _read_gpus(
    tree: Tree, driver: Driver, ram: Memory, nodes: tuple[NumaNode, ...], findings: Findings
) -> tuple[Gpu, ...]:
    """NVIDIA first, then AMD, then Intel."""
    gpus = nvidia.gpus_from_driver(driver, ram, nodes, findings)
    gpus = tuple(_on_the_bus(tree, gpu, findings, f"gpus.{i}") for i, gpu in enumerate(gpus))
    if not driver.boards:
        gpus += _silent_nvidia(tree, nodes, findings, len(gpus))
    gpus += amd.read_amd(tree, ram, nodes, findings, len(gpus))
    return gpus + intel.read_intel(tree, ram, nodes, findings, len(gpus))


def _on_the_bus(tree: Tree, gpu: Gpu, findings: Findings, path: str) -> Gpu:
    """The GPU with what sysfs adds to the driver's word: its NUMA node, and a slower bridge above it."""
    folder = f"{pci.DEVICES_DIR}/{gpu.bus_id}"
    if gpu.bus_id is None or not tree.exists(folder):
        return gpu
    if gpu.numa_node is None:
        stated = tree.integer(f"{folder}/numa_node")
        if stated is not None and stated >= 0:
            findings.fact(f"{path}.numa_node", "read", f"/{folder}/numa_node")
            gpu = msgspec.structs.replace(gpu, numa_node=stated)
    link = pci.slower_link(gpu.link, pci.read_link(tree, folder))
    if link != gpu.link:
        for name in ("generation", "width", "bytes_per_s"):
            findings.fact(f"{path}.link.{name}", "derived", "the slowest of the card and the bridges above it")
    return msgspec.structs.replace(gpu, link=link)


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
        if from_a_running_machine(tree):
            findings.note(f"{gpu.name} is on the PCI bus, but the NVIDIA driver does not answer for it")
        found.append(gpu)
    return tuple(found)
