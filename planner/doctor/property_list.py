"""launchd's property lists as programs; lists of other kinds hold none."""

from __future__ import annotations

import plistlib
from typing import Any
from xml.parsers.expat import ExpatError

from planner.doctor.programs import own_words
from planner.doctor.records import Document, Finding, Served


def read_property_list(path: str, text: str) -> Document:
    """An agent or daemon: one program (launchd.plist(5))."""
    try:
        content = plistlib.loads(text.encode())
    except (plistlib.InvalidFileException, ExpatError, ValueError) as error:
        finding = Finding(rule_id="plist-broken", severity="error", place=path, text=f"no property list: {error}")
        return Document(path=path, kind="launchd", findings=(finding,))
    arguments = content.get("ProgramArguments") if isinstance(content, dict) else None
    if not isinstance(arguments, list) or not arguments:
        return Document(path=path, kind="launchd")
    return Document(path=path, kind="launchd", served=(_served(path, content, [str(word) for word in arguments]),))


def _served(path: str, content: dict[str, Any], words: list[str]) -> Served:
    server, argv = own_words(None, (), words)
    variables = content.get("EnvironmentVariables")
    return Served(
        kind="launchd",
        place=path,
        name=str(content.get("Label") or path),
        server=server,
        argv=argv,
        environment={str(name): str(value) for name, value in variables.items()} if isinstance(variables, dict) else {},
        restart="KeepAlive" if content.get("KeepAlive") else None,
        is_job=bool(content.get("LaunchOnlyOnce")),
    )
