"""`lscpu` text of another machine."""

from __future__ import annotations

import re

import msgspec

from planner.errors import ProbeError
from planner.hardware.cpuinfo import RELEVANT_FLAGS
from planner.hardware.facts import Cpu, Hardware, NumaNode, Os
from planner.hardware.findings import Findings
from planner.hardware.tree import parse_cpu_list


def add(hardware: Hardware, text: str, name: str, findings: Findings) -> Hardware:
    """CPU and NUMA nodes of the text. Raises ProbeError when it tells no CPU count."""
    facts = dict(re.findall(r"^\s*([^:\n]+?):\s+(.*?)\s*$", text, re.MULTILINE))
    online = parse_cpu_list(facts.get("On-line CPU(s) list", "")) or ()
    if not online and facts.get("CPU(s)", "").isdecimal() and len(facts["CPU(s)"]) < 6:
        online = tuple(range(int(facts["CPU(s)"])))
    if not online:
        raise ProbeError(f"{name}: this lscpu output names no CPUs")
    sockets = _number(facts.get("Socket(s)"))
    per_socket = _number(facts.get("Core(s) per socket")) or _number(facts.get("Core(s) per cluster"))
    cpu = Cpu(
        model=facts.get("Model name"),
        vendor=facts.get("Vendor ID"),
        architecture=facts.get("Architecture"),
        sockets=sockets,
        cores=sockets * per_socket if sockets and per_socket else None,
        threads=len(online),
        usable_cpus=len(online),
        allowed_cpus=online,
        isa=tuple(sorted(RELEVANT_FLAGS.intersection(facts.get("Flags", "").split()))),
    )
    nodes = _nodes(facts, set(online)) or (
        NumaNode(id=0, cpus=online, memory_bytes=hardware.memory.total_bytes, distances={0: 10}),
    )
    findings.cover("cpu", cpu, "read", f"lscpu in {name}")
    for i, node in enumerate(nodes):
        findings.cover(f"numa_nodes.{i}", node, "read", f"lscpu in {name}")
    virtual = facts.get("Hypervisor vendor")
    return msgspec.structs.replace(
        hardware, cpu=cpu, numa_nodes=nodes, os=Os(name="linux"), virtualization=virtual.casefold() if virtual else None
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 7 else None


def _nodes(facts: dict[str, str], online: set[int]) -> tuple[NumaNode, ...]:
    found = []
    for key, value in facts.items():
        match = re.fullmatch(r"NUMA node(\d{1,5}) CPU\(s\)", key)
        cpus = parse_cpu_list(value) if match else None
        if match and cpus is not None:
            found.append(NumaNode(id=int(match[1]), cpus=tuple(cpu for cpu in cpus if cpu in online)))
    return tuple(sorted(found, key=lambda node: node.id))
