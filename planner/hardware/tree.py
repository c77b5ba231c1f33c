"""A file system below a root: the live machine's `/`, a captured tree, or a test's folder.

Every file-based reader takes a `Tree`. A missing, denied or unreadable file is a state, never an exception, and a link
that leaves the root is as good as missing.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from planner.errors import ProbeError

ReadState = Literal["known", "missing", "denied"]
MAX_FILE_BYTES = (
    16 * 1024**2
)  # the largest file read here is /proc/cpuinfo: about 1.5 kB for each of a few thousand CPUs
MOST_MEMORY_BYTES = 1 << 50  # the largest single machine (HPE Superdome Flex) holds 2^45.6; more is a broken file
MAX_CPU_ID = 1 << 16  # Linux' NR_CPUS ends at 8192; a longer range is a broken file, not a machine
_WORDS_FOR_NUMBERS = frozenset({"max", "Unknown"})  # what the kernel writes for no limit, and for no answer


class Tree:
    """Reads files below `root`. `live` is True only for `/` itself: nothing else may ask the running kernel."""

    def __init__(self, root: str | Path = "/") -> None:
        real = os.path.realpath(root)
        if not Path(real).is_dir():
            raise ProbeError(f"{root} is not a folder", hint="--root takes the top folder of a captured machine")
        self.root = real
        self.live = real == "/"
        self.contents: dict[str, bytes] = {}  # of every file read, as first read: a capture holds what the facts hold
        self.seen_paths: set[str] = set()  # looked for and there, without being read
        self.listed_paths: set[str] = set()
        self.refused_paths: set[str] = set()  # links that lead out of the root
        self.denied_paths: set[str] = set()
        self.broken_paths: set[str] = set()  # content of another kind than a kernel writes there
        self.denied_when_captured: frozenset[str] = frozenset()
        self._inside: dict[str, str | None] = {}

    def _locate(self, path: str) -> str | None:
        """The real place of `path` (`proc/meminfo`) if it lies below the root."""
        joined = os.path.join(self.root, path.lstrip("/"))  # noqa: PTH118 - hot path, thousands of calls
        if self.live:
            return joined
        folder, name = os.path.split(joined)
        if folder not in self._inside:
            self._inside[folder] = self._checked(folder)
        real_folder = self._inside[folder]
        if real_folder is None:
            self.refused_paths.add(os.path.relpath(folder, self.root))
            return None
        place = os.path.join(real_folder, name)  # noqa: PTH118
        if not os.path.islink(place):  # noqa: PTH114
            return place
        end = self._checked(place)
        if end is None:
            self.refused_paths.add(path.lstrip("/"))
        return end

    def _checked(self, place: str) -> str | None:
        real = os.path.realpath(place)
        return real if real == self.root or real.startswith(self.root.rstrip("/") + "/") else None

    def data(self, path: str) -> tuple[ReadState, bytes]:
        """The bytes of a regular file, with the state of the reading."""
        name = path.lstrip("/")
        state, content = self._read(path)
        if name in self.denied_when_captured:
            state, content = "denied", b""
        if state == "denied":
            self.denied_paths.add(name)
        elif state == "known":
            self.contents.setdefault(name, content)
        return state, content

    def _read(self, path: str) -> tuple[ReadState, bytes]:
        place = self._locate(path)
        if place is None:
            return "missing", b""
        try:
            handle = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except PermissionError:
            return "denied", b""
        except (OSError, ValueError):
            return "missing", b""
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return "missing", b""
            content = _read_all(handle)
        except PermissionError:
            return "denied", b""
        except OSError:  # sysfs answers EINVAL, EIO or ENODEV for an attribute that the device lacks
            return "missing", b""
        finally:
            os.close(handle)
        return "known", content

    def state(self, path: str) -> ReadState:
        """Whether the file can be read."""
        return self.data(path)[0]

    def text(self, path: str) -> str | None:
        """Stripped text of a file; None when missing, denied or empty."""
        content = self.data(path)[1]
        return content.decode("utf-8", "replace").strip().strip("\0") or None

    def integer(self, path: str) -> int | None:
        """A whole number (`0x` is hexadecimal), None for anything else."""
        text = self.text(path)
        value = parse_integer(text)
        if text is not None and value is None and text not in _WORDS_FOR_NUMBERS:
            self.broken_paths.add(path.lstrip("/"))
        return value

    def size_bytes(self, path: str) -> int | None:
        """A whole number of bytes that a machine can have."""
        value = self.integer(path)
        if value is None or 0 <= value <= MOST_MEMORY_BYTES:
            return value
        self.broken_paths.add(path.lstrip("/"))
        return None

    def cpus(self, path: str) -> tuple[int, ...] | None:
        """A CPU or node list (`0-3,8`); None when the file is missing or no list."""
        text = self.text(path)
        if text is None:
            return () if self.exists(path) else None
        found = parse_cpu_list(text)
        if found is None:
            self.broken_paths.add(path.lstrip("/"))
        return found

    def exists(self, path: str) -> bool:
        """True when a file or folder of that name can be seen below the root."""
        place = self._locate(path)
        found = place is not None and os.path.exists(place)  # noqa: PTH110
        if found:
            self.seen_paths.add(path.lstrip("/"))
        return found

    def names(self, path: str) -> tuple[str, ...]:
        """Sorted names in a folder, none when it is missing or denied."""
        place = self._locate(path)
        self.listed_paths.add(path.lstrip("/"))
        try:
            return tuple(sorted(os.listdir(place))) if place else ()  # noqa: PTH208
        except PermissionError:
            self.denied_paths.add(path.lstrip("/"))
        except (OSError, ValueError):
            pass  # missing, or no folder
        return ()

    def resolve(self, path: str) -> str | None:
        """The path below the root that a link chain ends at; None when it leaves the root or ends nowhere."""
        place = self._locate(path)
        if place is None or not os.path.exists(place):  # noqa: PTH110
            return None
        real = self._checked(place)
        self.seen_paths.add(path.lstrip("/"))
        return None if real is None else real[len(self.root.rstrip("/")) + 1 :]

    def link_name(self, path: str) -> str | None:
        """Last part of where a link points (`amdgpu` for a `driver` link), even if that end was not captured."""
        place = self._locate(os.path.dirname(path))  # noqa: PTH120
        if place is None:
            return None
        self.seen_paths.add(path.lstrip("/"))
        try:
            return os.path.basename(os.readlink(os.path.join(place, os.path.basename(path))))  # noqa: PTH115, PTH118, PTH119
        except (OSError, ValueError):
            return None


def _read_all(handle: int) -> bytes:
    parts = []
    left = MAX_FILE_BYTES
    while left > 0 and (part := os.read(handle, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def parse_integer(text: str | None) -> int | None:
    """A whole number in decimal or with `0x`; None for anything else, or more digits than 64 bits hold."""
    if text is None or len(text) > 24:
        return None
    try:
        return int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        return None


def parse_cpu_list(text: str) -> tuple[int, ...] | None:
    """`0-3,8` as numbers, sorted; None when it is no list. Empty text is an empty list."""
    found: set[int] = set()
    for part in text.replace("\n", ",").split(","):
        if not part.strip():
            continue
        first, dash, last = part.strip().partition("-")
        low = parse_integer(first)
        high = parse_integer(last) if dash else low
        if low is None or high is None or not 0 <= low <= high < MAX_CPU_ID:
            return None
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def parse_cpu_mask(text: str) -> tuple[int, ...] | None:
    """A mask of comma-grouped 32-bit hexadecimal words, most significant first; empty words are zero."""
    words = text.strip().split(",")
    value = 0
    for word in words:
        try:
            value = (value << 32) | int(word or "0", 16)
        except ValueError:
            return None
        if value.bit_length() > MAX_CPU_ID:
            return None
    return tuple(bit for bit in range(value.bit_length()) if value >> bit & 1)


def format_cpu_list(cpus: tuple[int, ...]) -> str:
    """Numbers as `0-3,8`."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
