"""The tables of docs/claims.md: the commands of docs/claims.yaml are run, and what they print gives the numbers.

python tools/claims.py            write them anew
python tools/claims.py --check    exit 5 when they differ, write nothing
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

# The planner beside this file, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml
from typer.testing import CliRunner

from planner.cli.app import build
from tools.pages import between, keep

ROOT = Path(__file__).resolve().parents[1]
PAGE, DATA = ROOT / "docs" / "claims.md", ROOT / "docs" / "claims.yaml"
HEAD = """\
| said | | what is true | the number | the command that shows it |
|---|---|---|---|---|"""


class Unshown(SystemExit):
    """A command that ended otherwise, or whose output lacks the number."""


@cache
def output(command: str) -> tuple[int, str]:
    """Exit code and everything printed, its white space joined. State goes to a folder that is thrown away."""
    program, *arguments = shlex.split(command)
    if program != "planner":
        raise Unshown(f"{command}: not a command of planner")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as state:
        os.chdir(ROOT)
        try:
            environment = {"COLUMNS": "100", "NO_COLOR": "1", "XDG_STATE_HOME": state, "PLANNER_CATALOG": None}
            result = CliRunner(env=environment).invoke(build(), arguments)
        finally:
            os.chdir(here)
    return result.exit_code, " ".join(f"{result.stdout} {result.stderr}".split())


def number(show: dict[str, Any]) -> str:
    """The number of one command in its words. Raises Unshown."""
    code, text = output(show["command"])
    if code != show.get("exit", 0):
        raise Unshown(f"{show['command']}: exit code {code}: {text[-300:]}")
    found = re.search(show["find"], text)
    if found is None:
        raise Unshown(f"{show['command']}: nothing like {show['find']} in: {text[:600]}")
    return str(show["number"]).format(*found.groups())


def rows(claims: list[dict[str, Any]]) -> Iterator[str]:
    """One line for each claim."""
    for claim in claims:
        numbers = "; ".join(number(show) for show in claim["shows"])
        commands = "<br>".join(dict.fromkeys(f"`{show['command']}`" for show in claim["shows"]))
        truth = f"{claim['truth']} ({claim['source']})"
        yield f"| {claim['claim']} | {claim['verdict']} | {truth} | {numbers} | {commands} |"


def tables() -> str:
    """A table for each topic."""
    lines: list[str] = []
    for topic in yaml.safe_load(DATA.read_text(encoding="utf-8")):
        lines += ["", f"## {topic['topic']}", "", HEAD, *rows(topic["claims"])]
    return "\n".join([*lines, ""])


def page() -> str:
    """docs/claims.md with its tables made anew."""
    return between(PAGE.read_text(encoding="utf-8"), "claims", tables())


def main() -> int:
    text = page()
    return keep(PAGE, text, "tools/claims.py", check="--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
