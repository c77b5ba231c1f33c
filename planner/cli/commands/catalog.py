"""`planner catalog list / show / add / check`."""

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.command import command
from planner.cli.output import print_json, print_view, say, write_file

app = typer.Typer(no_args_is_help=True, help="The catalog: models, quants, servers, devices, workloads, the matrix.")

SECTIONS = ("models", "quants", "servers", "devices", "workloads", "matrix")


@command
def list_(
    section: Annotated[str, typer.Argument(help=f"One of {', '.join(SECTIONS)}.")] = "models",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What the catalog holds."""
    from planner.api import load_catalog
    from planner.errors import UnknownName
    from planner.report.catalog import section_rows, section_view

    catalog = load_catalog()
    if section not in SECTIONS:
        raise UnknownName("catalog section", section, SECTIONS, hint=f"one of {', '.join(SECTIONS)}")
    rows = section_rows(catalog, section)
    if json:
        print_json({section: rows})
    else:
        print_view(section_view(section, rows))


@command
def show(
    name: Annotated[str, typer.Argument(help="Id, repo, tag or device name.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One entry, whole, with its sources."""
    import msgspec

    from planner.api import load_catalog
    from planner.report.catalog import entry_view, find_entry

    kind, entry = find_entry(load_catalog(), name)
    if json:
        print_json({kind: msgspec.to_builtins(entry)})
    else:
        print_view(entry_view(kind, entry))


@command
def add(
    source: Annotated[Path, typer.Argument(help="A GGUF file or a config.json.")],
    out: Annotated[Path | None, typer.Option(help="Write the draft here instead of printing it.")] = None,
) -> None:
    """Draft a catalog entry from a model's files, for you to review."""
    from planner.catalog.draft import draft_entry
    from planner.catalog.read_model import read_model

    text = draft_entry(read_model(source))
    if out is None:
        print(text, end="")
    else:
        write_file(out, text.encode())
        say(f"wrote {out}: review it, then put it into your catalog folder's models/")


@command
def check(
    matrix: Annotated[Path | None, typer.Option(help="Check this decision matrix in place of the catalog's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Expand every model and compare with what its publisher states; check the matrix."""
    import msgspec

    from planner.api import load_catalog
    from planner.planning.matrix import check_matrix
    from planner.report.catalog import check_view
    from planner.sizing.catalog_check import check_models

    catalog = load_catalog()
    catalog = catalog if matrix is None else catalog.with_matrix(matrix)
    rows = check_matrix(catalog) if matrix is None else check_matrix(catalog, str(matrix))
    of_models, of_matrix = check_models(catalog.models), rows
    findings = [*of_models, *of_matrix]
    failed = any(finding.severity == "error" for finding in of_models) or any(
        finding.severity == "error" for finding in of_matrix
    )
    if json:
        print_json({"models": len(catalog.models), "findings": msgspec.to_builtins(findings)})
    else:
        print_view(check_view(len(catalog.models), findings))
    return 1 if failed else 0


app.command("list")(list_)
app.command()(show)
app.command()(add)
app.command()(check)
