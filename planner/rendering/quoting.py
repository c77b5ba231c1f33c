"""One quoting rule per format. Every value that reaches a file passes exactly one of them.

Each has its inverse in `planner.rendering.parsing`, and a property test that the pair loses nothing.
"""

from __future__ import annotations

import shlex

from planner.errors import RenderError

_C_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def checked(text: str) -> str:
    """The text itself. Raises RenderError for what no command line or file can hold: NUL, lone surrogates."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise RenderError(f"{text!r} holds a NUL or a half character and cannot stand in a file")
    return text


def _yaml_character(character: str) -> str:
    if character in _C_ESCAPES:
        return _C_ESCAPES[character]
    code = ord(character)
    # YAML 1.2 section 5.1: printable characters; 2028 and 2029 break lines in YAML 1.1, FEFF is a byte order mark.
    printable = 0x20 <= code <= 0x7E or 0xA0 <= code <= 0xFFFD or code >= 0x10000
    if printable and code not in (0x2028, 0x2029, 0xFEFF):
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def yaml_scalar(text: str) -> str:
    """A double-quoted YAML string: no reader of YAML 1.1 or 1.2 sees a number, a boolean or a comment in it."""
    return '"' + "".join(map(_yaml_character, checked(text))) + '"'


def compose_scalar(text: str) -> str:
    """A YAML string in which Compose's interpolation finds nothing: `$` is `$$`."""
    return yaml_scalar(text.replace("$", "$$"))


def kubernetes_scalar(text: str) -> str:
    """A YAML string in which Kubernetes finds no `$(NAME)` to expand: `$` is `$$`, as in Compose."""
    return compose_scalar(text)


def yaml_text(text: str, indent: int) -> str:
    """A file inside a YAML document: a block of lines where it can be one, else a quoted string. `indent`: blanks in
    front of each line."""
    lines = text.split("\n")
    plain = all(c == "\n" or _yaml_character(c) in (c, "\\" + c) for c in checked(text))
    # A block keeps exactly one newline at its end, and takes its indentation from the first line.
    ends_once = len(lines) > 1 and lines[-1] == "" and lines[-2] != ""
    if not (plain and ends_once and not text.startswith((" ", "\n")) and all(x == x.rstrip() for x in lines)):
        return yaml_scalar(text)
    return "|\n" + "\n".join(" " * indent + line if line else "" for line in lines[:-1])


def shell_word(text: str) -> str:
    """One word of a POSIX shell."""
    return shlex.quote(checked(text))


def _c_quoted(text: str) -> str:
    return "".join(
        _C_ESCAPES.get(c, c if ord(c) >= 0x20 and ord(c) != 0x7F else f"\\x{ord(c):02x}") for c in checked(text)
    )


def systemd_text(text: str) -> str:
    """The inside of a quoted ExecStart= argument: C escapes, `%` as `%%`, `$` as `$$`."""
    return _c_quoted(text).replace("%", "%%").replace("$", "$$")


def systemd_word(text: str) -> str:
    """One quoted argument of ExecStart=."""
    return f'"{systemd_text(text)}"'


def systemd_assignment(text: str) -> str:
    """One quoted value of a setting that knows specifiers but no variables (Environment=, Description=)."""
    return '"' + _c_quoted(text).replace("%", "%%") + '"'


def xml_text(text: str) -> str:
    """Character data of XML 1.0. Raises RenderError for control characters, which XML cannot hold."""
    if any(ord(c) < 0x20 and c not in "\n\t\r" for c in checked(text)) or "\ufffe" in text or "\uffff" in text:
        raise RenderError(f"{text!r} holds a control character, which a property list cannot hold")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("\r", "&#13;")


def haproxy_word(text: str) -> str:
    """One word of HAProxy's configuration: in single quotes everything stands for itself, as in a shell. Raises
    RenderError for a line break, which its quotes cannot hold."""
    if any(c in text for c in "\n\r"):
        raise RenderError(f"{text!r} holds a line break, which HAProxy's configuration cannot hold")
    return shell_word(text)


def one_line(text: str) -> str:
    """Text for a comment or a table cell: control characters become spaces, so that it cannot leave its line."""
    return "".join(c if c.isprintable() else " " for c in text).strip().rstrip("\\")


def table_cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return one_line(text).replace("|", "\\|")


def xml_comment(text: str) -> str:
    """Text inside `<!-- -->`, which may not hold two hyphens in a row; a zero-width space parts them."""
    return one_line(text).replace("--", "-\u200b-")
