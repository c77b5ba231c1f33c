"""Memory modules from SMBIOS type 17: the raw table (root only) or the text of `dmidecode`.

Theoretical bandwidth = channels x width / 8 x configured transfers per second. A virtual machine's single `RAM` module
says nothing, and that is what is reported.
"""

from __future__ import annotations

import re
import struct
from collections import Counter

import msgspec

from planner.hardware.tree import Tree
from planner.units import GIB, KIB, MIB

# SMBIOS 3.7, table 78 (memory device type) - the ones a machine of this century can have.
MEMORY_TYPES = {
    0x12: "DDR", 0x13: "DDR2", 0x18: "DDR3", 0x1A: "DDR4", 0x1B: "LPDDR", 0x1C: "LPDDR2", 0x1D: "LPDDR3",
    0x1E: "LPDDR4", 0x20: "HBM", 0x21: "HBM2", 0x22: "DDR5", 0x23: "LPDDR5", 0x24: "HBM3",
}  # fmt: skip
SLOWEST_MT_PER_S = 200  # a broken table says 0 or 1; the slowest DDR made is DDR-200


class Dimm(msgspec.Struct, frozen=True, kw_only=True):
    """One populated module: size, type, configured (else rated) speed, data width, and where it sits."""

    size_bytes: int
    type: str | None = None
    mt_per_s: int | None = None
    width_bits: int | None = None
    locator: str = ""
    bank: str = ""
    soldered: bool = False


class Modules(msgspec.Struct, frozen=True, kw_only=True):
    """What the modules add up to. `channels` is None where the labels do not name channels."""

    slots: int = 0
    dimms: tuple[Dimm, ...] = ()
    type: str | None = None
    mt_per_s: int | None = None
    channels: int | None = None
    theoretical_bytes_per_s: float | None = None


def read_modules(tree: Tree) -> tuple[Modules | None, str]:
    """(modules, where from or why not) from sys/firmware/dmi/entries, else from the whole table."""
    raws = []
    for name in tree.names("sys/firmware/dmi/entries"):
        if name.startswith("17-"):
            state, data = tree.data(f"sys/firmware/dmi/entries/{name}/raw")
            if state == "denied":
                return None, "denied"
            raws.append(data)
    if raws:
        return summarise([d for raw in raws if (d := parse_raw(raw))], len(raws)), "/sys/firmware/dmi/entries/17-*/raw"
    state, data = tree.data("sys/firmware/dmi/tables/DMI")
    if state != "known":
        return None, state
    raws = list(_type17(data))
    return summarise([d for raw in raws if (d := parse_raw(raw))], len(raws)), "/sys/firmware/dmi/tables/DMI"


def _type17(table: bytes) -> list[bytes]:
    """The type 17 structures of an SMBIOS table: formatted area, then strings up to a double zero."""
    found, at = [], 0
    while at + 4 <= len(table):
        kind, length = table[at], table[at + 1]
        end = table.find(b"\0\0", at + length)
        if length < 4 or end < 0:
            break
        if kind == 17:
            found.append(table[at : end + 2])
        at = end + 2
    return found


def parse_raw(raw: bytes) -> Dimm | None:
    """One raw type 17 structure; None for an empty slot or a broken structure."""
    if len(raw) < 0x15 or raw[0] != 17:
        return None
    length = min(raw[1], len(raw))

    def word(offset: int) -> int:
        return int(struct.unpack_from("<H", raw, offset)[0]) if offset + 2 <= length else 0

    size = word(0x0C)
    if size in {0, 0xFFFF}:
        return None
    if size == 0x7FFF:
        size_bytes = (struct.unpack_from("<I", raw, 0x1C)[0] & 0x7FFFFFFF) * MIB if length >= 0x20 else 0
    else:
        size_bytes = (size & 0x7FFF) * (KIB if size & 0x8000 else MIB)
    strings = raw[length:].split(b"\0")
    rated, configured = word(0x15), word(0x20)
    return Dimm(
        size_bytes=size_bytes,
        type=MEMORY_TYPES.get(raw[0x12]),
        mt_per_s=_speed(configured) or _speed(rated),
        width_bits=word(0x0A) if word(0x0A) not in {0, 0xFFFF} else None,
        locator=_string(strings, raw[0x10]),
        bank=_string(strings, raw[0x11]),
        soldered=raw[0x0E] == 0x0B,
    )


def without_ids(table: bytes) -> bytes:
    """The type 17 structures of a table, or one raw structure, with the letters of serial number (0x18) and asset tag
    (0x19) crossed out; everything else of a whole table is left out."""
    return b"".join(_crossed_out(raw) for raw in _type17(table)) if table[:1] else b""


def _crossed_out(raw: bytes) -> bytes:
    length = raw[1]
    strings = raw[length:].split(b"\0")
    for offset in (0x18, 0x19):
        number = raw[offset] if length > offset else 0
        if 0 < number <= len(strings):
            strings[number - 1] = b"X" * len(strings[number - 1])
    return raw[:length] + b"\0".join(strings)


def _string(strings: list[bytes], number: int) -> str:
    return strings[number - 1].decode("latin-1").strip() if 0 < number <= len(strings) else ""


def _speed(value: int) -> int | None:
    return value if SLOWEST_MT_PER_S <= value < 0xFFFF else None


def parse_dmidecode(text: str) -> Modules:
    """Modules of `dmidecode -t 17` (or of a whole dmidecode) text."""
    slots, dimms = 0, []
    for block in re.split(r"\n(?=Handle )", text):
        if "Memory Device" not in block.splitlines()[:3] and "\nMemory Device\n" not in block:
            continue
        slots += 1
        fields = dict(re.findall(r"^\s+([A-Z][\w ]*?): (.*)$", block, re.MULTILINE))
        dimm = _dmidecode_dimm(fields)
        if dimm:
            dimms.append(dimm)
    return summarise(dimms, slots)


def _dmidecode_dimm(fields: dict[str, str]) -> Dimm | None:
    size = re.fullmatch(r"(\d{1,9}) (kB|MB|GB|TB)", fields.get("Size", "").strip())
    if not size:
        return None
    factor = {"kB": KIB, "MB": MIB, "GB": GIB, "TB": 1024 * GIB}[size[2]]

    def speed(*names: str) -> int | None:
        for name in names:
            match = re.match(r"(\d{1,6}) (?:MT/s|MHz)", fields.get(name, ""))
            if match and _speed(int(match[1])):
                return int(match[1])
        return None

    width = re.match(r"(\d{1,4}) bits", fields.get("Data Width", ""))
    kind = fields.get("Type", "").strip()
    return Dimm(
        size_bytes=int(size[1]) * factor,
        type=kind if kind in MEMORY_TYPES.values() else None,
        mt_per_s=speed("Configured Memory Speed", "Configured Clock Speed", "Speed"),
        width_bits=int(width[1]) if width else None,
        locator=fields.get("Locator", "").strip(),
        bank=fields.get("Bank Locator", "").strip(),
        soldered="Row Of Chips" in fields.get("Form Factor", ""),
    )


def summarise(dimms: list[Dimm], slots: int) -> Modules:
    """Type, slowest configured speed, channels and peak bandwidth of the populated modules."""
    kinds = Counter(dimm.type for dimm in dimms if dimm.type)
    speeds = [dimm.mt_per_s for dimm in dimms if dimm.mt_per_s]
    speed = min(speeds) if speeds and len(speeds) == len(dimms) else None
    channels, bus_bits = _channels(dimms) if kinds else (None, None)
    peak = bus_bits / 8 * speed * 1e6 if bus_bits and speed else None
    return Modules(
        slots=slots,
        dimms=tuple(dimms),
        type=kinds.most_common(1)[0][0] if kinds else None,
        mt_per_s=speed,
        channels=channels,
        theoretical_bytes_per_s=peak,
    )


_CHANNEL_FORMS = (
    re.compile(r"Node(?P<socket>\d+)_Channel(?P<channel>\d+)", re.IGNORECASE),
    re.compile(r"P(?P<socket>\d+) CHANNEL (?P<channel>[A-Z]+)", re.IGNORECASE),
    re.compile(r"Controller(?P<socket>\d+)-Channel(?P<channel>[A-Z\d]+)", re.IGNORECASE),
    re.compile(r"(?:CPU|P|PROC)(?P<socket>\d+)[-_]?DIMM[-_]?(?P<channel>[A-Z])\d*$", re.IGNORECASE),
    re.compile(r"CPU(?P<socket>\d+)_(?P<channel>[A-Z])\d$", re.IGNORECASE),
    re.compile(r"^(?P<socket>)(?:DIMM[-_ ]?)?CHANNEL[-_ ]?(?P<channel>[A-Z\d])", re.IGNORECASE),
)


def _channels(dimms: list[Dimm]) -> tuple[int | None, int | None]:
    """(channels, total bus bits): distinct (socket, channel) over populated slots, by the first form that names a
    channel for every module. Soldered parts are one channel each. Labels without channels give None."""
    if not dimms or any(dimm.width_bits is None for dimm in dimms):
        return None, None
    if all(dimm.soldered for dimm in dimms):
        return len(dimms), sum(dimm.width_bits or 0 for dimm in dimms)
    for text_of in (lambda d: d.bank, lambda d: d.locator, lambda d: f"{d.locator} {d.bank}"):
        for form in _CHANNEL_FORMS:
            matches = [form.search(text_of(dimm)) for dimm in dimms]
            if all(matches):
                pairs = {(m["socket"], m["channel"].upper()): d for m, d in zip(matches, dimms, strict=True) if m}
                return len(pairs), sum(d.width_bits or 0 for d in pairs.values())
    if len(dimms) == 1:
        return 1, dimms[0].width_bits
    return None, None
