"""The plan file: canonical bytes out, a checked record in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from planner.errors import PlannerError
from planner.hardware.facts import FORMAT_VERSION
from planner.planning.plan import Plan

# What earlier planners of this format wrote and nothing reads any more: by these keys a workload chose among models.
RETIRED = frozenset({("workload", "prefer_tags"), ("workload", "score_weights")})

_UNKNOWN_FIELD = r"unknown field `([^`]*)`"


def plan_json(plan: Plan) -> bytes:
    """Canonical bytes: sorted keys, two spaces, a final newline. The same plan gives the same bytes."""
    document = msgspec.to_builtins(plan, str_keys=True)
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def load_plan(path: str | Path) -> Plan:
    """The plan in a file.

    Raises PlannerError naming the file and the key: unreadable, no JSON, another major format, or a wrong value.
    A newer minor format is read, with a line in the log, when nothing in it is unknown."""
    name = str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise PlannerError(f"{name}: cannot be read: {reason}", hint="planner recommend --save writes one") from None
    return read_plan(content, name)


def read_plan(content: bytes, name: str = "plan") -> Plan:
    """The plan in these bytes; `name` stands in messages. Raises as `load_plan`."""
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PlannerError(f"{name}: no JSON: {error}", hint="planner recommend --save writes a plan") from None
    if not isinstance(document, dict) or "format_version" not in document:
        raise PlannerError(f"{name}: not a plan: format_version is missing", hint="planner recommend --save writes one")
    newer = _is_newer(document["format_version"], name)
    return _to_plan(document, name, drop_unknown=newer)


def _to_plan(document: dict[str, Any], name: str, *, drop_unknown: bool) -> Plan:
    """The record. Keys that only a newer minor format knows are dropped, each with a line in the log; RETIRED ones
    without."""
    while True:
        try:
            return msgspec.convert(document, Plan, str_keys=True)
        except msgspec.ValidationError as error:
            problem, _, where = str(error).partition(" - at `$")
            path = where.strip("`").lstrip(".")
            unknown = re.search(_UNKNOWN_FIELD, problem)
            if unknown and (path, unknown[1]) in RETIRED and _drop(document, path, unknown[1]):
                continue
            if drop_unknown and unknown and _drop(document, path, unknown[1]):
                _warn("%s: %s.%s is not known to this planner and was left out", name, path, unknown[1])
                continue
            hint = "make the plan again with planner recommend --save"
            raise PlannerError(f"{name}: {path or 'the document'}: {problem}", hint=hint) from None


def _drop(document: Any, path: str, key: str) -> bool:
    """Remove a key from every object at a path like `services[...].speed`; False when nothing was there."""
    found = [document]
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        if step.startswith("["):
            found = [inner for outer in found for inner in (outer.values() if isinstance(outer, dict) else outer)]
        else:
            found = [outer[step] for outer in found if isinstance(outer, dict) and step in outer]
    dropped = [outer.pop(key) for outer in found if isinstance(outer, dict) and key in outer]
    return bool(dropped)


def _is_newer(version: object, name: str) -> bool:
    """Whether the minor version is newer than ours. Raises PlannerError for another major version."""
    major, minor = _parts(version, name)
    own_major, own_minor = _parts(FORMAT_VERSION, name)
    if major != own_major:
        raise PlannerError(
            f"{name}: format_version {version} cannot be read by this planner, which reads {own_major}.x",
            hint="make the plan again with planner recommend --save",
        )
    if minor > own_minor:
        _warn("%s: format_version %s is newer than %s", name, version, FORMAT_VERSION)
    return minor > own_minor


def _parts(version: object, name: str) -> tuple[int, int]:
    text = version if isinstance(version, str) else ""
    major, _, minor = text.partition(".")
    if not (major.isdigit() and (minor or "0").isdigit()):
        raise PlannerError(f"{name}: format_version: {version!r} is no version like {FORMAT_VERSION!r}")
    return int(major), int(minor or 0)


def _warn(message: str, *details: object) -> None:
    import logging

    logging.getLogger("planner").warning(message, *details)
