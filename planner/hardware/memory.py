"""System memory of a Linux tree: /proc/meminfo, reserved huge pages, and what a container leaves of it."""

from __future__ import annotations

import re

from planner.hardware.cgroup import Limits
from planner.hardware.facts import FactState, Memory
from planner.hardware.findings import Findings
from planner.hardware.tree import MOST_MEMORY_BYTES, Tree
from planner.units import KIB, format_gib

HUGEPAGES_DIR = "sys/kernel/mm/hugepages"


def read_meminfo(tree: Tree) -> dict[str, int]:
    """Bytes by key of /proc/meminfo, which writes kB and means KiB."""
    lines = (tree.text("proc/meminfo") or "").splitlines()
    matches = (re.fullmatch(r"([\w()]+):\s+(\d{1,18})( kB)?", line.strip()) for line in lines)
    found = {match[1]: int(match[2]) * (KIB if match[3] else 1) for match in matches if match}
    return {key: value for key, value in found.items() if value <= MOST_MEMORY_BYTES}


def read_memory(tree: Tree, limits: Limits, findings: Findings) -> Memory:
    """Memory of the machine and what is left of it now. MemTotal 0 (an old LXCFS fault) is unknown."""
    info = read_meminfo(tree)
    total = info.get("MemTotal") or None
    if total is None:
        findings.unknown("memory.total_bytes", "/proc/meminfo has no MemTotal", _state(tree))
        findings.note("the machine's memory is unknown: /proc/meminfo could not be read")
    limit = limits.memory_bytes if limits.memory_bytes and (total is None or limits.memory_bytes < total) else None
    if limit is not None:
        findings.fact("memory.limit_bytes", "read", limits.memory_file)
        findings.note(f"a container limit leaves {format_gib(limit)} of {format_gib(total)}")
    memory = Memory(
        total_bytes=total,
        available_bytes=_available(info, limit, limits.used_bytes),
        limit_bytes=limit,
        hugepages_bytes=_hugepages(tree, info),
        swap_total_bytes=info.get("SwapTotal"),
        swap_used_bytes=_swap_used(info),
        lock_limit_bytes=_lock_limit(tree, total),
    )
    if memory.lock_limit_bytes is not None:
        findings.fact("memory.lock_limit_bytes", "read", "/proc/self/limits")
    if limit is not None and memory.available_bytes is not None:
        findings.fact("memory.available_bytes", "derived", "MemAvailable, or the limit less what the group holds")
    elif "MemAvailable" not in info and memory.available_bytes is not None:
        findings.fact("memory.available_bytes", "derived", "free + buffers + cached: this kernel has no MemAvailable")
    if memory.hugepages_bytes:
        findings.fact("memory.hugepages_bytes", "derived", "reserved pages x page size")
        findings.note(f"{format_gib(memory.hugepages_bytes)} are reserved as huge pages and not usable by servers")
    findings.cover("memory", memory, "read", "/proc/meminfo")
    return memory


def _swap_used(info: dict[str, int]) -> int | None:
    if "SwapTotal" not in info or "SwapFree" not in info:
        return None
    return max(0, info["SwapTotal"] - info["SwapFree"])


def _lock_limit(tree: Tree, total: int | None) -> int | None:
    """The soft limit of locked memory, in bytes; all memory where there is none."""
    match = re.search(r"^Max locked memory\s+(unlimited|\d{1,20})\s", tree.text("proc/self/limits") or "", re.MULTILINE)
    if match is None:
        return None
    return total if match[1] == "unlimited" else min(int(match[1]), MOST_MEMORY_BYTES)


def _state(tree: Tree) -> FactState:
    return "denied" if tree.state("proc/meminfo") == "denied" else "unknown"


def _available(info: dict[str, int], limit: int | None, used: int | None) -> int | None:
    available = info.get("MemAvailable")
    if available is None and "MemFree" in info:
        available = info["MemFree"] + info.get("Buffers", 0) + info.get("Cached", 0)
    if limit is None:
        return available
    left = limit if used is None else max(0, limit - used)
    return left if available is None else min(available, left)


def _hugepages(tree: Tree, info: dict[str, int]) -> int | None:
    """All reserved sizes from sysfs; /proc/meminfo knows only the default size."""
    total, known = 0, False
    for name in tree.names(HUGEPAGES_DIR):
        match = re.fullmatch(r"hugepages-(\d{1,12})kB", name)
        count = tree.size_bytes(f"{HUGEPAGES_DIR}/{name}/nr_hugepages")
        if match and count is not None and int(match[1]) * KIB * count <= MOST_MEMORY_BYTES:
            total, known = total + int(match[1]) * KIB * count, True
    if known:
        return total
    if "HugePages_Total" in info and "Hugepagesize" in info:
        return info["HugePages_Total"] * info["Hugepagesize"]
    return None


def mark_allowed(memory_nodes: tuple[int, ...] | None, node_ids: tuple[int, ...]) -> tuple[bool, ...]:
    """For each node whether the cpuset lets this process allocate there (None: everywhere)."""
    return tuple(memory_nodes is None or node in memory_nodes for node in node_ids)
