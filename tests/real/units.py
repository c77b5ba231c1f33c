"""The words of a unit's ExecStart, read the way systemd.syntax(7) and systemd.service(5) describe."""

from __future__ import annotations

from pathlib import Path

ESCAPES = {"n": "\n", "t": "\t", "s": " ", "\\": "\\", '"': '"', "'": "'"}


def split_words(line: str) -> list[str]:
    """Words with double or single quotes and C-style escapes."""
    words: list[str] = []
    current: list[str] | None = None
    quote = ""
    letters = iter(line)
    for letter in letters:
        if letter == "\\":
            current = current or []
            current.append(ESCAPES[next(letters)])
        elif quote:
            if letter == quote:
                quote = ""
            else:
                assert current is not None
                current.append(letter)
        elif letter in "\"'":
            quote = letter
            current = current or []
        elif letter.isspace():
            if current is not None:
                words.append("".join(current))
            current = None
        else:
            current = current or []
            current.append(letter)
    return [*words, "".join(current)] if current is not None else words


def exec_start(unit: str, *, credentials_folder: Path, instance: str) -> list[str]:
    """The argv that systemd would run: continuation lines joined, specifiers and `$$` resolved."""
    joined = unit.replace("\\\n", " ")
    line = next(line for line in joined.splitlines() if line.startswith("ExecStart="))
    words = split_words(line.removeprefix("ExecStart="))
    specifiers = {"%%": "%", "%d": str(credentials_folder), "%i": instance}
    return [expand(word, specifiers).replace("$$", "$") for word in words]


def expand(word: str, specifiers: dict[str, str]) -> str:
    """Replace each specifier once, left to right."""
    made, index = [], 0
    while index < len(word):
        pair = word[index : index + 2]
        made.append(specifiers.get(pair, word[index]))
        index += 2 if pair in specifiers else 1
    return "".join(made)
