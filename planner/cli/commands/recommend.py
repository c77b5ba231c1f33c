"""`planner recommend`."""

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.command import command
from planner.cli.options import MachineOptions, PlanningOptions
from planner.cli.output import print_json, print_view, say, write_file
from planner.cli.state import save_last_plan


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
    from planner.report.explanation import explanation_view, why_not_view
    from planner.report.recommendation import recommendation_view

    if why_not is not None:
        print_view(why_not_view(answer, catalog.model(why_not)))
        return
    print_view(recommendation_view(answer, top=top, plan_file=save))
    if explain:
        print_view(explanation_view(answer))
