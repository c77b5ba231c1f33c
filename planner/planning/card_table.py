"""The graphics cards of the device table, and which sets of equal ones a budget of VRAM allows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from planner.catalog.records.device import Device
from planner.errors import UsageError
from planner.units import format_gib

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

# As many double-width cards as server chassis of one board hold.
MOST_CARDS: Final = 8

# Chips of laptops and modules of servers, which are not sold as cards (`Arc A730M`, `A100 SXM4`).
_NO_CARD: Final = re.compile(r"Mobile|Laptop|Max-Q|SXM|\d{3}M\b")


class CardSet(NamedTuple):
    """So many of one card, with their VRAM together."""

    vram_bytes: int
    cards: int
    device: Device


def is_card(device: Device) -> bool:
    """Whether a device is a graphics card for a PCIe slot whose speed can be told."""
    return (
        device.kind == "gpu"
        and (device.bus or "").startswith("PCIe")
        and device.bandwidth_bytes_per_s is not None
        and _NO_CARD.search(device.name) is None
    )


def affordable(catalog: Catalog, budget_bytes: int) -> list[CardSet]:
    """Sets of equal cards within the budget, the least VRAM first. Raises UsageError when not one card is."""
    found = [
        CardSet(count * device.memory_bytes, count, device)
        for device in catalog.devices.values()
        if is_card(device) and device.memory_bytes
        for count in range(1, min(budget_bytes // device.memory_bytes, MOST_CARDS) + 1)
    ]
    if not found:
        raise UsageError(
            f"--budget-vram {format_gib(budget_bytes)}: no card of the device table is that small",
            hint="write it like 24GiB: the VRAM of all cards together",
        )
    return sorted(found, key=lambda cards: (cards.vram_bytes, cards.cards, cards.device.id))


def largest_bytes(catalog: Catalog) -> int:
    """The VRAM of the largest set: no budget beyond it allows more."""
    return MOST_CARDS * max(device.memory_bytes or 0 for device in catalog.devices.values() if is_card(device))
