"""Text laid out in lines of a fixed width, so that a screen can keep to a budget."""

from __future__ import annotations

import textwrap

from rich.text import Text

WIDTH = 80
INDENT = "  "


def heading(text: str) -> list[Text]:
    """One bold line."""
    return [Text(text, style="bold")]


def clipped(text: str, width: int) -> str:
    """At most `width` characters, the last an ellipsis when something was cut."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def wrapped(text: str, *, first: str = INDENT, rest: str = INDENT, most: int | None = None) -> list[Text]:
    """`text` over lines of WIDTH with prefixes; at most `most` lines, the last clipped."""
    lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    if most is not None and len(lines) > most:
        kept, cut = lines[: most - 1], lines[most - 1 :]
        prefix = rest if kept else cut[0][: len(first)]
        words = " ".join(line.removeprefix(prefix).strip() for line in cut)
        lines = [*kept, clipped(prefix + words, WIDTH)]
    return [Text(line) for line in lines]


def bullet(text: str, *, most: int | None = None) -> list[Text]:
    """A dash and a hanging indent."""
    return wrapped(text, first=f"{INDENT}- ", rest=f"{INDENT}  ", most=most)


def columns(cells: tuple[str, ...], widths: tuple[int, ...]) -> Text:
    """One row of left-aligned cells, clipped to their widths."""
    padded = (clipped(cell, width).ljust(width) for cell, width in zip(cells, widths, strict=True))
    return Text((INDENT + " ".join(padded)).rstrip())
