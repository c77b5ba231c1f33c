"""From plain YAML values to records, with messages that name file, entry, key path and near misses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from planner.errors import CatalogError, near_misses

R = TypeVar("R")

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`")
_LOOKS_LIKE_A_NUMBER = re.compile(r"Expected `(int|float)[^`]*`, got `str`")
_LOOKS_LIKE_TEXT = re.compile(r"Expected `str[^`]*`, got `(int|float)`")


def entries(document: object, name: str) -> list[dict[str, object]]:
    """The entries of one file: a list of mappings with `id`, or a mapping from id to the rest.

    Raises CatalogError naming the file and the entry that has another shape."""
    if document is None:
        return []
    if isinstance(document, Mapping):
        pairs = [(f"{name}: {key}", {"id": key, **value} if isinstance(value, Mapping) else value)
                 for key, value in document.items()]  # fmt: skip
    elif isinstance(document, list):
        pairs = [(f"{name}[{number}]", value) for number, value in enumerate(document)]
    else:
        raise CatalogError(f"{name}: expected a list of entries, got {type(document).__name__}")
    for where, value in pairs:
        if not isinstance(value, Mapping):
            raise CatalogError(f"{where}: expected a mapping, got {type(value).__name__}")
        if not isinstance(value.get("id"), str) or not value["id"]:
            raise CatalogError(
                f"{where}: every entry needs an `id` in text", hint="quote an id that looks like a number"
            )
    return [dict(value) for _, value in pairs if isinstance(value, Mapping)]


def to_record(entry: Mapping[str, object], kind: type[R], name: str) -> R:
    """One record from one entry. Raises CatalogError: file, id, key path, what was expected, near misses."""
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as error:
        raise explain(error, kind, f"{name}: {entry.get('id', '?')}") from None


def explain(error: msgspec.ValidationError, kind: type, where: str) -> CatalogError:
    """A CatalogError from msgspec's message: the key path in plain words and a remedy."""
    text = str(error)
    at = _PATH.search(text)
    path = at["path"].lstrip(".") if at else ""
    problem = _PATH.sub("", text)
    unknown = _UNKNOWN_FIELD.search(problem)
    hint = None
    if unknown:
        path = f"{path}.{unknown['field']}".lstrip(".")
        problem = "unknown key"
        matches = near_misses(unknown["field"], _fields_at(kind, path.rpartition(".")[0]))
        hint = f"did you mean {', '.join(matches)}?" if matches else None
    elif _LOOKS_LIKE_A_NUMBER.search(problem):
        hint = "YAML 1.1 reads 30.5e9 and 1e5 as text: write 30_500_000_000 or 100_000"
    elif _LOOKS_LIKE_TEXT.search(problem):
        hint = "quote a text that looks like a number"
    return CatalogError(": ".join(part for part in (where, path, problem) if part), hint=hint)


def _fields_at(kind: Any, path: str) -> tuple[str, ...]:
    """Field names of the struct that lies at a key path of `kind`; empty when it is not a struct."""
    for step in re.findall(r"[^.\[\]]+|\[\.*[^\]]*\]", path):
        if step.startswith("["):
            continue
        struct = _struct_in(kind)
        if struct is None:
            return ()
        kind = get_type_hints(struct).get(step)
    struct = _struct_in(kind)
    return tuple(struct.__struct_encode_fields__) if struct is not None else ()


def _struct_in(kind: Any) -> Any:
    """The struct inside an annotation such as `Moe | None` or `tuple[Score, ...]`."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    found = (_struct_in(argument) for argument in get_args(kind))
    return next((struct for struct in found if struct is not None), None)
