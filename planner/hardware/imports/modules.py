"""`dmidecode` text: memory modules."""

from __future__ import annotations

import msgspec

from planner.hardware.facts import Hardware
from planner.hardware.findings import Findings
from planner.hardware.module_facts import add_modules
from planner.hardware.smbios import parse_dmidecode


def add(hardware: Hardware, text: str, name: str, findings: Findings) -> Hardware:
    """The machine with its modules' type, channels, speed and theoretical bandwidth."""
    found = parse_dmidecode(text)
    if not found.dimms:
        findings.note(f"{name} lists no filled memory slot")
        return hardware
    memory = add_modules(hardware.memory, found, f"dmidecode in {name}", findings)
    if memory.total_bytes is None:
        memory = msgspec.structs.replace(memory, total_bytes=sum(dimm.size_bytes for dimm in found.dimms))
        findings.fact("memory.total_bytes", "derived", "sum of the modules; the system sees a little less", "suspect")
    return msgspec.structs.replace(hardware, memory=memory)
