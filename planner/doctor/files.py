"""Which files the doctor reads, and how each kind becomes a document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from planner.catalog.yaml_file import parse_foreign_yaml
from planner.doctor.compose import read_compose
from planner.doctor.kubernetes import is_manifest, read_manifests
from planner.doctor.modelfile import read_localai, read_modelfile
from planner.doctor.property_list import read_property_list
from planner.doctor.records import Document, FileKind, Finding, Patient
from planner.doctor.units import read_quadlet, read_script, read_unit
from planner.errors import CatalogError, UsageError

MOST_BYTES = 4 * 2**20
_YAML = (".yaml", ".yml")
_READ = "compose files, units, quadlets, manifests, property lists, launch scripts and Modelfiles are read"


def read_files(paths: Iterable[str | Path]) -> Iterator[Document]:
    """The documents below the paths, files in order of their names. Raises UsageError."""
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if path.is_dir():
            documents = [found for file in _files_below(path) if (found := _read(file)) is not None]
            if not documents:
                raise UsageError(f"{path}: nothing in it that the doctor reads", hint=_READ)
            yield from documents
            continue
        document = _read(path)
        if document is None:
            raise UsageError(f"{path}: not a kind of file that the doctor reads", hint=_READ)
        yield document


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _read(path: Path) -> Document | None:
    """The document, None for a file that is none of the kinds."""
    kind = _kind(path)
    if kind is None:
        return None
    shown = str(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            return _broken(shown, kind, "file-too-large", f"larger than {MOST_BYTES // 2**20} MiB")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return _broken(shown, kind, "file-unreadable", "not UTF-8 text")
    except OSError as error:
        return _broken(shown, kind, "file-unreadable", error.strerror or "cannot be read")
    match kind:
        case "unit":
            return read_unit(shown, text)
        case "quadlet":
            return read_quadlet(shown, text)
        case "script":
            return read_script(shown, text)
        case "modelfile":
            return read_modelfile(shown, text)
        case "launchd":
            return read_property_list(shown, text)
        case _:
            return _from_yaml(path, text)


def _kind(path: Path) -> FileKind | None:
    name, suffix = path.name, path.suffix
    if suffix in _YAML:
        return "compose"
    if suffix == ".service":
        return "unit"
    if suffix == ".container":
        return "quadlet"
    if suffix in {".sh", ".bash"}:
        return "script"
    if suffix == ".plist":
        return "launchd"
    if name == "Modelfile" or suffix == ".Modelfile":
        return "modelfile"
    return None


def _broken(path: str, kind: FileKind, rule_id: str, text: str) -> Document:
    finding = Finding(rule_id=rule_id, severity="error", place=path, text=text)
    return Document(path=path, kind=kind, findings=(finding,))


def _from_yaml(path: Path, text: str) -> Document | None:
    shown = str(path)
    try:
        contents = parse_foreign_yaml(text, shown)
    except CatalogError as error:
        return _broken(shown, "compose", "yaml-broken", error.message)
    first = contents[0] if contents else None
    if any(is_manifest(content) for content in contents):
        return read_manifests(shown, contents)
    if isinstance(first, dict) and isinstance(first.get("services"), dict):
        return read_compose(shown, first)
    return read_localai(shown, first, text)


class _Rendered(msgspec.Struct):
    """A file of a manifest, as far as it matters here."""

    path: str
    sha256: str


class _Manifest(msgspec.Struct):
    files: tuple[_Rendered, ...]


def as_rendered(path: Path) -> bool:
    """Whether the file still is what a manifest of planner beside it, or above it, says."""
    for folder in list(path.parents)[:3]:
        for manifest in sorted(folder.glob("planner-manifest.*.json")):
            try:
                files = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).files
            except (OSError, msgspec.MsgspecError):
                continue
            stated = {file.path: file.sha256 for file in files}.get(path.relative_to(folder).as_posix())
            if stated is not None:
                return stated == hashlib.sha256(path.read_bytes()).hexdigest()
    return False


def missing_files(patient: Patient) -> Iterator[Finding]:
    """Files that a program needs and that do not lie beside its own; what planner's README tells to make is not asked
    for."""
    folder = Path(patient.document.path).parent
    made_later = {"models", "secrets"} if any(folder.glob("planner-manifest.*.json")) else set()
    for name in patient.served.needed_files:
        if Path(name).is_absolute() or (Path(name).parts[:1] and Path(name).parts[0] in made_later):
            continue
        if not (folder / name).exists():
            yield patient.finding("file-missing", "error", f"{name} is not there", "create it, or correct the path")
