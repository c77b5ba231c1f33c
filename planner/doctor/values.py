"""Parts of files that anybody may have written: what is of another kind counts as empty."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any

# No limit on locked memory: more than any machine has.
UNLIMITED_BYTES = sys.maxsize

_LIMIT = re.compile(r"(\d{1,20}(?:\.\d{1,9})?)\s*([kmgtKMGT]?)(i?)[bB]?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def mapping(value: object) -> dict[str, Any]:
    """The mapping, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The list, an empty one for anything else."""
    return value if isinstance(value, list) else []


def limit_bytes(value: object, *, decimal: bool = False) -> int | None:
    """A memory limit as Compose, podman and systemd write it: letters are powers of 1024. With `decimal` as Kubernetes
    does, where only `Ki`, `Mi`, ... are. None for shares, variables and no limit."""
    match = _LIMIT.fullmatch(str(value).strip()) if value is not None and not isinstance(value, bool) else None
    if match is None:
        return None
    base = 1000 if decimal and not match[3] else 1024
    return round(float(match[1]) * base ** _POWERS[match[2].lower()]) or None


def lock_limit_bytes(value: object, *, unit_bytes: int = 1) -> int | None:
    """A limit of locked memory: `infinity` and -1 are none; None where nothing is stated."""
    text = str(value).strip().partition(":")[0] if value is not None else ""
    if text in {"infinity", "-1", "unlimited"}:
        return UNLIMITED_BYTES
    found = limit_bytes(text)
    return None if found is None else found * unit_bytes


def shell_split(text: str) -> list[str]:
    """The words of a command line; split at blanks where its quotes do not close."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
