"""Which device a name means: without case, spaces and vendor words; memory and core counts as qualifiers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from planner.catalog.records import CpuSeries, Device
from planner.errors import UnknownName, UsageError
from planner.units import GIB

# Words that tell nothing between devices: vendors, brands, and what drivers append.
_NOISE = frozenset(
    "nvidia amd intel apple corporation inc geforce radeon instinct tesla graphics graphic gpu igpu card generation edition "
    "workstation with design core cores r tm hbm2 hbm2e hbm3 hbm3e unified memory silicon".split()
)
_MARKS = re.compile(r"\((?:r|tm|c)\)|[®™]", re.IGNORECASE)
_MEMORY = re.compile(r"(?<![a-z0-9.])([0-9]{1,4})\s*-?\s*g(?:i?b)?(?![a-z0-9])")
_CORES = re.compile(r"(?<![a-z0-9])([0-9]{1,3})\s*-?\s*c(?:ores?)?(?![a-z0-9])")
_BRAND_NUMBER = re.compile(r"(?<![a-z])(rtx|gtx|rx|arc|pro|titan|quadro|tesla|geforce|radeon|ultra|max)(?=[0-9ab])")
_NUMBER_SUFFIX = re.compile(r"(?<=[0-9])(ti|super|xtx|xt|gre|max|pro|ultra|laptop|mobile)(?=$|[^a-z]|ti|super|max|mobile|laptop)")
_MEMORY_TOLERANCE = 0.1  # ECC takes 6 % of a GDDR card, drivers keep some more; variants differ by a quarter and more


class NameParts(NamedTuple):
    """A device name taken apart: the words that identify it, the memory and GPU cores that qualify it."""

    words: frozenset[str]
    memory_gib: int | None
    cores: int | None


def name_parts(name: str) -> NameParts:
    """`NVIDIA GeForce RTX 4090 24GB` and `rtx4090-24g` give the same parts."""
    text = _MARKS.sub(" ", name).casefold()
    text = re.sub(r"max[\s_-]?q", "maxq", text)
    text = re.sub(r"sxm[0-9]?", " sxm ", text)
    text = re.sub(r"pci[\s_-]?e\b", " pcie ", text)
    text = re.sub(r"\blaptop\b", "mobile", text)
    memory = _MEMORY.search(text)
    text = _MEMORY.sub(" ", text)
    cores = _CORES.search(text)
    text = _CORES.sub(" ", text)
    text = _BRAND_NUMBER.sub(r"\1 ", text)
    text = _NUMBER_SUFFIX.sub(r" \1 ", text)
    text = re.sub(r"(?<![a-z0-9])m([1-9])(max|pro|ultra)(?![a-z0-9])", r"m\1 \2", text)
    words = frozenset("mobile" if word == "laptop" else word for word in re.findall(r"[a-z0-9+]+", text))
    return NameParts(words - _NOISE, int(memory[1]) if memory else None, int(cores[1]) if cores else None)


class _Known(NamedTuple):
    parts: NameParts
    device: Device


class DeviceIndex:
    """The devices by the words of their names and aliases."""

    def __init__(self, devices: Iterable[Device]) -> None:
        self._devices = tuple(devices)

    @cached_property
    def _known(self) -> tuple[_Known, ...]:
        return tuple(
            _Known(name_parts(name), device)
            for device in self._devices
            for name in (device.name, *device.aliases)
        )

    @cached_property
    def _literal(self) -> dict[str, Device]:
        names = {_squeezed(name): device for device in self._devices for name in (*device.aliases, device.name, device.id)}
        return {key: device for key, device in names.items() if key}

    def find(self, name: str) -> Device | None:
        """The device of that name, None when no name is like it. Raises UsageError when several fit equally."""
        fitting = self._fitting(name, None)
        if len(fitting) > 1:
            listed = ", ".join(device.name for device in fitting[:12])
            raise UsageError(f"{name!r} fits several devices: {listed}", hint="write the full name of one of them")
        return fitting[0] if fitting else None

    def guess(self, name: str, memory_bytes: int | None) -> Device | None:
        """The device of a name that a driver reports; `Navi 31 [RX 7900 XT/7900 XTX]` names several, memory decides."""
        for spelling in (name, *alternatives(name)):
            fitting = self._fitting(spelling, memory_bytes)
            if len(fitting) == 1:
                return fitting[0]
        every = {device.id: device for spelling in alternatives(name) for device in self._fitting(spelling, None)}
        nearest = _nearest_memory(tuple(every.values()), memory_bytes)
        return nearest[0] if len(nearest) == 1 else None

    def _fitting(self, name: str, memory_bytes: int | None) -> tuple[Device, ...]:
        literal = self._literal.get(_squeezed(name))
        if literal is not None:
            return (literal,)
        asked = name_parts(name)
        if not asked.words:
            return ()
        same = [known for known in self._known if known.parts.words == asked.words]
        exact = [known for known in same if known.parts == asked]
        for candidates in (exact, same, [known for known in self._known if asked.words < known.parts.words]):
            found = _qualified(candidates, asked, memory_bytes)
            if found:
                return found
        return ()


def alternatives(name: str) -> tuple[str, ...]:
    """What stands in brackets or between slashes: PCI databases put several products in one name."""
    inner = re.search(r"\[([^\]]+)\]", name)
    listed = [part.strip() for part in (inner[1] if inner else name).split("/")]
    brand = re.match(r"\s*((?:radeon|geforce|arc|rx|rtx|pro)\s+)+", listed[0], re.IGNORECASE)
    prefix = brand[0] if brand else ""
    return (listed[0], *(part if part.startswith(prefix) else prefix + part for part in listed[1:]))


def _qualified(candidates: Sequence[_Known], asked: NameParts, memory_bytes: int | None) -> tuple[Device, ...]:
    """The candidates that have the memory and cores that were named, thinned to the usual one."""
    fitting = {
        known.device.id: known.device
        for known in candidates
        if _has_cores(known.device, asked.cores) and _has_memory(known.device, asked.memory_gib)
    }
    devices = tuple(fitting.values())
    if len(devices) > 1 and memory_bytes is not None:
        devices = _nearest_memory(devices, memory_bytes) or devices
    usual = tuple(device for device in devices if device.usual)
    return usual if len(usual) == 1 else devices


def _has_cores(device: Device, cores: int | None) -> bool:
    return cores is None or device.gpu_cores is None or device.gpu_cores == cores


def _has_memory(device: Device, gib: int | None) -> bool:
    if gib is None:
        return True
    if device.memory_options_bytes:
        return gib * GIB in device.memory_options_bytes
    sizes = [size for size in (device.memory_bytes, device.driver_memory_bytes) if size is not None]
    return not sizes or any(abs(size - gib * GIB) <= _MEMORY_TOLERANCE * size for size in sizes)


def _nearest_memory(devices: Sequence[Device], memory_bytes: int | None) -> tuple[Device, ...]:
    """Those whose memory is nearest to what a driver reports, within the tolerance."""
    if memory_bytes is None:
        return tuple(devices) if len(devices) == 1 else ()
    distance = {device.id: _distance(device, memory_bytes) for device in devices}
    best = min(distance.values(), default=1.0)
    return tuple(device for device in devices if distance[device.id] == best <= _MEMORY_TOLERANCE)


def _distance(device: Device, memory_bytes: int) -> float:
    sizes = [size for size in (device.driver_memory_bytes, device.memory_bytes, *device.memory_options_bytes) if size]
    return min((abs(size - memory_bytes) / size for size in sizes), default=1.0)


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9+]+", "", _MARKS.sub("", name).casefold())


def processor(name: str, series: CpuSeries | None, devices: Iterable[Device]) -> Device:
    """A CPU as a device: `2x Xeon Gold 6138` has the memory bandwidth of both sockets.

    Raises UnknownName with near misses among devices and nothing else when the CPU is unknown too."""
    if series is None:
        raise UnknownName("device", name, [device.name for device in devices])
    sockets = re.match(r"\s*([1-9])\s*x\s", name)
    count = int(sockets[1]) if sockets else 1
    per_socket = series.socket_bandwidth_bytes_per_s
    return Device(
        id=series.id if count == 1 else f"{count}x-{series.id}",
        name=series.name if count == 1 else f"{count}x {series.name}",
        vendor=series.id.partition("-")[0],
        kind="cpu",
        memory_type=series.memory_type,
        bandwidth_bytes_per_s=None if per_socket is None else per_socket * count,
        note="theoretical: channels x 8 bytes x MT/s of every socket",
        source=series.source,
    )
