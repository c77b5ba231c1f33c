"""The parsed catalog on disk as msgpack: a warm start parses no YAML. Safe to delete, safe to lose."""

import contextlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from planner.catalog.paths import cache_folder


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed catalog: the digest of its files, and each section as msgpack, decoded when it is asked for.
    `models_digest` is that of the models alone, for what is derived from them."""

    digest: str
    models_digest: str = ""
    sections: dict[str, bytes]
    documents: bytes
    signature: str | None = None


def cache_file(version: str, folders: Iterable[str]) -> Path | None:
    """The cache file of this release for these folders; None when caching is off."""
    folder = cache_folder()
    if folder is None:
        return None
    key = zlib.crc32("\0".join((version, *folders)).encode())
    return folder / f"catalog-{key:08x}.msgpack"


def load_cache(file: Path | None) -> Parsed | None:
    """What the file holds; None when it is absent or broken in any way (a checksum goes before the content)."""
    if file is None:
        return None
    try:
        stored = file.read_bytes()
        if stored[:4] != _checksum(stored[4:]):
            return None
        return msgspec.msgpack.decode(stored[4:], type=Parsed)
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
            stream.write(_checksum(content) + content)
        Path(temporary).replace(file)
    except OSError as error:
        _log("catalog cache not written: %s", error)
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def _checksum(content: bytes) -> bytes:
    """Against damage, not against malice: whoever can write the cache can write the catalog."""
    return zlib.crc32(content).to_bytes(4, "big")


def _log(message: str, error: OSError) -> None:
    import logging

    logging.getLogger("planner").debug(message, error)
