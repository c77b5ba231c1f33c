"""The last plan made on this machine, so that `render` can follow `recommend` without a file name."""

from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.command import state_folder
from planner.cli.output import say, write_file
from planner.errors import PlannerError

if TYPE_CHECKING:
    from planner.planning.plan import Plan


def last_plan_path() -> Path:
    """Where the last plan lies."""
    return state_folder() / "last-plan.json"


def save_last_plan(document: bytes) -> None:
    """Keep the plan for `render`; a state folder that cannot be written is only worth a line."""
    try:
        write_file(last_plan_path(), document)
    except PlannerError as error:
        say(f"note: {error.message}; `render` will not know this plan (use --save and --plan)")


def load_last_plan() -> "Plan | None":
    """The last plan, or None when there is none that this version can read."""
    from planner.planning.files import load_plan

    path = last_plan_path()
    if not path.is_file():
        return None
    try:
        return load_plan(path)
    except PlannerError as error:
        say(f"note: the last plan cannot be read ({error.message})")
        return None
