"""Words of one target as text, and what that text must say when it is read back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from planner.errors import RenderError
from planner.rendering.placing import Setting, Word
from planner.rendering.quoting import shell_word, systemd_text

_PLAIN = re.compile(r"[\w@%+=:,./${}-]+", re.ASCII)

# A wrapper that hands a key from its file to a server that reads only a variable; $0 and $@ are the server's words.
_KEY_WRAPPER = '{assignments}exec "$0" "$@"'


def shell(word: Word) -> str:
    """A shell word: the raw part stands in double quotes, so that its variables count and nothing splits."""
    if not word.raw:
        return shell_word(word.text)
    return f'"{word.raw}"' + (shell_word(word.text) if word.text else "")


def unit_word(word: Word) -> str:
    """An ExecStart= argument; specifiers and `${VARIABLES}` of the raw part stay."""
    text = word.raw + systemd_text(word.text)
    # `${NAME}` and `%i` are not split by systemd either, so plain words stay readable.
    return text if _PLAIN.fullmatch(text) else f'"{text}"'


def shell_lines(words: Iterable[Word], indent: str = "  ") -> str:
    """A command over several lines: a flag and its value share one."""
    return _folded([shell(word) for word in words], indent)


def unit_lines(words: Iterable[Word], indent: str = "  ") -> str:
    """As `shell_lines`, for ExecStart=."""
    return _folded([unit_word(word) for word in words], indent)


def _folded(words: Sequence[str], indent: str) -> str:
    lines: list[str] = []
    for word in words:
        starts_flag = word.lstrip("'\"").startswith("-")
        after_flag = bool(lines) and lines[-1].lstrip("'\"").startswith("-") and " " not in lines[-1]
        if not lines or starts_flag or not after_flag:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return f" \\\n{indent}".join(lines)


def key_wrapper(names: Iterable[str], path: str) -> tuple[Word, ...]:
    """The words before a command that reads its key from a variable: `path` is the key file inside the process's
    world and stands in double quotes, so variables in it count."""
    assignments = "".join(f'{name}="$(cat "{path}")"; export {name}; ' for name in names)
    return (Word(text="/bin/sh"), Word(text="-c"), Word(text=_KEY_WRAPPER.format(assignments=assignments)))


def resolved(words: Iterable[Word], values: dict[str, str]) -> tuple[str, ...]:
    """The argv that words mean when the raw expressions have these values."""
    return tuple(_raw_value(word.raw, values) + word.text for word in words)


def _raw_value(raw: str, values: dict[str, str]) -> str:
    for expression, value in values.items():
        raw = raw.replace(expression, value)
    return raw


def must_equal(what: str, expected: object, found: object) -> None:
    """Raises RenderError when rendered text says something else than what fed it: a template or quoting fault."""
    if expected != found:
        raise RenderError(
            f"{what} does not read back as planned: expected {expected!r}, the file says {found!r}",
            hint="a template lays this out wrongly; render without --templates to compare",
        )


def settings_as_words(settings: Iterable[Setting]) -> tuple[Word, ...]:
    """`NAME=value` words."""
    return tuple(
        Word(f"{s.name}={s.value.raw}", s.value.text) if s.value.raw else Word(text=f"{s.name}={s.value.text}")
        for s in settings
    )
