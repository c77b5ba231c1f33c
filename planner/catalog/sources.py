"""The files of a catalog: the shipped folder, then the folders that override it, and what identifies their content."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from planner.catalog.paths import PACKAGE_FOLDER
from planner.errors import CatalogError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


_NOT_FOR_PLANNING = frozenset({"measurements"})  # what the speed constants are fitted on


class SourceFile(msgspec.Struct, frozen=True):
    """One YAML file: which folder it belongs to (0 = shipped), its name below it, and how to read it."""

    layer: int
    name: str
    file: Traversable

    @property
    def section(self) -> str:
        """`models` for `models/qwen3.yaml` and for `models.yaml`."""
        return self.name.partition("/")[0].removesuffix(".yaml")

    @property
    def shown(self) -> str:
        """How a message names the file: short for shipped ones, the path for a person's own."""
        return f"catalog/{self.name}" if self.layer == 0 else str(self.file)

    def read(self) -> bytes:
        """The content. Raises CatalogError when the file cannot be read."""
        try:
            return self.file.read_bytes()
        except OSError as error:
            raise CatalogError(f"{self.shown}: cannot be read: {error.strerror}") from None


def source_files(folders: Iterable[Traversable]) -> tuple[SourceFile, ...]:
    """Every YAML file, layer by layer, names sorted: `*.yaml` and `*/*.yaml`; files starting with a dot are ignored.

    Raises CatalogError when a folder cannot be listed."""
    found: list[SourceFile] = []
    for layer, folder in enumerate(folders):
        try:
            files = sorted(_yaml_below(folder), key=lambda each: each[0])
        except OSError as error:
            raise CatalogError(f"{folder}: cannot be listed: {error.strerror}") from None
        found += [SourceFile(layer, name, file) for name, file in files]
    return tuple(found)


def _yaml_below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for child in folder.iterdir():
        if child.name.startswith("."):
            continue
        if child.name.endswith((".yaml", ".yml")):
            yield f"{prefix}{child.name.removesuffix('.yml').removesuffix('.yaml')}.yaml", child
        elif not prefix and child.name not in _NOT_FOR_PLANNING and child.is_dir():
            yield from _yaml_below(child, f"{child.name}/")


def content_digest(contents: Iterable[tuple[SourceFile, bytes]]) -> str:
    """SHA-256 over layer, relative name and content of every file: the same from a wheel and a checkout."""
    import hashlib

    digest = hashlib.sha256()
    for source, content in contents:
        digest.update(f"{source.layer}\0{source.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def bytes_digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


def stat_signature(sources: Iterable[SourceFile]) -> str | None:
    """Changes whenever a file or the reading code was written; None when the files are not on a disk."""
    facts: list[str] = []
    try:
        for source in sources:
            if not isinstance(source.file, Path):
                return None
            facts.append(_written(f"{source.layer}\0{source.name}", source.file.stat()))
    except OSError:
        return None
    code = code_signature((PACKAGE_FOLDER / "catalog", PACKAGE_FOLDER / "catalog" / "records"))
    return None if code is None else "\n".join([*facts, code])


def code_signature(folders: Iterable[Path]) -> str | None:
    """Changes whenever a module of these folders was written; None when they are not on a disk."""
    facts: list[str] = []
    try:
        for folder in folders:
            with os.scandir(folder) as found:
                code = sorted((entry for entry in found if entry.name.endswith(".py")), key=lambda each: each.name)
            facts += [_written(entry.name, entry.stat()) for entry in code]
    except OSError:
        return None
    return "\n".join(facts)


def _written(name: str, stat: os.stat_result) -> str:
    """Inode and change time catch what size and modification time miss (installers restore old times)."""
    return repr((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
