"""Catalog sections and entries for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from planner.errors import PlannerError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from planner.catalog.catalog import Catalog

COLUMNS = {
    "models": ("id", "family", "kind", "license", "released"),
    "quants": ("id", "format", "scheme", "nominal_bits"),
    "servers": ("id", "version", "formats", "port"),
    "devices": ("id", "name", "architecture", "memory_bytes", "bandwidth_bytes_per_s"),
    "workloads": ("id", "title", "users", "context_tokens"),
    "matrix": ("id", "title", "servers", "cost"),
}


def section_rows(catalog: Catalog, section: str) -> list[dict[str, Any]]:
    """The columns worth a row, of every entry of a section, in catalog order."""
    held = getattr(catalog, section)
    entries = held.values() if isinstance(held, dict) else held
    return [{name: msgspec.to_builtins(getattr(entry, name)) for name in COLUMNS[section]} for entry in entries]


def section_view(section: str, rows: list[dict[str, Any]]) -> RenderableType:
    """A table with one row per entry."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in COLUMNS[section]:
        table.add_column(name, style="cyan" if name == "id" else None)
    for row in rows:
        table.add_row(*(cell(value) for value in row.values()))
    return Group(table, Text(f"{len(rows)} {section}"))


def cell(value: object) -> str:
    """One value as text; lists with commas, unknown as a dash."""
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def find_entry(catalog: Catalog, name: str) -> tuple[str, msgspec.Struct]:
    """The entry of that name in any section. Raises UnknownName with near misses over all of them."""
    for kind, look_up in (
        ("model", catalog.model),
        ("quant", catalog.quant),
        ("server", catalog.server),
        ("workload", catalog.workload),
        ("device", catalog.device),
    ):
        try:
            return kind, look_up(name)
        except PlannerError:
            continue
    known = [*catalog.models, *catalog.quants, *catalog.servers, *catalog.workloads, *catalog.devices]
    raise UnknownName("catalog entry", name, known)


def entry_view(kind: str, entry: msgspec.Struct) -> RenderableType:
    """One entry as YAML-like lines."""
    return Text(f"{kind}\n" + "\n".join(lines(msgspec.to_builtins(entry), 1)))


def lines(value: Any, depth: int) -> list[str]:
    """Nested builtins as indented lines; empty and unknown values are left out."""
    indent = "  " * depth
    found: list[str] = []
    for name, item in value.items():
        if item is None or item in ([], {}, ()):
            continue
        if isinstance(item, dict):
            found += [f"{indent}{name}:", *lines(item, depth + 1)]
        elif isinstance(item, (list, tuple)):
            found.append(f"{indent}{name}: {', '.join(map(str, item))}")
        else:
            found.append(f"{indent}{name}: {item}")
    return found


def check_view(models: int, findings: Sequence[Any]) -> RenderableType:
    """The result of `catalog check`: counts, then each finding."""
    errors = sum(finding.severity == "error" for finding in findings)
    rows = [Text(f"{finding.severity}: {finding.subject}: {finding.text}") for finding in findings]
    return Group(*rows, Text(f"{models} models checked, {errors} errors, {len(findings) - errors} notes", style="bold"))
