"""Words of a command line, and what may stand in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from planner.errors import RenderError
from planner.servers.records import Argument

# Control characters (C0, DEL, C1 next-line) and the two Unicode line separators end a line in one format or another.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Word = str | int | float


def word_text(value: Word) -> str:
    """One value as the servers' parsers read it: `0.6`, `1`, never `1e-05` or `True`."""
    if isinstance(value, bool):
        raise TypeError("a boolean is a switch, not a word")
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
    return str(value)


def words(*values: Word) -> tuple[Argument, ...]:
    """Words that stand as they are."""
    return tuple(Argument(text=word_text(value)) for value in values)


def option(flag: str, value: Word | None) -> tuple[Argument, ...]:
    """A flag with its value, nothing when the value is None."""
    return () if value is None else words(flag, value)


def json_word(values: Mapping[str, object]) -> str:
    """A JSON object as one word, keys in order."""
    return json.dumps(values, sort_keys=True)


def checked_name(name: str, what: str) -> str:
    """The name itself. Raises RenderError when it is empty, starts with a dash (an option to most parsers) or holds
    a control character (a line break in half of the formats)."""
    if not name or name.startswith("-") or _CONTROL.search(name):
        raise RenderError(
            f"{what} {name!r} cannot stand in a command line", hint="rename it: no dash in front, one line"
        )
    return name


def checked_file(name: str, what: str = "model file") -> str:
    """The relative file name itself. Raises RenderError for a name that leaves its folder, or as `checked_name`."""
    checked_name(name, what)
    if name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/"):
        raise RenderError(f"{what} {name!r} is not a plain file name below the models folder")
    return name


def models_word(name: str) -> Argument:
    """A file or folder in the models folder."""
    return Argument(text=checked_file(name), kind="models")
