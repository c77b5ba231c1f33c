"""`planner recommend`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.command import command
from planner.cli.options import MachineOptions, PlanningOptions
from planner.cli.output import print_json, print_view, say, write_file
from planner.cli.state import save_last_plan

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware


@command
def recommend(
    machine: MachineOptions,
    planning: PlanningOptions,
    top: Annotated[int, typer.Option(help="How many runners-up to show.", min=0)] = 3,
    explain: Annotated[bool, typer.Option("--explain", help="Facts, the row, the order and its numbers.")] = False,
    why_not: Annotated[str | None, typer.Option(help="Say why this model was not chosen.", metavar="MODEL")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the plan; `render --plan` takes it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Say what to run here, how fast it will be, and why: model, quant, server and placement."""
    from planner.api import load_catalog, recommend as decide
    from planner.planning.files import plan_json

    catalog = load_catalog()
    hardware = machine.resolve(catalog)
    if why_not is not None:
        answer_why_not(catalog, hardware, planning, why_not, as_json=json)
        return
    answer = decide(hardware, planning.workload or "chat", catalog=catalog, **planning.keywords())
    document = plan_json(answer.plan)
    save_last_plan(document)
    if save is not None:
        write_file(save, document)
        say(f"saved {save}")
    if json:
        import msgspec

        print_json({"answer": msgspec.to_builtins(answer)})
        return
    from planner.report.explanation import explanation_view
    from planner.report.recommendation import recommendation_view

    print_view(recommendation_view(answer, top=top, plan_file=save))
    if explain:
        print_view(explanation_view(answer))


def answer_why_not(
    catalog: "Catalog", hardware: "Hardware", planning: PlanningOptions, name: str, *, as_json: bool
) -> None:
    """Every way to run one model on this machine, and why each lost."""
    from planner.api import why_not
    from planner.report.explanation import why_not_view

    model = catalog.model(name)
    losses = why_not(hardware, model.id, planning.workload or "chat", catalog=catalog, **planning.keywords())
    if as_json:
        import msgspec

        print_json({"model": model.id, "rejected": msgspec.to_builtins(losses)})
    else:
        print_view(why_not_view(model, losses))
