"""Print a command of the README: `python tools/readme.py main` (or `test`)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def command(name: str) -> str:
    """The fenced block behind `<!-- command: NAME -->`."""
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.*?)\n```", README.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise SystemExit(f"README.md has no command named {name}")
    return found[1]


if __name__ == "__main__":
    print(command(sys.argv[1]))
