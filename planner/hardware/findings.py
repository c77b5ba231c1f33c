"""What a probe gathers beside the facts: where each came from, and remarks for the person."""

from __future__ import annotations

from typing import Any

import msgspec

from planner.hardware.facts import FactSource, FactState, SourceKind


class Findings:
    """Sources by path and notes, in the order found. Readers add to it; `probe` freezes it into `Hardware`."""

    def __init__(self) -> None:
        self.sources: dict[str, FactSource] = {}
        self.notes: list[str] = []

    def fact(self, path: str, source: SourceKind, note: str | None = None, state: FactState = "known") -> None:
        """Says where the value at `path` came from; a later word on the same path wins."""
        self.sources[path] = FactSource(source=source, state=state, note=note)

    def unknown(self, path: str, why: str, state: FactState = "unknown") -> None:
        """Says that `path` stays unknown, and why (`denied` when permission was missing)."""
        self.sources[path] = FactSource(source="read", state=state, note=why)

    def note(self, text: str) -> None:
        """A remark for the person; said once."""
        if text not in self.notes:
            self.notes.append(text)

    def cover(self, prefix: str, value: Any, source: SourceKind, note: str | None = None) -> None:
        """Gives every known fact of a record a source where none was named yet."""
        for path in known_paths(prefix, value):
            if path not in self.sources:
                self.fact(path, source, note)


def known_paths(prefix: str, value: Any) -> list[str]:
    """Paths of the facts below `value`: each field that holds something; tuples of records by index."""
    if isinstance(value, msgspec.Struct):
        found = []
        for name in value.__struct_fields__:
            found += known_paths(f"{prefix}.{name}" if prefix else name, getattr(value, name))
        return found
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        return [path for i, item in enumerate(value) for path in known_paths(f"{prefix}.{i}", item)]
    if value is None or value == () or value == {}:
        return []
    return [prefix]
