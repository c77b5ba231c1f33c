"""A plan as files: `render(plan, catalog, target)` gives a bundle, `planner.rendering.write` puts it on disk.

Pure: the same plan, catalog and templates give the same bytes, on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from planner.errors import UnknownChoice
from planner.planning.plan import Plan
from planner.rendering.bundle import TARGETS, Bundle, CannotServe, RenderOptions
from planner.rendering.compose import render_compose
from planner.rendering.deployment import Catalog, Deployment, Unit, deploy, plan_units
from planner.rendering.exports import EXPORTS, check_exports, export_files, usable
from planner.rendering.header import header_lines, manifest_name, manifest_text
from planner.rendering.kubernetes import render_kubernetes
from planner.rendering.launch import render_launch
from planner.rendering.launchd import render_launchd
from planner.rendering.observability import observability_files
from planner.rendering.quadlet import render_quadlet
from planner.rendering.readme import readme_text
from planner.rendering.systemd import render_systemd
from planner.rendering.templates import TemplateSet

__all__ = ["EXPORTS", "TARGETS", "Bundle", "RenderOptions", "lay_out", "render"]

_Layout = Callable[[Deployment, TemplateSet, tuple[str, ...]], Bundle]
_LAYOUTS: dict[str, _Layout] = {
    "launch": render_launch,
    "compose": render_compose,
    "systemd": render_systemd,
    "quadlet": render_quadlet,
    "launchd": render_launchd,
    "kubernetes": render_kubernetes,
}


def render(plan: Plan, catalog: Catalog, target: str, options: RenderOptions = RenderOptions()) -> Bundle:  # noqa: B008 - frozen
    """The files that start `plan` on `target` (one of `TARGETS`, or `all` of those that can).

    Raises RenderError when the target cannot serve the plan (naming those that can) or when a file would not say
    what was planned; UsageError for an unknown target.
    """
    _check_target(target)
    units = plan_units(plan, catalog, options.server_versions)
    return lay_out(plan, units, target, options, catalog.digests)


def lay_out(
    plan: Plan,
    units: tuple[Unit, ...],
    target: str,
    options: RenderOptions = RenderOptions(),  # noqa: B008 - frozen
    digests: Mapping[str, str] | None = None,
) -> Bundle:
    """As `render`, with the launches given, and the digests of images by their references with tags."""
    _check_target(target)
    check_exports(options.exports)
    deployment = deploy(plan, units, options, digests)
    if target == "all":
        return _every_target(deployment)
    return _one_target(deployment, target)


def _check_target(target: str) -> None:
    known = (*TARGETS, "all")
    if target not in known:
        raise UnknownChoice("target", target, known)


def _one_target(deployment: Deployment, target: str) -> Bundle:
    templates = TemplateSet(target, deployment.options.templates, {"pinned": deployment.pinned})
    header = header_lines(target, deployment.plan, templates.digest, deployment.options)
    bare = _LAYOUTS[target](deployment, templates, header)
    files = {**bare, **observability_files(deployment, target, templates, header)}
    files |= export_files(deployment, target, templates, header)
    files["README.md"] = readme_text(deployment, target, templates, header, files)
    files[manifest_name(target)] = manifest_text(target, deployment.plan, templates.digest, files, bare.scripts)
    return Bundle(target, bare.main, files, bare.scripts)


def _every_target(deployment: Deployment) -> Bundle:
    bundles: list[Bundle] = []
    faults: list[CannotServe] = []
    for target in TARGETS:
        try:
            able = replace(deployment.options, exports=usable(deployment.options.exports, target))
            bundles.append(_one_target(replace(deployment, options=able), target))
        except CannotServe as fault:
            faults.append(fault)
    if not bundles:
        raise faults[0]
    files = {f"{b.target}/{path}": text for b in bundles for path, text in b.items()}
    scripts = frozenset(f"{b.target}/{path}" for b in bundles for path in b.scripts)
    return Bundle("all", f"{bundles[0].target}/{bundles[0].main}", files, scripts)
