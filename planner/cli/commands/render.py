"""`planner render`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.command import command, exclusive
from planner.cli.options import MachineOptions, PlanningOptions
from planner.cli.output import print_json, say
from planner.errors import UsageError
from planner.units import parse_bytes

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.planning.plan import Plan
    from planner.rendering import Bundle

DIFFERENCES_EXIT_CODE = 5


@command
def render(
    target: Annotated[str, typer.Argument(help="compose, systemd, launch, quadlet, launchd, kubernetes or all.")],
    machine: MachineOptions,
    planning: PlanningOptions,
    plan: Annotated[Path | None, typer.Option(help="A plan saved by `recommend --save`.")] = None,
    role: Annotated[str | None, typer.Option(help="Only the service of this role.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the bundle into this folder.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 5 when the folder differs.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show what would change.")] = False,
    models_dir: Annotated[str | None, typer.Option(help="Fix the folder that holds the models.")] = None,
    templates: Annotated[Path | None, typer.Option(help="Your own templates, overriding file by file.")] = None,
    numa_style: Annotated[str, typer.Option(help="systemd: numactl or directives.")] = "numactl",
    require_digests: Annotated[
        bool, typer.Option("--require-digests", help="Refuse an image that only a tag names.")
    ] = False,
    observability: Annotated[
        bool, typer.Option("--observability", help="Also Prometheus' files, alert rules and a Grafana dashboard.")
    ] = False,
    export: Annotated[
        list[str] | None, typer.Option(help="Also a configuration of haproxy, litellm or llama-swap. Repeatable.")
    ] = None,
    server_version: Annotated[
        list[str] | None,
        typer.Option(help="Installed version, unlike the catalog's; repeatable.", metavar="[SERVER=]VERSION"),
    ] = None,
    wired_limit: Annotated[
        str | None, typer.Option(help="launchd: a daemon that lets the GPU hold so much, like 96GiB.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole bundle as JSON.")] = False,
) -> int:
    """Write the files that start the plan."""
    from planner.api import load_catalog, render as lay_out

    if (check or diff) and out is None:
        raise UsageError("--check and --diff compare with a folder", hint="name it with --out DIR")
    catalog = load_catalog()
    chosen = choose_plan(catalog, plan, machine, planning)
    if chosen.catalog_digest != catalog.digest:
        say("warning: this plan was made with another catalog; `planner recommend` makes a new one")
    options: dict[str, object] = {
        "models_dir": models_dir,
        "templates": templates,
        "numa_style": numa_style,
        "require_digests": require_digests,
        "observability": observability,
        "exports": tuple(dict.fromkeys(export or ())),
        "wired_limit_bytes": None if wired_limit is None else parse_bytes(wired_limit, "wired limit"),
        "server_versions": versions_of(catalog, chosen, server_version),
    }
    bundle = lay_out(chosen, target, catalog=catalog, role=role, **options)
    if check or diff:
        assert out is not None
        return compare(bundle, out, diff=diff)
    if out is not None:
        return write(bundle, out, as_json=json)
    return show(bundle, as_json=json)


def versions_of(catalog: "Catalog", plan: "Plan", texts: list[str] | None) -> dict[str, str]:
    """The versions asked for, by server; says of each that nobody has checked it."""
    from planner.servers.versions import at_version, parse_versions, unchecked

    versions = parse_versions(tuple(texts or ()), tuple(service.server for service in plan.services))
    for facts in map(catalog.server, versions):
        warning = unchecked(facts, at_version(facts, versions))
        if warning is not None:
            say(f"warning: {warning}")
    return versions


def choose_plan(catalog: "Catalog", path: Path | None, machine: MachineOptions, planning: PlanningOptions) -> "Plan":
    """The plan meant: the named file, the options, ./plan.json, the last one, or a new one for chat."""
    from planner.api import load_plan, recommend
    from planner.cli.state import load_last_plan, save_last_plan
    from planner.planning.files import plan_json

    exclusive(plan=path, hardware_or_what_if_or_planning_options=machine.given or planning.given)
    if path is not None:
        return told(load_plan(path))
    if not (machine.given or planning.given):
        if Path("plan.json").is_file():
            say("rendering ./plan.json")
            return told(load_plan("plan.json"))
        last = load_last_plan()
        if last is not None:
            first = last.services[0]
            say(
                f"rendering the last recommendation: {first.model} {first.quant} on {first.server},"
                f" workload {last.workload.id}"
            )
            return last
        say("no plan yet: planning for chat on this machine")
    answer = recommend(machine.resolve(catalog), planning.workload or "chat", catalog=catalog, **planning.keywords())
    save_last_plan(plan_json(answer.plan))
    return answer.plan


def told(plan: "Plan") -> "Plan":
    """A plan from a file, whose machine need not be this one: says which it is."""
    from planner.hardware.summary import machine_line

    say(f"the plan is for {machine_line(plan.hardware)}")
    return plan


def compare(bundle: "Bundle", folder: Path, *, diff: bool) -> int:
    """List (or show) what differs; 5 when anything does."""
    from planner.rendering.write import check_bundle, diff_bundle

    differences = check_bundle(bundle, folder)
    for difference in differences:
        print(difference)
    if diff and differences:
        print(diff_bundle(bundle, folder), end="")
    return DIFFERENCES_EXIT_CODE if differences else 0


def write(bundle: "Bundle", folder: Path, *, as_json: bool) -> int:
    """Write the bundle and count what changed."""
    from planner.rendering.write import write_bundle

    result = write_bundle(bundle, folder)
    readme = next(path for path in sorted(bundle) if path.endswith("README.md"))
    counts = {"changed": len(result.changed), "unchanged": len(result.unchanged), "removed": len(result.removed)}
    if as_json:
        print_json({"out": folder.name, **counts, "files": sorted(bundle)})
    say(", ".join(f"{count} {word}" for word, count in counts.items()) + f"; next: read {folder / readme}")
    return 0


def show(bundle: "Bundle", *, as_json: bool) -> int:
    """The main file raw on stdout, to be piped; the other names on stderr."""
    if as_json:
        files = {path: {"mode": f"{bundle.modes[path]:04o}", "text": bundle[path]} for path in sorted(bundle)}
        print_json({"target": bundle.target, "main": bundle.main, "files": files})
        return 0
    print(bundle[bundle.main], end="")
    others = [path for path in sorted(bundle) if path != bundle.main]
    if others:
        say(f"also in this bundle (write all with --out DIR): {', '.join(others)}")
    return 0
