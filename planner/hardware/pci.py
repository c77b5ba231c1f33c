"""Display controllers and accelerators on the PCI bus of a Linux tree, and the link each hangs on."""

from __future__ import annotations

import re

import msgspec

from planner.hardware.facts import Link
from planner.hardware.tree import Tree

DEVICES_DIR = "sys/bus/pci/devices"
NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)

# Bytes per second of one lane, one direction, after line coding: PCI Express base specification 6.0, table 1-1.
LANE_BYTES_PER_S = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.56e9}
_GENERATION = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}


class PciDisplay(msgspec.Struct, frozen=True, kw_only=True):
    """One controller: its address (`0000:06:00.0`), ids, class, folder below the root, and NUMA node (-1 is None)."""

    address: str
    vendor: int | None
    device: int | None
    pci_class: int
    folder: str
    revision: int | None = None
    numa_node: int | None = None
    driver: str | None = None


def read_displays(tree: Tree) -> tuple[PciDisplay, ...]:
    """Display controllers (class 03) and processing accelerators (class 12) in bus order."""
    found = []
    for address in tree.names(DEVICES_DIR):
        pci_class = tree.integer(f"{DEVICES_DIR}/{address}/class")
        if pci_class is not None and pci_class >> 16 in {0x03, 0x12}:
            found.append(read_display(tree, f"{DEVICES_DIR}/{address}", address, pci_class))
    return tuple(found)


def read_display(tree: Tree, folder: str, address: str, pci_class: int) -> PciDisplay:
    """One controller from its folder."""
    node = tree.integer(f"{folder}/numa_node")
    return PciDisplay(
        address=address.lower(),
        vendor=tree.integer(f"{folder}/vendor"),
        device=tree.integer(f"{folder}/device"),
        revision=tree.integer(f"{folder}/revision"),
        pci_class=pci_class,
        folder=folder,
        numa_node=None if node is None or node < 0 else node,
        driver=tree.link_name(f"{folder}/driver"),
    )


def read_link(tree: Tree, folder: str) -> Link | None:
    """The slowest of the card and every bridge above it, as capability; the state now beside it."""
    resolved = tree.resolve(folder) or folder
    parts = resolved.split("/")
    generations, widths = [], []
    while len(parts) > 1 and (_BDF.fullmatch(parts[-1]) or "/".join(parts) == resolved):
        place = "/".join(parts)
        generations.append(_generation(tree.text(f"{place}/max_link_speed")))
        widths.append(_width(tree.integer(f"{place}/max_link_width")))
        parts.pop()
    known_generations, known_widths = [g for g in generations if g], [w for w in widths if w]
    if not known_generations and not known_widths:
        return None
    return make_link(
        min(known_generations, default=None),
        min(known_widths, default=None),
        _generation(tree.text(f"{resolved}/current_link_speed")),
        _width(tree.integer(f"{resolved}/current_link_width")),
    )


def slower_link(stated: Link | None, found: Link | None) -> Link | None:
    """The lesser of a driver's and sysfs' PCIe capability; the state now is the driver's. A link of another kind stays:
    sysfs says nothing of it."""
    if stated is None or found is None or stated.kind != "pcie":
        return stated
    generations = [link.generation for link in (stated, found) if link.generation]
    widths = [link.width for link in (stated, found) if link.width]
    return make_link(
        min(generations, default=None), min(widths, default=None), stated.current_generation, stated.current_width
    )


def make_link(
    generation: int | None, width: int | None, current_generation: int | None = None, current_width: int | None = None
) -> Link:
    """A PCIe link with its rate before protocol overhead; 80-90 % of it can be reached."""
    lane = LANE_BYTES_PER_S.get(generation or 0)
    return Link(
        generation=generation,
        width=width,
        bytes_per_s=lane * width if lane and width else None,
        current_generation=current_generation,
        current_width=current_width,
    )


def _generation(text: str | None) -> int | None:
    """`8.0 GT/s PCIe`, `8 GT/s`; `Unknown` is None."""
    match = re.match(r"(\d{1,3}(?:\.\d)?) GT/s", text or "")
    return _GENERATION.get(float(match[1])) if match else None


def _width(value: int | None) -> int | None:
    return value if value and value <= 32 else None  # 0 and 255 mean unknown


def normal_address(text: str) -> str:
    """A PCI address in sysfs' form: `00000000:0C:00.0` is `0000:0c:00.0`."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{domain[-4:]}:{rest}" if rest.count(":") == 1 else text.strip().lower()
