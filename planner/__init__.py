"""Plan local language-model deployments: probe a machine, size models, predict speed, decide, render.

The functions of the public interface are loaded on first use, so that `import planner` costs
nothing beyond this file (`typing` alone would be a third of the start-up budget).
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from planner.api import (
        estimate as estimate,
        load_catalog as load_catalog,
        load_hardware as load_hardware,
        load_plan as load_plan,
        probe as probe,
        read_model as read_model,
        recommend as recommend,
        render as render,
        size as size,
        what_if as what_if,
        why_not as why_not,
    )
    from planner.errors import NoFeasiblePlan as NoFeasiblePlan, PlannerError as PlannerError
    from planner.views import cards as cards, cost as cost, pareto as pareto

_HOMES = {
    "NoFeasiblePlan": "planner.errors",
    "PlannerError": "planner.errors",
    "cards": "planner.views",
    "cost": "planner.views",
    "estimate": "planner.api",
    "load_catalog": "planner.api",
    "load_hardware": "planner.api",
    "load_plan": "planner.api",
    "pareto": "planner.views",
    "probe": "planner.api",
    "read_model": "planner.api",
    "recommend": "planner.api",
    "render": "planner.api",
    "size": "planner.api",
    "what_if": "planner.api",
    "why_not": "planner.api",
}


def __getattr__(name: str) -> "Any":
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
