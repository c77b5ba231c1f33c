"""Reading rendered text back, as its consumer will: shell words, units, YAML, values of Compose and Kubernetes.

Only what the templates write is understood; anything else is a RenderError, because it got there by a
quoting fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from planner.catalog.yaml_file import parse_foreign_yaml
from planner.errors import CatalogError, RenderError

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_SHELL_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\n]|\\\n)+)
      | '(?P<single>[^']*)'
      | "(?P<double>(?:\\.|[^"\\])*)"
      | (?P<plain>[\w@%+=:,./-]+)""",
    re.VERBOSE | re.ASCII,
)
_SYSTEMD_TOKEN = re.compile(r'(?P<space>(?:[ \t]|\\\n)+)|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>[^\s"\\]+)', re.DOTALL)
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def _expand(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in variables:
            raise RenderError(f"rendered text refers to the unknown variable {name}")
        return variables[name]

    return _REFERENCE.sub(value, text)


def _shell_piece(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return re.sub(r"\\([\\\"$`])", r"\1", _expand(match["double"], variables))
    return match["plain"]


def shell_words(text: str, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The words a shell would see in one command; `variables` are the values of `$name` in double quotes."""
    words: list[str] = []
    position, open_word = 0, False
    while position < len(text):
        match = _SHELL_TOKEN.match(text, position)
        if match is None:
            raise RenderError(f"rendered shell text cannot be read back at {text[position : position + 30]!r}")
        position = match.end()
        if match["space"] is not None:
            open_word = False
            continue
        piece = _shell_piece(match, variables)
        if open_word:
            words[-1] += piece
        else:
            words.append(piece)
        open_word = True
    return tuple(words)


def _c_unquoted(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1].startswith("x"):
            return chr(int(match[1][1:], 16))
        return _ESCAPES[match[1]]

    return re.sub(r"\\(x[0-9a-f]{2}|.)", value, text, flags=re.DOTALL)


def _specifiers(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] not in values:
            raise RenderError(f"rendered unit uses the unknown specifier %{match[1]}")
        return values[match[1]]

    return re.sub(r"%(.)", value, text, flags=re.DOTALL)


def _unit_variables(text: str, values: Mapping[str, str]) -> str:
    """`$$` is a dollar, `${NAME}` a variable; systemd leaves any other `$` to chance, so none may be there."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] is None or match[1] not in values:
            raise RenderError(f"rendered unit uses {match[0]}, which is not a variable of it")
        return values[match[1]]

    return re.sub(r"\$\$|\$\{(\w+)\}|\$", value, text)


def systemd_words(text: str, specifiers: Mapping[str, str], variables: Mapping[str, str]) -> tuple[str, ...]:
    """The argv of an ExecStart= value, with specifiers (`i`, `d`) and `${VARIABLES}` resolved as given."""
    words, position = [], 0
    while position < len(text):
        match = _SYSTEMD_TOKEN.match(text, position)
        if match is None:
            raise RenderError(f"rendered unit cannot be read back at {text[position : position + 30]!r}")
        position = match.end()
        if match["space"] is None:
            piece = match["plain"] if match["quoted"] is None else _c_unquoted(match["quoted"])
            words.append(_unit_variables(_specifiers(piece, specifiers), variables))
    return tuple(words)


def unit_settings(text: str) -> list[tuple[str, str, str]]:
    """(section, key, value) of a unit file in order; a value may go on after a backslash at the line's end."""
    settings: list[tuple[str, str, str]] = []
    section, lines = "", iter(text.split("\n"))
    for line in lines:
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, found, value = line.partition("=")
        if not found:
            raise RenderError(f"rendered unit has a line without a setting: {line!r}")
        while value.endswith("\\"):
            value = value + "\n" + next(lines, "")
        settings.append((section, key, value))
    return settings


def compose_value(text: str, variables: Mapping[str, str]) -> str:
    """A Compose string after interpolation: `$$` is `$`, `${NAME:-default}` the variable or its default."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] is None:
            raise RenderError(f"rendered compose file has a bare $ in {text!r}")
        return variables.get(match[1]) or match[2]

    return re.sub(r"\$\$|\$\{(\w+):-([^}]*)\}|\$", value, text)


# The expansion of the API's `command`, `args` and `env` fields: `$$` is a dollar, `$(NAME)` a variable, any other `$`
# stands for itself.
_POD_VARIABLE = re.compile(r"\$\$|\$\(([^)]*)\)")


def kubernetes_value(text: str, variables: Mapping[str, str]) -> str:
    """A word of a container's command, arguments or environment after expansion."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] not in variables:
            raise RenderError(f"rendered manifest refers to the unknown variable {match[1]!r} in {text!r}")
        return variables[match[1]]

    return _POD_VARIABLE.sub(value, text)


def yaml_documents(text: str, file: str) -> list[dict[str, Any]]:
    """The mappings of a YAML stream. Raises RenderError with line and column when it is none."""
    try:
        documents = parse_foreign_yaml(text, file)
    except CatalogError as error:
        raise RenderError(f"not YAML: {error.message}", hint="a template lays it out wrongly") from error
    for document in documents:
        if not isinstance(document, dict):
            raise RenderError(f"{file} is not a mapping", hint="a template lays it out wrongly")
    return documents
