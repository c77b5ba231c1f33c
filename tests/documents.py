"""Fenced blocks of the project's documents, by the comment above each: `<!-- run: EXIT -->`, `<!-- file: NAME -->`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(document: str, kind: str) -> list[tuple[str, str]]:
    """(what the comment says, text) of each block of a kind in docs/NAME."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    found = re.findall(rf"<!-- {kind}: (.*?) -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, f"{document} has no block of the kind {kind}"
    return found
