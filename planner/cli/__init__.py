"""Options to calls to exit codes; the only floor that prints or exits."""

import sys

from planner import __version__


def main() -> int:
    """Run the command line. `--version` answers before anything heavy is imported."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"planner {__version__}\n")
        return 0
    from planner.cli.app import run

    return run()
