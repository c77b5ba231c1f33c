"""The parsed catalog on disk as msgpack: a warm start parses no YAML. Safe to delete, safe to lose."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from planner.catalog.paths import cache_folder

logger = logging.getLogger("planner")


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed catalog: the digest of its files, and each section as msgpack, decoded when it is asked for."""

    digest: str
    sections: dict[str, bytes]
    documents: bytes
    signature: str | None = None


def cache_file(version: str, folders: Iterable[str]) -> Path | None:
    """The cache file of this release for these folders; None when caching is off."""
    folder = cache_folder()
    if folder is None:
        return None
    key = hashlib.sha256("\0".join((version, *folders)).encode()).hexdigest()[:16]
    return folder / f"catalog-{key}.msgpack"


def load_cache(file: Path | None) -> Parsed | None:
    """What the file holds; None when it is absent or broken in any way (a checksum goes before the content)."""
    if file is None:
        return None
    try:
        stored = file.read_bytes()
        if stored[:32] != hashlib.sha256(stored[32:]).digest():
            return None
        return msgspec.msgpack.decode(stored[32:], type=Parsed)
    except (OSError, msgspec.DecodeError):
        return None


def write_cache(file: Path | None, parsed: Parsed) -> None:
    """Replaces the file in one step; a disk that is full or read-only is no failure."""
    if file is None:
        return
    import tempfile

    content = msgspec.msgpack.encode(parsed)
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(hashlib.sha256(content).digest() + content)
        Path(temporary).replace(file)
    except OSError as error:
        logger.debug("catalog cache not written: %s", error)
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
