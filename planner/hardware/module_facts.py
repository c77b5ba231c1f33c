"""Facts of the memory modules: from the machine's own SMBIOS, from EDAC, or from a pasted text."""

from __future__ import annotations

import msgspec

from planner.hardware import edac, smbios
from planner.hardware.facts import Memory, SourceKind
from planner.hardware.findings import Findings
from planner.hardware.tree import Tree


def with_modules(tree: Tree, ram: Memory, findings: Findings) -> Memory:
    """Memory with what SMBIOS or EDAC tell, or with the reason why neither does."""
    modules, where = smbios.read_modules(tree)
    if modules is None or not modules.dimms:
        told = edac.read_modules(tree)
        if told is not None:
            return add_modules(ram, told, f"/{edac.EDAC_DIR}", findings)
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
            if getattr(ram, name) is None:
                findings.unknown(f"memory.{name}", f"{where}: the modules do not tell")
        else:
            kind: SourceKind = "derived" if name in {"channels", "theoretical_bytes_per_s"} else "read"
            soldered = any(dimm.soldered for dimm in modules.dimms)
            findings.fact(f"memory.{name}", kind, where, "suspect" if soldered and kind == "derived" else "known")
    if len(modules.dimms) and modules.channels is None and modules.type:
        findings.note(f"{len(modules.dimms)} of {modules.slots} memory slots are filled; their labels name no channel")
    return msgspec.structs.replace(ram, **{name: value for name, value in facts.items() if value is not None})
