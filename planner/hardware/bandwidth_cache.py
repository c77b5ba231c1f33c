"""Measurements of this machine, kept by what changes them; safe to delete."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from planner.hardware.facts import Hardware
from planner.hardware.tree import Tree


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes per second by node id; `remote` by `reader>memory` node ids; `trusted` is False on a busy machine."""

    nodes: dict[int, float]
    upper: dict[int, float]
    single: float | None = None
    remote: dict[str, float] = {}
    threads: int = 0
    trusted: bool = True
    remark: str | None = None

    def pairs(self) -> dict[tuple[int, int], float]:
        """`remote` by (reader, memory); names of another form are left out."""
        parts = {name: name.split(">") for name in self.remote}
        return {
            (int(ends[0]), int(ends[1])): self.remote[name]
            for name, ends in parts.items()
            if len(ends) == 2 and all(end.isdecimal() and len(end) < 7 for end in ends)
        }


def machine_key(tree: Tree, hardware: Hardware) -> str:
    """What changes the figure: the machine, its kernel, CPUs, memory and what of them may be used."""
    memory = hardware.memory
    facts = [
        tree.text("etc/machine-id"), hardware.os.release, hardware.cpu.model, hardware.product, memory.total_bytes,
        memory.type, memory.channels, memory.mt_per_s, hardware.cpu.allowed_cpus, hardware.cpu.quota_cpus,
        tuple((node.id, node.cpus, node.memory_bytes) for node in hardware.numa_nodes),
    ]  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:24]


def load_measurement(file: Path) -> Measurement | None:
    """The stored measurement, None when there is none or it is broken."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Measurement)
    except (OSError, msgspec.MsgspecError):
        return None


def save_measurement(file: Path, measured: Measurement) -> None:
    """Stores a measurement; a folder that cannot be written is passed over."""
    with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to fail
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        partial.write_bytes(msgspec.json.encode(measured))
        partial.replace(file)
