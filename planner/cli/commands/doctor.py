"""`planner doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.command import command
from planner.cli.options import MachineOptions
from planner.cli.output import print_json, print_view

FOUND_EXIT_CODE = 5


@command
def doctor(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; none: this machine.", metavar="[PATH]...")
    ] = None,
    hardware: Annotated[
        Path | None, typer.Option(help="The machine they are for, saved by `planner probe --save`.")
    ] = None,
    users: Annotated[int | None, typer.Option(help="How many will send requests at once.", min=1)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 5 for any finding, not only errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Say what will go wrong in compose files, units, scripts and Modelfiles, or on this machine."""
    from planner.api import doctor as diagnose, load_catalog

    catalog = load_catalog()
    machine = MachineOptions(hardware=hardware).resolve(catalog) if hardware or not paths else None
    findings = diagnose(paths or (), hardware=machine, catalog=catalog, users=users)
    if json:
        import msgspec

        print_json({"findings": msgspec.to_builtins(findings)})
    else:
        from planner.report.doctor import doctor_view

        print_view(doctor_view(findings))
    bad = findings if strict else [finding for finding in findings if finding.severity == "error"]
    return FOUND_EXIT_CODE if bad else 0
