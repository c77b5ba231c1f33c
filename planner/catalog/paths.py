"""Where the shipped data, the user's own catalog and the cache lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import CatalogError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


def data_folder(name: str) -> Traversable:
    """The shipped folder `catalog` or `templates`: inside the package (wheel), else beside it (checkout).

    Raises CatalogError when the installation holds neither."""
    for folder in (PACKAGE_FOLDER / "_data" / name, PACKAGE_FOLDER.parent / name):
        if folder.is_dir():
            return folder
    zipped = _zipped_folder(name)
    if zipped is not None:
        return zipped
    raise CatalogError(f"the shipped folder {name!r} is missing", hint="reinstall planner")


def _zipped_folder(name: str) -> Traversable | None:
    from importlib.resources import files

    folder = files("planner") / "_data" / name
    return folder if folder.is_dir() else None


def user_catalog_folder() -> Path | None:
    """The person's own catalog: `PLANNER_CATALOG`, else `$XDG_CONFIG_HOME/planner/catalog` where it exists.

    Raises CatalogError when `PLANNER_CATALOG` names no folder."""
    named = os.environ.get("PLANNER_CATALOG")
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise CatalogError(f"PLANNER_CATALOG names no folder: {named}", hint="create it or unset the variable")
        return folder
    base = _base_folder("XDG_CONFIG_HOME", ".config")
    if base is None:
        return None
    folder = base / "planner" / "catalog"
    return folder if folder.is_dir() else None


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/planner` (it need not exist); None when `PLANNER_CACHE=off` or there is no home folder."""
    if os.environ.get("PLANNER_CACHE", "").casefold() in {"off", "0", "no", "false"}:
        return None
    base = _base_folder("XDG_CACHE_HOME", ".cache")
    return None if base is None else base / "planner"


def _base_folder(variable: str, below_home: str) -> Path | None:
    """An XDG base folder; the XDG specification says to ignore relative values."""
    named = os.environ.get(variable)
    if named and Path(named).is_absolute():
        return Path(named)
    try:
        return Path.home() / below_home
    except RuntimeError:
        return None
