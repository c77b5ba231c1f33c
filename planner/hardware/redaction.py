"""What a capture must not tell: serial numbers, asset tags, board ids, and what mounts, sockets or a process name."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from planner.hardware.host import LISTENING, SOCKET_TABLES
from planner.hardware.nvidia import Driver
from planner.hardware.smbios import without_ids as modules_without_ids
from planner.hardware.tree import Tree

# Read for a cache key or a busy check; of no use elsewhere.
LEFT_OUT = re.compile(r"etc/machine-id|proc/stat|.*serial.*")
_WANTED_LINES = {
    "proc/self/mountinfo": (b" cgroup", b" cpuset"),
    "proc/mounts": (b" cgroup", b" cpuset"),
    "proc/self/mounts": (b" cgroup", b" cpuset"),
    "proc/self/status": (b"Cpus_allowed_list:",),
}
_SERIAL_LINE = re.compile(rb"(?im)^(serial|hardware serial)(\s*):.*$")
_GPU_VENDORS = (b"10de", b"1002", b"8086")


def cleaned(files: Mapping[str, bytes], tree: Tree) -> dict[str, bytes]:
    """The files as a capture holds them; the probe finds the same facts in them, with aliases for ids."""
    found: dict[str, bytes] = {}
    cards = sorted(place for place in files if place.endswith("/unique_id"))
    for place, content in files.items():
        wanted = _WANTED_LINES.get(place)
        if place in cards:
            found[place] = b"%016x\n" % (cards.index(place) + 1)
        elif place == "proc/cpuinfo":
            found[place] = _SERIAL_LINE.sub(rb"\1\2: removed", content)
        elif wanted is not None:
            lines = content.splitlines(keepends=True)
            found[place] = b"".join(line for line in lines if any(word in line for word in wanted))
        elif place in SOCKET_TABLES:
            found[place] = _ports_only(content)
        elif place.startswith("sys/firmware/dmi/"):
            found[place] = modules_without_ids(content)
        elif place.startswith("usr/share/"):
            found[place] = _named_devices(content, _device_ids(tree))
        else:
            found[place] = content
    return found


def _ports_only(content: bytes) -> bytes:
    """Of a table of sockets the ports that are listened on, without addresses."""
    ports = sorted(set(LISTENING.findall(content.decode("ascii", "replace"))))
    return b"sl\n" + b"".join(b"0: 00000000:%s 00000000:0000 0A\n" % port.encode() for port in ports)


def _device_ids(tree: Tree) -> set[bytes]:
    """PCI device ids that the probe came across, as the name lists write them."""
    ids = [content.strip()[2:] for name, content in tree.contents.items() if name.endswith("/device")]
    for name, content in tree.contents.items():
        if "/kfd/topology/" in name:
            ids += [b"%04x" % int(number) for number in re.findall(rb"^device_id (\d{1,6})$", content, re.MULTILINE)]
    return {number.lower() for number in ids}


def _named_devices(content: bytes, ids: set[bytes]) -> bytes:
    """Of pci.ids or amdgpu.ids the lines of this machine's devices: the whole list is as long as a book."""
    kept, ours = [b"#\n"], False
    for line in content.splitlines(keepends=True):
        if re.match(rb"[0-9a-f]{4}  ", line):
            ours = line[:4] in _GPU_VENDORS
            kept += [line] if ours else []
        elif line[:4].lower() in ids or (ours and line[:1] == b"\t" and line[1:5] in ids):
            kept.append(line)
    return b"".join(kept)


def without_ids(driver: Driver) -> Driver:
    """UUIDs name the very board: they go, by number."""
    boards = tuple(
        msgspec.structs.replace(
            board,
            uuid=f"GPU-{number}" if board.uuid else None,
            slices=tuple(
                msgspec.structs.replace(part, uuid=f"MIG-{number}-{i}" if part.uuid else None)
                for i, part in enumerate(board.slices)
            ),
        )
        for number, board in enumerate(driver.boards)
    )
    return msgspec.structs.replace(driver, boards=boards)
