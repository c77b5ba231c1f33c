"""Where results go: stdout, as JSON or as a view; files are written whole or not at all."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner import __version__
from planner.errors import PlannerError

if TYPE_CHECKING:
    from rich.console import RenderableType

MAX_WIDTH = 100


def print_json(document: dict[str, Any]) -> None:
    """A report as JSON on stdout: format and planner version first."""
    import msgspec

    head = {"format_version": "1.0", "planner_version": __version__}
    text = msgspec.json.format(msgspec.json.encode(head | document), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_view(*parts: "RenderableType") -> None:
    """A view on stdout, at most 100 columns wide, 80 when nobody says how wide the terminal is."""
    from rich.console import Console

    console = Console(highlight=False)
    width = min(console.width, MAX_WIDTH) if console.is_terminal or "COLUMNS" in os.environ else 80
    console = Console(highlight=False, width=width, soft_wrap=False)
    for part in parts:
        console.print(part)


def say(text: str) -> None:
    """One line for the person, on stderr."""
    print(text, file=sys.stderr)


def write_file(path: Path, data: bytes) -> None:
    """Write through a temporary file and rename; into a pipe or a device directly. Raises PlannerError naming the
    place."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        target = path.resolve()  # behind a link lies the file that is meant
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, data)
    except OSError as error:
        raise PlannerError(
            f"cannot write {path}: {error.strerror}", hint="name a place that is writable and has room"
        ) from error


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
