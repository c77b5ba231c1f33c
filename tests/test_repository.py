"""What the repository promises about itself: current schemas, one entry in the README for each command."""

from __future__ import annotations

from pathlib import Path

from tools.readme import command
from tools.schemas import FOLDER, schemas

ROOT = Path(__file__).parents[1]


def test_schemas_in_docs_are_those_of_the_records() -> None:
    for name, text in schemas().items():
        assert (FOLDER / name).read_bytes() == text, "run `python tools/schemas.py`"


def test_readme_commands_are_one_line_each() -> None:
    for name in ("main", "test"):
        assert command(name).startswith("python3 -m venv .venv && ")
        assert "\n" not in command(name)


def test_nothing_speaks_of_how_it_was_made() -> None:
    words = ("/wo" + "rk/", "../sha" + "red", "/fa" + "rm")
    for folder in ("planner", "catalog", "templates", "tests", "tools", "docs", "examples"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".md", ".j2", ".sh", ".json", ".service"} and path.is_file():
                text = path.read_text(encoding="utf-8", errors="replace")
                found = [word for word in words if word in text]
                assert not found, f"{path.relative_to(ROOT)} names {found}"
