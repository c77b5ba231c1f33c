"""Plan local language-model deployments: probe a machine, size models, predict speed, decide, render.

The functions of the public interface are loaded on first use, so that `import planner` costs
nothing beyond this file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
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
    )
    from planner.errors import NoFeasiblePlan as NoFeasiblePlan, PlannerError as PlannerError

_API = (
    "estimate",
    "load_catalog",
    "load_hardware",
    "load_plan",
    "probe",
    "read_model",
    "recommend",
    "render",
    "size",
    "what_if",
)
_ERRORS = ("NoFeasiblePlan", "PlannerError")

__all__ = ["__version__", *_API, *_ERRORS]


def __getattr__(name: str) -> Any:
    if name in _API:
        return getattr(import_module("planner.api"), name)
    if name in _ERRORS:
        return getattr(import_module("planner.errors"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
