"""Intel GPUs, basic: which card, and whether it has memory of its own (i915 and xe tell its size in no stable file)."""

from __future__ import annotations

from planner.hardware.facts import Gpu, Memory, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.pci import INTEL, PciDisplay, read_displays, read_link
from planner.hardware.pci_names import display_name, is_discrete_intel
from planner.hardware.tree import Tree

_SMALL_BAR_BYTES = 256 * 1024**2  # without resizable BAR the window says nothing about the memory behind it


def read_intel(
    tree: Tree, memory: Memory, nodes: tuple[NumaNode, ...], findings: Findings, first_index: int
) -> tuple[Gpu, ...]:
    """Intel display controllers as GPUs. Integrated ones are unified: the capacity is the machine's."""
    found: list[Gpu] = []
    for display in (d for d in read_displays(tree) if d.vendor == INTEL):
        path = f"gpus.{first_index + len(found)}"
        gpu = _gpu(tree, display, memory, nodes, findings, path)
        findings.cover(path, gpu, "read", f"/{display.folder}")
        found.append(gpu)
    return tuple(found)


def _gpu(
    tree: Tree, display: PciDisplay, memory: Memory, nodes: tuple[NumaNode, ...], findings: Findings, path: str
) -> Gpu:
    discrete = is_discrete_intel(display.device) or _stated_bytes(tree, display) is not None
    size = _own_memory(tree, display, findings, path) if discrete else memory.total_bytes
    if not discrete and size is not None:
        findings.fact(f"{path}.memory_bytes", "derived", "integrated: the machine's memory")
    return Gpu(
        vendor="intel",
        name=display_name(tree, INTEL, display.device, display.revision),
        backend="sycl" if discrete else "vulkan",
        memory_bytes=size,
        numa_node=display.numa_node if display.numa_node is not None else nodes[0].id if len(nodes) == 1 else None,
        link=read_link(tree, display.folder) if discrete else None,
        unified=not discrete,
        bus_id=display.address,
    )


def _stated_bytes(tree: Tree, display: PciDisplay) -> int | None:
    for card in tree.names(f"{display.folder}/drm"):
        size = tree.size_bytes(f"{display.folder}/drm/{card}/lmem_total_bytes")  # some kernels only
        if size:
            return size
    return None


def _own_memory(tree: Tree, display: PciDisplay, findings: Findings, path: str) -> int | None:
    stated = _stated_bytes(tree, display)
    if stated:
        return stated
    window = _bar2_bytes(tree.text(f"{display.folder}/resource"))
    if window and window > _SMALL_BAR_BYTES:
        findings.fact(f"{path}.memory_bytes", "derived", "size of the resizable BAR 2", state="suspect")
        return window
    findings.unknown(f"{path}.memory_bytes", "the driver has no file that tells it")
    return None


def _bar2_bytes(text: str | None) -> int | None:
    """Third line of `resource`: start, end, flags."""
    lines = (text or "").splitlines()
    try:
        start, end = (int(word, 16) for word in lines[2].split()[:2])
    except (IndexError, ValueError):
        return None
    return end - start + 1 if end > start else None
