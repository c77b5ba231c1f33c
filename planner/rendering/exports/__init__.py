"""Configurations of other routers, for those who want one of them in front of the same servers instead of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from planner.errors import UnknownChoice
from planner.rendering.bundle import CannotServe
from planner.rendering.deployment import Deployment
from planner.rendering.exports.haproxy import haproxy_config
from planner.rendering.exports.litellm import litellm_config
from planner.rendering.exports.llama_swap import llama_swap_config
from planner.rendering.templates import TemplateSet

FOLDER = "exports"


class Export(NamedTuple):
    """A router that a configuration can be written for. `targets`: those whose servers it can use; () all."""

    file: str
    config: Callable[[Deployment, str, TemplateSet, tuple[str, ...]], str]
    targets: tuple[str, ...] = ()


EXPORTS = {
    "haproxy": Export("haproxy.cfg", haproxy_config),
    "litellm": Export("litellm.yaml", litellm_config),
    # It starts the servers itself: only scripts are for others to start.
    "llama-swap": Export("llama-swap.yaml", llama_swap_config, ("launch",)),
}


def check_exports(names: tuple[str, ...]) -> None:
    """Raises UsageError for a name that is no export."""
    for name in names:
        if name not in EXPORTS:
            raise UnknownChoice("export", name, EXPORTS)


def usable(names: tuple[str, ...], target: str) -> tuple[str, ...]:
    """Those of some exports that can use the servers of a target."""
    return tuple(name for name in names if target in (EXPORTS[name].targets or (target,)))


def export_files(
    deployment: Deployment, target: str, templates: TemplateSet, header: tuple[str, ...]
) -> dict[str, str]:
    """The files that were asked for. Raises CannotServe when a router cannot use the servers of this target."""
    names = deployment.options.exports
    for name in set(names) - set(usable(names, target)):
        able = " or ".join(EXPORTS[name].targets)
        raise CannotServe(f"{name} cannot use the servers of {target}", hint=f"render {able} for it")
    chosen = [EXPORTS[name] for name in names]
    return {f"{FOLDER}/{e.file}": e.config(deployment, target, templates, header) for e in chosen}
