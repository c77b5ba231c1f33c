"""Memory modules from EDAC: readable by everyone, but only there with ECC memory and its driver; it tells no speed."""

from __future__ import annotations

import re

from planner.hardware.smbios import Modules
from planner.hardware.tree import Tree

EDAC_DIR = "sys/devices/system/edac/mc"
# The kernel's words are `Registered-DDR4`, `Unbuffered-DDR5`, `Load-Reduced-DDR5-RAM`, `Low-Power-DDR4-RAM`
# (drivers/edac/edac_mc.c, edac_mem_types).
_TYPE = re.compile(r"(Low-Power-)?(DDR\d)")


def read_modules(tree: Tree) -> Modules | None:
    """Type and channels (distinct controller and channel) of the modules with a size; None without EDAC."""
    kinds: set[str] = set()
    channels: set[tuple[str, str]] = set()
    slots = named = 0
    for controller in (name for name in tree.names(EDAC_DIR) if re.fullmatch(r"mc\d{1,4}", name)):
        for name in tree.names(f"{EDAC_DIR}/{controller}"):
            if not re.fullmatch(r"(?:dimm|rank)\d{1,4}", name):
                continue
            folder = f"{EDAC_DIR}/{controller}/{name}"
            if not tree.integer(f"{folder}/size"):
                continue
            slots += 1
            if kind := _TYPE.search(tree.text(f"{folder}/dimm_mem_type") or ""):
                kinds.add(f"LP{kind[2]}" if kind[1] else kind[2])
            if place := re.search(r"channel (\d+)", tree.text(f"{folder}/dimm_location") or ""):
                channels.add((controller, place[1]))
                named += 1
    if len(kinds) != 1:
        return None
    return Modules(slots=slots, type=kinds.pop(), channels=len(channels) if named == slots else None)
