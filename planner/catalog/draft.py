"""A catalog entry drafted from a model's files, for a person to review."""

from __future__ import annotations

from typing import Any

import msgspec

from planner.catalog.records import Model

_HEAD = """\
# Drafted from the model's own files. Review it, fill in what is marked, and put the file into models/ of your catalog
# folder (~/.config/planner/catalog, or the folder that PLANNER_CATALOG names).
"""
_ASKED = {
    "vendor": "who published it",
    "license": "SPDX id",
    "repo": "Hugging Face repository of the original weights",
    "released": "date, quoted: '2026-01-31'",
}


def draft_entry(model: Model) -> str:
    """YAML of one entry in the shape of `catalog/models/*.yaml`; tensors of a file are left out, they are counted."""
    plain = msgspec.to_builtins(msgspec.structs.replace(model, tensors=()))
    lines = [_HEAD.rstrip()]
    for number, (key, value) in enumerate(plain.items()):
        lines += _lines(key, value, "- " if number == 0 else "  ")
    lines += [f"  # {key}: {meaning}" for key, meaning in _ASKED.items() if key not in plain]
    if model.tensors:
        total = sum(_elements(shape) for _, shape, _ in model.tensors)
        lines.append(f"  # the file holds {len(model.tensors)} tensors, {total:_} elements")
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any, lead: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{lead}{key}: {_scalar(value)}"]
    if not value:
        return []
    lines = [f"{lead}{key}:"]
    for inner, content in value.items():
        lines += _lines(inner, content, " " * len(lead) + "  ")
    return lines


def _scalar(value: Any) -> str:
    """JSON is YAML; numbers with their thousands marked."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if value >= 10_000 else str(value)
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _elements(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
