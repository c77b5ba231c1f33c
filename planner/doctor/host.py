"""What about a machine itself will hurt serving, whatever is started on it."""

from __future__ import annotations

from collections.abc import Iterator

from planner.doctor.records import Finding
from planner.hardware.facts import Hardware
from planner.units import format_gib

# Below this a model of today's usual size does not fit on the disk beside the system.
_LITTLE_DISK_BYTES = 20 * 2**30


def host_findings(hardware: Hardware) -> tuple[Finding, ...]:
    """Findings of one machine, in the order of the checks."""
    return tuple(finding for check in _CHECKS for finding in check(hardware))


def _finding(rule_id: str, severity: str, place: str, text: str, fix: str) -> Finding:
    return Finding(rule_id=rule_id, severity=severity, place=place, text=text, fix=fix)  # type: ignore[arg-type]


def _numa_balancing(hardware: Hardware) -> Iterator[Finding]:
    if hardware.os.numa_balancing and len(hardware.numa_nodes) > 1:
        text = "automatic NUMA balancing moves pages that a plan has placed"
        yield _finding("numa-balancing", "warning", "os.numa_balancing", text, "sysctl kernel.numa_balancing=0")


def _huge_pages(hardware: Hardware) -> Iterator[Finding]:
    if hardware.os.transparent_hugepages == "never":
        text = "transparent huge pages are off: weights in RAM are read through 4 KiB pages"
        yield _finding("huge-pages", "note", "os.transparent_hugepages", text, "set them to madvise")


def _swap(hardware: Hardware) -> Iterator[Finding]:
    memory = hardware.memory
    if memory.swap_total_bytes and not hardware.unified:
        size = format_gib(memory.swap_total_bytes)
        text = f"{size} of swap: weights that are paged out are read back at disk speed"
        yield _finding("swap", "note", "memory.swap", text, "lock the weights, limit the service, or swapoff")


def _container_limit(hardware: Hardware) -> Iterator[Finding]:
    memory = hardware.memory
    if memory.limit_bytes and memory.total_bytes and memory.limit_bytes < memory.total_bytes:
        text = f"this container may use {format_gib(memory.limit_bytes)} of the host's {format_gib(memory.total_bytes)}"
        yield _finding("container-limit", "note", "memory.limit", text, "plans count on the limit; raise it for more")


def _disk(hardware: Hardware) -> Iterator[Finding]:
    disk = hardware.disk
    if disk and disk.free_bytes is not None and disk.free_bytes < _LITTLE_DISK_BYTES:
        text = f"{format_gib(disk.free_bytes)} are free where the models lie"
        yield _finding("disk-full", "warning", "disk", text, "free some, or keep the models elsewhere")


def _display(hardware: Hardware) -> Iterator[Finding]:
    for index, gpu in enumerate(hardware.gpus):
        if gpu.display and not gpu.unified:
            text = f"{gpu.name} drives a display, which takes memory and stutters under load"
            yield _finding(
                "gpu-display", "note", f"gpus.{index}", text, "move the display to another GPU, or leave room"
            )


def _links(hardware: Hardware) -> Iterator[Finding]:
    for index, gpu in enumerate(hardware.gpus):
        link = gpu.link
        if len(hardware.gpus) > 1 and link and link.kind == "pcie" and link.width and link.width <= 4:
            text = f"{gpu.name} hangs on PCIe x{link.width}: tensor parallel waits for it at every layer"
            yield _finding("narrow-link", "warning", f"gpus.{index}.link", text, "split by layers, or move the card")


def _unknown_bandwidth(hardware: Hardware) -> Iterator[Finding]:
    if any(node.bandwidth_bytes_per_s is None for node in hardware.numa_nodes if not node.memory_only):
        text = "RAM bandwidth is not known, so no speed on the CPU can be told"
        yield _finding("bandwidth-unknown", "note", "numa_nodes", text, "planner probe measures it in two seconds")


_CHECKS = (
    _numa_balancing, _huge_pages, _swap, _container_limit, _disk, _display, _links, _unknown_bandwidth,
)  # fmt: skip
