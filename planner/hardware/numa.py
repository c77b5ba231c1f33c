"""NUMA nodes of a Linux tree: what firmware says, and what a plan may bind to."""

from __future__ import annotations

import re

import msgspec

from planner.hardware.cpu import Topology
from planner.hardware.facts import NodeKind, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.tree import MOST_MEMORY_BYTES, Tree, format_cpu_list, parse_integer
from planner.units import KIB, format_gib

NODE_DIR = "sys/devices/system/node"
_STALE_FACTOR = 1.1  # node files and MemTotal differ by a per cent or two: the kernel's own share


def read_nodes(
    tree: Tree, topology: Topology, total_bytes: int | None, findings: Findings
) -> tuple[tuple[NumaNode, ...], tuple[NumaNode, ...]]:
    """(bindable nodes, firmware nodes where those differ). There is always at least one bindable node."""
    stated = _stated(tree, topology, findings)
    if not stated:
        findings.note("no NUMA information: one node holding everything is assumed")
        whole = NumaNode(id=0, cpus=topology.online, memory_bytes=total_bytes, distances={0: 10}, package=0)
        findings.cover("numa_nodes.0", whole, "derived", "no node folder: everything is one node")
        return (whole,), ()
    bindable = _collapse_overlaps(stated, total_bytes, findings)
    only_possible = len(tree.cpus(f"{NODE_DIR}/possible") or bindable) == 1
    bindable = _fill_single_memory(bindable, total_bytes, only_possible, findings)
    for i, node in enumerate(bindable):
        findings.cover(f"numa_nodes.{i}", node, "read", f"/{NODE_DIR}/node{node.id}")
        if node.memory_bytes is None:
            findings.unknown(f"numa_nodes.{i}.memory_bytes", f"/{NODE_DIR}/node{node.id}/meminfo is missing")
    if bindable == stated:
        return bindable, ()
    for i, node in enumerate(stated):
        findings.cover(f"firmware_nodes.{i}", node, "read", f"/{NODE_DIR}/node{node.id}")
    return bindable, stated


def _stated(tree: Tree, topology: Topology, findings: Findings) -> tuple[NumaNode, ...]:
    folders = (name[4:] for name in tree.names(NODE_DIR) if name.startswith("node") and name[4:].isdecimal())
    existing = tuple(sorted(int(name) for name in folders if len(name) < 6))
    online = tree.cpus(f"{NODE_DIR}/online")
    ids = tuple(i for i in online if i in existing) if online else existing
    possible = tree.cpus(f"{NODE_DIR}/possible") or ids
    kinds = _kinds(tree, ids)
    nodes = [_node(tree, node_id, ids, possible, topology) for node_id in ids]
    nodes = [_with_kind(node, kinds, i, findings) for i, node in enumerate(nodes)]
    return tuple(_with_package(tree, node, nodes) for node in nodes)


def _node(tree: Tree, node_id: int, ids: tuple[int, ...], possible: tuple[int, ...], topology: Topology) -> NumaNode:
    folder = f"{NODE_DIR}/node{node_id}"
    online = set(topology.online)
    cpus = tuple(cpu for cpu in tree.cpus(f"{folder}/cpulist") or () if cpu in online)
    memory = _node_memory(tree, f"{folder}/meminfo")
    return NumaNode(
        id=node_id,
        cpus=cpus,
        memory_bytes=memory,
        distances=_distances(tree.text(f"{folder}/distance"), ids, possible),
        memory_only=not cpus and bool(memory),
        package=topology.package_of(cpus),
        side_cache_bytes=tree.size_bytes(f"{folder}/memory_side_cache/index1/size"),
    )


def _node_memory(tree: Tree, path: str) -> int | None:
    """`Node 0 MemTotal: 131000 kB` (the kernel writes kB and means KiB)."""
    text = tree.text(path)
    match = re.search(r"MemTotal:\s*(\d{1,18}) kB", text or "")
    memory = int(match[1]) * KIB if match else None
    if text is not None and (memory is None or memory > MOST_MEMORY_BYTES):
        tree.broken_paths.add(path)
        return None
    return memory


def _distances(text: str | None, ids: tuple[int, ...], possible: tuple[int, ...]) -> dict[int, int]:
    """The row is positional over the nodes that exist; after node off-lining it can be as long as `possible`."""
    row = [parse_integer(word) for word in (text or "").split()]
    names = ids if len(row) == len(ids) else possible if len(row) == len(possible) else ()
    return {node: value for node, value in zip(names, row, strict=False) if value is not None}


def _with_kind(node: NumaNode, kinds: dict[int, tuple[NodeKind, str]], index: int, findings: Findings) -> NumaNode:
    kind, why = kinds.get(node.id, ("unknown", "memory without CPUs, nothing says of what kind"))
    if node.id not in kinds and not node.memory_only:
        return node
    if kind == "unknown":
        findings.note(f"NUMA node {node.id} has memory and no CPUs; its kind is unknown, so plans leave it alone")
    findings.fact(f"numa_nodes.{index}.kind", "derived", why, "unknown" if kind == "unknown" else "known")
    return msgspec.structs.replace(node, kind=kind)


def _kinds(tree: Tree, ids: tuple[int, ...]) -> dict[int, tuple[NodeKind, str]]:
    """Kind of each node that is not plain DRAM, with the evidence."""
    found: dict[int, tuple[NodeKind, str]] = {}
    rates = {i: _firmware_rate(tree, i) for i in ids}
    soft_reserved = _dax_nodes(tree)
    plain = [rate for i, rate in rates.items() if rate and i not in soft_reserved]
    for node, place in soft_reserved.items():
        rate = rates.get(node)
        if "ndbus" in place:
            found[node] = ("pmem", f"DAX device on an NVDIMM bus: {place}")
        elif "cxl" in place:
            found[node] = ("cxl", f"DAX device of a CXL region: {place}")
        elif rate and plain and rate > max(plain):
            found[node] = ("hbm", "specific-purpose memory that firmware rates faster than DRAM")
    for gpu in tree.names("proc/driver/nvidia/gpus"):
        status = tree.text(f"proc/driver/nvidia/gpus/{gpu}/numa_status") or ""
        match = re.search(r"Node:\s*(\d{1,5})", status)
        if match:
            found[int(match[1])] = ("gpu", f"/proc/driver/nvidia/gpus/{gpu}/numa_status")
    return found


def _dax_nodes(tree: Tree) -> dict[int, str]:
    nodes = {}
    for name in tree.names("sys/bus/dax/devices"):
        node = tree.integer(f"sys/bus/dax/devices/{name}/target_node")
        place = tree.resolve(f"sys/bus/dax/devices/{name}")
        if node is not None and place is not None:
            nodes[node] = place
    return nodes


def _firmware_rate(tree: Tree, node: int) -> int | None:
    """HMAT read bandwidth in MB/s, of the nearest CPUs (`access1`) first: firmware's claim, not a measurement."""
    for access in ("access1", "access0"):
        rate = tree.integer(f"{NODE_DIR}/node{node}/{access}/initiators/read_bandwidth")
        if rate:
            return rate
    return None


def _with_package(tree: Tree, node: NumaNode, nodes: list[NumaNode]) -> NumaNode:
    """A node without CPUs belongs where HMAT's initiators are, else where the distance is smallest."""
    if node.package is not None or node.kind == "gpu":
        return node
    by_id = {other.id: other for other in nodes if other.cpus}
    for access in ("access1", "access0"):
        for name in tree.names(f"{NODE_DIR}/node{node.id}/{access}/initiators"):
            if name[4:].isdecimal() and len(name) < 10 and int(name[4:]) in by_id:
                return msgspec.structs.replace(node, package=by_id[int(name[4:])].package)
    near = min((i for i in node.distances if i in by_id), key=lambda i: node.distances[i], default=None)
    return node if near is None else msgspec.structs.replace(node, package=by_id[near].package)


def _collapse_overlaps(
    nodes: tuple[NumaNode, ...], total_bytes: int | None, findings: Findings
) -> tuple[NumaNode, ...]:
    """Nodes that claim the same CPUs are a firmware fault: they become one, with the lowest id."""
    groups: list[list[NumaNode]] = []
    for node in nodes:
        hit = [group for group in groups if any(set(node.cpus) & set(other.cpus) for other in group)]
        for group in hit:
            groups.remove(group)
        groups.append([member for group in hit for member in group] + [node])
    if len(groups) == len(nodes):
        return nodes
    kept = {min(node.id for node in group) for group in groups}
    result = [_merged(group, kept, total_bytes if len(groups) == 1 else None, findings) for group in groups]
    result.sort(key=lambda node: node.id)
    for i, node in enumerate(result):
        if any(len(group) > 1 and node.id == min(member.id for member in group) for group in groups):
            findings.fact(f"numa_nodes.{i}.memory_bytes", "derived", "overlapping nodes taken together", "suspect")
    return tuple(result)


def _merged(group: list[NumaNode], kept: set[int], total_bytes: int | None, findings: Findings) -> NumaNode:
    if len(group) == 1:
        return group[0]
    first = min(group, key=lambda node: node.id)
    cpus = tuple(sorted({cpu for node in group for cpu in node.cpus}))
    ids = ",".join(str(node.id) for node in sorted(group, key=lambda node: node.id))
    findings.note(f"NUMA nodes {ids} all claim CPUs {format_cpu_list(cpus)}: a firmware fault, treated as one node")
    memory = total_bytes if total_bytes is not None else sum(node.memory_bytes or 0 for node in group)
    distances = {node: value for node, value in first.distances.items() if node in kept}
    return msgspec.structs.replace(first, cpus=cpus, memory_bytes=memory or None, distances=distances)


def _fill_single_memory(
    nodes: tuple[NumaNode, ...], total_bytes: int | None, only_possible: bool, findings: Findings
) -> tuple[NumaNode, ...]:
    """With one node, MemTotal is the node's memory where the node file is missing, or far behind: memory plugged into
    a running VM shows in /proc/meminfo only."""
    if len(nodes) != 1 or total_bytes is None:
        return nodes
    stated = nodes[0].memory_bytes
    if stated is not None and (not only_possible or total_bytes <= stated * _STALE_FACTOR):
        return nodes
    findings.fact("numa_nodes.0.memory_bytes", "derived", "the only node: MemTotal of /proc/meminfo")
    if stated is not None:
        findings.note(f"NUMA node 0 states {format_gib(stated)}; MemTotal, {format_gib(total_bytes)}, is taken instead")
    return (msgspec.structs.replace(nodes[0], memory_bytes=total_bytes),)
