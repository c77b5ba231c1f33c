"""`planner recommend`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.command import command, exclusive
from planner.cli.options import COST, CostOptions, MachineOptions, PlanningOptions
from planner.cli.output import print_json, print_view, say, write_file
from planner.cli.state import save_last_plan

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware


@command
def recommend(
    machine: MachineOptions,
    planning: PlanningOptions,
    costs: CostOptions,
    top: Annotated[int, typer.Option(help="How many runners-up to show.", min=0)] = 3,
    explain: Annotated[bool, typer.Option("--explain", help="Facts, the row, the order and its numbers.")] = False,
    why_not: Annotated[str | None, typer.Option(help="Say why this model was not chosen.", metavar="MODEL")] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="What nothing beats in quality, speed and context.", rich_help_panel=COST)
    ] = False,
    dominated: Annotated[
        bool, typer.Option("--dominated", help="With --pareto: dominated options too.", rich_help_panel=COST)
    ] = False,
    budget_vram: Annotated[
        str | None,
        typer.Option(help="Which cards, of so much VRAM together, would make it fit: 48GiB.", rich_help_panel=COST),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the plan; `render --plan` takes it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Say what to run here, how fast it will be, and why: model, quant, server and placement."""
    from planner.api import load_catalog, recommend as decide
    from planner.planning.files import plan_json
    from planner.views import cost as cost_of

    _check(why_not, save, costs, pareto=pareto, dominated=dominated, budget_vram=budget_vram)
    catalog = load_catalog()
    hardware = machine.resolve(catalog)
    if why_not is not None:
        answer_why_not(catalog, hardware, planning, why_not, as_json=json)
        return
    if pareto:
        answer_pareto(catalog, hardware, planning, dominated=dominated, as_json=json)
        return
    if budget_vram is not None:
        answer_cards(catalog, hardware, planning, budget_vram, as_json=json)
        return
    answer = decide(hardware, planning.workload or "chat", catalog=catalog, **planning.keywords())
    cost = cost_of(answer.plan, **costs.keywords())
    document = plan_json(answer.plan)
    save_last_plan(document)
    if save is not None:
        write_file(save, document)
        say(f"saved {save}")
    if json:
        import msgspec

        print_json({"answer": msgspec.to_builtins(answer), "cost": msgspec.to_builtins(cost)})
        return
    from planner.report.explanation import explanation_view
    from planner.report.recommendation import recommendation_view

    print_view(recommendation_view(answer, top=top, plan_file=save, cost=cost))
    if explain:
        print_view(explanation_view(answer, cost))


def _check(
    why_not: str | None,
    save: Path | None,
    costs: CostOptions,
    *,
    pareto: bool,
    dominated: bool,
    budget_vram: str | None,
) -> None:
    """Views that say something else than the plan go alone. Raises UsageError."""
    from planner.errors import UsageError

    exclusive(pareto=pareto, why_not=why_not, budget_vram=budget_vram, save=save and (pareto or why_not or budget_vram))
    if pareto or why_not or budget_vram:
        for option, value in costs.keywords().items():
            if value is not None:
                named = f"--{option.replace('_', '-')}"
                raise UsageError(f"{named} prices the plan, which this view does not print", hint=f"leave {named} out")
    if dominated and not pareto:
        raise UsageError("--dominated belongs to --pareto", hint="add --pareto")


def answer_pareto(
    catalog: "Catalog", hardware: "Hardware", planning: PlanningOptions, *, dominated: bool, as_json: bool
) -> None:
    """Options that nothing beats in quality, speed and context at once."""
    from planner.report.pareto import pareto_view
    from planner.views import pareto

    workload = planning.workload or "chat"
    front = pareto(hardware, workload, everything=dominated, catalog=catalog, **planning.keywords())
    if as_json:
        import msgspec

        print_json({"pareto": msgspec.to_builtins(front)})
    else:
        print_view(pareto_view(front, catalog.workload(workload).title))


def answer_cards(
    catalog: "Catalog", hardware: "Hardware", planning: PlanningOptions, budget_vram: str, *, as_json: bool
) -> None:
    """Which graphics cards would make the wish fit."""
    from planner.report.cards import cards_view
    from planner.units import parse_bytes
    from planner.views import cards

    workload, budget_bytes = planning.workload or "chat", parse_bytes(budget_vram, "VRAM budget")
    say("planning with every card of the table that the budget allows: this takes some seconds")
    found = cards(hardware, budget_bytes, workload, catalog=catalog, **planning.keywords())
    if as_json:
        import msgspec

        print_json({"cards": msgspec.to_builtins(found)})
    else:
        print_view(cards_view(found, catalog.workload(workload).title))


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
