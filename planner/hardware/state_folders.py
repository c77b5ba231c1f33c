"""Where measurements are kept: a cache that may be deleted, and calibrations that a person asked to keep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """`$XDG_CACHE_HOME/planner`; None with PLANNER_CACHE=off."""
    env = os.environ if environment is None else environment
    if env.get("PLANNER_CACHE", "").casefold() in {"off", "0", "no", "false"}:
        return None
    return _base(env, "XDG_CACHE_HOME", ".cache")


def state_folder(environment: Mapping[str, str] | None = None) -> Path:
    """`$XDG_STATE_HOME/planner`."""
    return _base(os.environ if environment is None else environment, "XDG_STATE_HOME", ".local/state")


def _base(env: Mapping[str, str], variable: str, default: str) -> Path:
    stated = env.get(variable, "")
    base = Path(stated) if stated and Path(stated).is_absolute() else Path.home() / default  # XDG: relative is ignored
    return base / "planner"
