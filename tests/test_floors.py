"""The house has floors: a room imports only from lower floors, or from rooms of its own package."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "planner"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("planner.errors",),
    ("planner.units",),
    ("planner.hardware.facts", "planner.catalog.records"),
    ("planner.hardware", "planner.catalog"),
    ("planner.sizing",),
    ("planner.speed",),
    ("planner.servers",),
    ("planner.planning", "planner.bench.records", "planner.doctor.records"),
    ("planner.rendering", "planner.report", "planner.bench", "planner.doctor", "planner.fleet"),
    ("planner.api",),
    ("planner.views",),
    ("planner.cli",),
    ("planner.__main__",),
)


def floor_of(module: str) -> tuple[int, str] | None:
    """Floor number and room prefix of a module: the longest prefix wins."""
    best: tuple[int, str] | None = None
    for number, rooms in enumerate(FLOORS):
        for room in rooms:
            if (module == room or module.startswith(room + ".")) and (best is None or len(room) > len(best[1])):
                best = (number, room)
    return best


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.startswith("planner.")]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_room_imports_only_from_lower_floors() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = module_name(path)
        if name == "planner":
            continue
        here = floor_of(name)
        assert here is not None, f"{name} stands on no floor: add it to FLOORS"
        for imported in imports(path):
            there = floor_of(imported)
            if there is None:
                continue
            if there[0] > here[0] or (there[0] == here[0] and there[1] != here[1]):
                wrong.append(f"{name} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_no_module_is_longer_than_300_lines() -> None:
    long = {
        str(path.relative_to(PACKAGE)): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 300
    }
    assert not long
