"""The Typer application: the commands and their one-line descriptions."""

import typer

from planner import __version__
from planner.cli.commands.bench import bench
from planner.cli.commands.catalog import app as catalog_app
from planner.cli.commands.estimate import estimate
from planner.cli.commands.probe import probe
from planner.cli.commands.recommend import recommend
from planner.cli.commands.render import render
from planner.cli.commands.size import size

app = typer.Typer(
    name="planner",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"planner {__version__}")
        raise typer.Exit


def _verbosity(level: int) -> None:
    if level:
        import logging

        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("planner").setLevel(logging.DEBUG if level > 1 else logging.INFO)


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),  # noqa: ARG001 - the callback acts
    verbose: int = typer.Option(0, "-v", "--verbose", count=True, help="Say more (-vv: everything)."),
) -> None:
    """Plan local LLM deployments: what to run on a machine, how fast it will be, and the files that start it."""
    _verbosity(verbose)


app.command()(probe)
app.command()(recommend)
app.command()(size)
app.command()(estimate)
app.command()(render)
app.command()(bench)
app.add_typer(catalog_app, name="catalog")


def run() -> int:
    """Run the application on `sys.argv`; typer exits by itself with the command's code."""
    app(prog_name="planner")
    return 0
