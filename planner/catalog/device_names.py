"""Which device a name means: without case, spaces and vendor words; memory and core counts as qualifiers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec

from planner.catalog.records import CpuSeries, Device
from planner.errors import UnknownName, UsageError
from planner.units import GIB, format_gib

# Words that tell nothing between devices: vendors, brands, and what drivers append.
_NOISE = frozenset(
    [
        *("nvidia", "amd", "intel", "apple", "corporation", "inc", "geforce", "radeon", "instinct", "tesla", "r", "tm"),
        *("graphics", "graphic", "gpu", "igpu", "card", "generation", "edition", "workstation", "with", "design"),
        *("core", "cores", "hbm2", "hbm2e", "hbm3", "hbm3e", "unified", "memory", "silicon"),
    ]
)
_BRANDS = frozenset({"rtx", "gtx", "rx", "arc"})
_MARKS = re.compile(r"\((?:r|tm|c)\)|[®™]", re.IGNORECASE)
_MEMORY = re.compile(r"(?<![a-z0-9.])([0-9]{1,4})\s*-?\s*g(?:i?b)?(?![a-z0-9])")
_CORES = re.compile(r"(?<![a-z0-9])([0-9]{1,3})\s*-?\s*c(?:ores?)?(?![a-z0-9])")
_BRAND_NUMBER = re.compile(r"(?<![a-z])(rtx|gtx|rx|arc|pro|titan|quadro|tesla|geforce|radeon|ultra|max)(?=[0-9ab])")
_NUMBER_SUFFIX = re.compile(
    r"(?<=[0-9])(ti|super|xtx|xt|gre|max|pro|ultra|laptop|mobile)(?=$|[^a-z]|ti|super|max|mobile|laptop)"
)
_MEMORY_TOLERANCE = 0.1  # ECC takes 6 % of a GDDR card, drivers keep some more; variants differ by a quarter and more


class NameParts(msgspec.Struct, frozen=True):
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


class _Known(msgspec.Struct, frozen=True):
    parts: NameParts
    device: Device


class DeviceIndex:
    """The devices by the words of their names and aliases."""

    def __init__(self, devices: Iterable[Device]) -> None:
        self._devices = tuple(devices)

    @cached_property
    def _known(self) -> tuple[_Known, ...]:
        return tuple(
            _Known(name_parts(name), device) for device in self._devices for name in (device.name, *device.aliases)
        )

    @cached_property
    def _literal(self) -> dict[str, Device]:
        return {_squeezed(name): each for each in self._devices for name in (*each.aliases, each.id, each.name)}

    def find(self, name: str, *, loosely: bool = True) -> Device | None:
        """The device of that name, None when no name is like it; strictly, a part of a name is not enough.

        Raises UsageError when several fit equally."""
        fitting = self._fitting(name, None, loosely=loosely)
        if len(fitting) > 1:
            listed = ", ".join(device.name for device in fitting[:12])
            raise UsageError(f"{name!r} fits several devices: {listed}", hint="write the full name of one of them")
        return fitting[0] if fitting else None

    def guess(self, name: str, memory_bytes: int | None) -> Device | None:
        """The device of a name that a driver reports; `Navi 31 [RX 7900 XT/7900 XTX]` names several, memory decides."""
        spellings = alternatives(name)
        if len(spellings) == 1:
            fitting = self._fitting(spellings[0], memory_bytes) or self._fitting(
                _MEMORY.sub(" ", name.casefold()), None
            )
        else:
            every = {device.id: device for each in spellings for device in self._fitting(each, None)}
            fitting = _nearest_memory(tuple(every.values()), memory_bytes)
        return fitting[0] if len(fitting) == 1 else None

    def variants(self, name: str) -> tuple[Device, ...]:
        """The devices of the same words but other memory or cores than the name asks for."""
        words = name_parts(name).words
        return tuple({known.device.id: known.device for known in self._known if known.parts.words == words}.values())

    def _fitting(self, name: str, memory_bytes: int | None, *, loosely: bool = True) -> tuple[Device, ...]:
        literal = self._literal.get(_squeezed(name))
        if literal is not None and memory_bytes is None:
            return (literal,)
        asked = name_parts(name)
        if not asked.words:
            return ()
        tiers = self._tiers(asked)
        if memory_bytes is not None:
            del tiers[0]
        for candidates in tiers if loosely else tiers[:-1]:
            found = _qualified(candidates, asked, memory_bytes)
            if found:
                return found
        return () if literal is None else (literal,)

    def _tiers(self, asked: NameParts) -> list[list[_Known]]:
        """The same words and qualifiers; the same words; the same but for RTX, RX, Arc; words of a longer name."""
        same = [known for known in self._known if known.parts.words == asked.words]
        unbranded = [known for known in self._known if known.parts.words - _BRANDS == asked.words]
        longer = [known for known in self._known if asked.words < known.parts.words]
        return [[known for known in same if known.parts == asked], same, unbranded, longer]


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
    text = re.sub(r"^\s*(?:nvidia|amd|intel)\b", "", _MARKS.sub("", name).casefold())
    return re.sub(r"[^a-z0-9+]+", "", text)


def unknown_device(name: str, variants: Iterable[Device], devices: Iterable[Device]) -> UnknownName:
    """The error for a name that nothing has: near misses, or what the named device really has."""
    sizes = [f"{each.name} ({format_gib(each.memory_bytes, 0)})" for each in variants if each.memory_bytes]
    hint = f"known: {', '.join(sizes)}; another memory size is given with --vram" if sizes else None
    bare = [re.sub(r"^(GeForce|Radeon|Tesla|Apple) ", "", each.name) for each in devices if each.kind != "cpu"]
    return UnknownName("device", name, bare, hint=hint)


def processor(name: str, series: CpuSeries) -> Device:
    """A CPU as a device: `2x Xeon Gold 6138` has the memory bandwidth of both sockets."""
    sockets = re.match(r"\s*([1-9])\s*x\s", name)
    count = int(sockets[1]) if sockets else 1
    per_socket = series.socket_bandwidth_bytes_per_s
    return Device(
        id=series.id if count == 1 else f"{count}x-{series.id}",
        name=series.name if count == 1 else f"{count}x {series.name}",
        vendor=_vendor(series),
        kind="cpu",
        memory_type=series.memory_type,
        bandwidth_bytes_per_s=None if per_socket is None else per_socket * count,
        note="theoretical: channels x 8 bytes x MT/s of every socket",
        source=series.source,
    )


def _vendor(series: CpuSeries) -> str:
    """The first word of the source, which names who published the figures."""
    return series.source.partition(" ")[0]
