"""Parts of files that anybody may have written: what is of another kind counts as empty."""

from __future__ import annotations

import shlex
from typing import Any


def mapping(value: object) -> dict[str, Any]:
    """The mapping, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The list, an empty one for anything else."""
    return value if isinstance(value, list) else []


def shell_split(text: str) -> list[str]:
    """The words of a command line; split at blanks where its quotes do not close."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
