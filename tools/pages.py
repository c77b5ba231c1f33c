"""Pages of docs/ of which a part is generated."""

from __future__ import annotations

from pathlib import Path


def between(text: str, name: str, content: str) -> str:
    """The text with something else between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"


def keep(page: Path, text: str, tool: str, *, check: bool) -> int:
    """Write a page of docs/, or with `check` only say whether it is current: exit code 5 when it differs."""
    if check:
        current = page.read_text(encoding="utf-8") == text
        print(f"docs/{page.name} is current" if current else f"docs/{page.name} differs: python {tool}")
        return 0 if current else 5
    page.write_text(text, encoding="utf-8")
    return 0
