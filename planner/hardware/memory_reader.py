"""Reading memory as fast as the machine can, in threads: buffers, pinning, and when each chunk was read.

Reading is what decoding does with the weights. libc's memcmp over two equal halves reads two streams at the machine's
vector width, and ctypes lets go of the interpreter lock while it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from planner.units import MIB

CHUNK_BYTES = 4 * MIB  # of each half: long against the call, short against preemption
_STEP_BYTES = 2 * MIB  # touched at a time: one transparent huge page
_START_LIMIT_S = 5.0


class Sample(msgspec.Struct, frozen=True):
    """One chunk: start and end in seconds, bytes read."""

    start_s: float
    end_s: float
    read_bytes: int


class Buffer:
    """Private anonymous memory in huge pages where the kernel grants them, touched by its first user.

    Python's default is a shared mapping, which never gets transparent huge pages."""

    def __init__(self, size_bytes: int) -> None:
        private = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
        self.memory = mmap.mmap(-1, size_bytes, flags=private) if private else mmap.mmap(-1, size_bytes)
        with contextlib.suppress(OSError, AttributeError, ValueError):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.view = (ctypes.c_char * size_bytes).from_buffer(self.memory)
        self.address = ctypes.addressof(self.view)
        self.size_bytes = size_bytes
        self.touched_bytes = 0

    def touch(self, deadline_s: float) -> None:
        """Writes until all is touched or time is up: a lazily backed VM can take seconds for its first touch."""
        while self.touched_bytes < self.size_bytes and time.perf_counter() < deadline_s:
            step = min(_STEP_BYTES, self.size_bytes - self.touched_bytes)
            ctypes.memset(self.address + self.touched_bytes, 1, step)
            self.touched_bytes += step

    def close(self) -> None:
        """Gives the memory back."""
        del self.view
        self.memory.close()


def library() -> Any:
    """The C library whose memcmp does the reading."""
    if sys.platform == "win32":
        return ctypes.CDLL("msvcrt")
    return ctypes.CDLL(None)


def is_musl(libc: Any) -> bool:
    """Musl's memcmp goes byte by byte, several times slower than memory: such a figure is a lower bound."""
    return sys.platform == "linux" and not hasattr(libc, "gnu_get_libc_version")


def pin(cpu: int | None) -> None:
    """Binds the calling thread to one CPU where the system can (Linux; `0` means the thread, not the process)."""
    if cpu is not None and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {cpu})


def touch_all(cpus: Sequence[int | None], buffers: Sequence[Buffer], limit_s: float) -> None:
    """Each thread, on its CPU, touches its own buffer: the pages then lie on that CPU's NUMA node."""

    def work(cpu: int | None, buffer: Buffer) -> None:
        pin(cpu)
        buffer.touch(deadline)

    deadline = time.perf_counter() + limit_s
    threads = [
        threading.Thread(target=work, args=pair, daemon=True, name="touch") for pair in zip(cpus, buffers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_START_LIMIT_S + limit_s)


def read_all(cpus: Sequence[int | None], buffers: Sequence[Buffer], seconds: float) -> list[list[Sample]]:
    """Every thread reads its buffer over and over for `seconds`, all at once; the samples of each thread."""
    samples: list[list[Sample]] = [[] for _ in cpus]
    barrier = threading.Barrier(len(cpus))
    libc = library()
    compare = libc.memcmp
    compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

    def work(number: int) -> None:
        pin(cpus[number])
        try:
            barrier.wait(_START_LIMIT_S)
        except threading.BrokenBarrierError:
            return
        _read(compare, buffers[number], seconds, samples[number])

    threads = [threading.Thread(target=work, args=(i,), daemon=True, name="read") for i in range(len(cpus))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_START_LIMIT_S + seconds + 5.0)
    return samples


def _read(compare: Any, buffer: Buffer, seconds: float, samples: list[Sample]) -> None:
    half = buffer.touched_bytes // 2
    chunk = min(CHUNK_BYTES, half)
    if chunk <= 0:
        return
    first, second, offset = buffer.address, buffer.address + half, 0
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        compare(first + offset, second + offset, chunk)
        after = time.perf_counter()
        samples.append(Sample(now, after, 2 * chunk))
        now = after
        offset = offset + chunk if offset + 2 * chunk <= half else 0
