"""Hardware files: what `probe --save` writes and `--hardware` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from planner.errors import ProbeError, near_misses
from planner.hardware.facts import FORMAT_VERSION, Hardware
from planner.units import MIB

_LARGEST_BYTES = 32 * MIB  # a 1000-CPU machine with all its sources stays below 1 MiB


def hardware_json(hardware: Hardware) -> bytes:
    """Canonical JSON: fields in their order, mappings sorted, two spaces, one newline at the end. Same hardware, same
    bytes."""
    plain = msgspec.to_builtins(hardware, str_keys=True)
    return msgspec.json.format(msgspec.json.encode(plain, order="deterministic"), indent=2) + b"\n"


def load_hardware(path: str | Path) -> Hardware:
    """A hardware file. Raises ProbeError naming the file, the key path and what was expected there; a newer minor
    version is read, with a note, and its unknown fields are left out."""
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            raise ProbeError(f"{path} is too large for a hardware file", hint="write one with: planner probe --save")
        content = file.read_bytes()
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise ProbeError(f"{path}: {reason}", hint="write one with: planner probe --save FILE") from error
    return decode_hardware(content, str(path))


def decode_hardware(content: bytes, name: str = "hardware") -> Hardware:
    """As `load_hardware`, from bytes; `name` stands in the messages."""
    hint = "write one with: planner probe --save FILE"
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProbeError(f"{name} is not JSON: {error}", hint=hint) from error
    if not isinstance(document, dict):
        raise ProbeError(f"{name}: expected a mapping, found {_kind(document)}", hint=hint)
    if isinstance(document.get("hardware"), dict) and "format_version" in document and "cpu" not in document:
        document = document["hardware"]  # `planner probe --json` and plan files wrap it
    dropped = _check_version(document, name)
    try:
        hardware = msgspec.convert(document, Hardware, str_keys=True)
    except msgspec.ValidationError as error:
        raise ProbeError(f"{name}: {_explain(error)}", hint="correct that key, or probe again") from error
    except RecursionError as error:
        raise ProbeError(f"{name} is nested too deeply", hint=hint) from error
    return msgspec.structs.replace(hardware, notes=(*hardware.notes, *dropped)) if dropped else hardware


def _check_version(document: dict[str, Any], name: str) -> tuple[str, ...]:
    """Notes on a newer minor version, whose unknown fields are taken out of `document`."""
    stated = document.get("format_version")
    match = re.fullmatch(r"(\d{1,6})\.(\d{1,6})", stated) if isinstance(stated, str) else None
    if match is None:
        raise ProbeError(f"{name}: $.format_version: expected {FORMAT_VERSION!r}, found {stated!r}")
    major, minor = (int(part) for part in FORMAT_VERSION.split("."))
    if int(match[1]) != major:
        raise ProbeError(
            f"{name}: $.format_version: {stated} is another format than {FORMAT_VERSION}",
            hint="use the planner that wrote it, or probe again",
        )
    if int(match[2]) <= minor:
        return ()
    lost = _drop_unknown(document, Hardware)
    tail = f"; left out: {', '.join(sorted(lost))}" if lost else ""
    return (f"{Path(name).name} was written by a newer planner (format {stated}){tail}",)


def _drop_unknown(value: Any, kind: Any) -> set[str]:
    """Removes keys that this version does not know, all the way down; returns their names."""
    lost: set[str] = set()
    known = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key in [key for key in value if key not in known]:
        del value[key]
        lost.add(key)
    for key, field_type in known.items():
        for record in _records(value.get(key)):
            for inner in _record_types(field_type):
                lost |= _drop_unknown(record, inner)
    return lost


def _records(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        inner = [item for item in value.values() if isinstance(item, dict)]
        return inner if inner and len(inner) == len(value) else [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _record_types(kind: Any) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for part in getattr(kind, "__args__", ()) for found in _record_types(part)]


def _field_names(kind: Any) -> set[str]:
    """Names of all fields of a record and of the records in it."""
    found: set[str] = set()
    for field in msgspec.structs.fields(kind):
        found.add(field.name)
        for inner in _record_types(field.type):
            found |= _field_names(inner)
    return found


def _explain(error: msgspec.ValidationError) -> str:
    """`$.cpu.cores: expected int | null, got str`, with near misses for an unknown key."""
    text = str(error)
    match = re.fullmatch(r"(.*?)(?: - at `(.+)`)?", text, re.DOTALL)
    message, place = (match[1], match[2] or "$") if match else (text, "$")
    unknown = re.search(r"unknown field `(.+)`", message)
    if unknown:
        names = sorted(_field_names(Hardware))
        close = near_misses(unknown[1], names)
        message = f"unknown key {unknown[1]!r}" + (f", did you mean {', '.join(close)}?" if close else "")
    return f"{place}: {message[:1].lower()}{message[1:]}"


def _kind(value: Any) -> str:
    return {list: "a list", str: "text", type(None): "null", bool: "a truth value"}.get(type(value), "a number")
