"""Options to calls to exit codes; the only floor that prints or exits."""

import sys

from planner import __version__

# Objects that may gather before cycles are searched: more than any short command makes, so that only long ones pay.
OBJECTS_BEFORE_COLLECTION = 200_000


def main() -> int:
    """Run the command line. `--version` answers before anything heavy is imported."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"planner {__version__}\n")
        return 0
    import gc

    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    try:
        from planner.cli.app import run

        return run()
    finally:
        gc.freeze()  # the interpreter searches all that is left once more while it ends, for nothing
