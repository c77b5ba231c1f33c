"""The Typer application: the commands, each imported only when it is asked for."""

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module

import typer

from planner import __version__

# In the order of use; each stands in the module of its name. `catalog` is a group of commands.
COMMANDS = ("probe", "recommend", "size", "estimate", "render", "bench", "doctor", "catalog")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"planner {__version__}")
        raise typer.Exit


def _verbosity(level: int) -> None:
    if level:
        import logging

        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("planner").setLevel(logging.DEBUG if level > 1 else logging.INFO)


def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),  # noqa: ARG001 - the callback acts
    verbose: int = typer.Option(0, "-v", "--verbose", count=True, help="Say more (-vv: everything)."),
) -> None:
    """Plan local LLM deployments: what to run on a machine, how fast it will be, and the files that start it."""
    _verbosity(verbose)


def build(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The application with these commands."""
    app = typer.Typer(
        name="planner",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name in names:
        module = import_module(f"planner.cli.commands.{name}")
        if name == "catalog":
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def asked(arguments: Sequence[str]) -> tuple[str, ...]:
    """The command that the first word names; all of them for help and mistakes."""
    first = arguments[0] if arguments else ""
    return (first,) if first in COMMANDS else COMMANDS


def run() -> int:
    """Run the application on `sys.argv`; typer exits by itself with the command's code."""
    build(asked(sys.argv[1:]))(prog_name="planner")
    return 0
