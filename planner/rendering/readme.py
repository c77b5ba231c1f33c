"""README.md of a bundle: how a person brings it up, checks it, uses it, and takes it down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from planner.hardware.summary import machine_line
from planner.rendering import compose, compose_observability, kubernetes_readme, launchd, systemd, wired_limit
from planner.rendering.deployment import Deployment, Unit, reachable
from planner.rendering.downloads import Download, downloads, local_files
from planner.rendering.header import render_command
from planner.rendering.kubernetes_pod import KEY_SECRET, object_name
from planner.rendering.observability.metrics import silent_servers
from planner.rendering.observability.rules import alert_rules
from planner.rendering.quoting import shell_word
from planner.rendering.router import class_caps, served_name
from planner.rendering.templates import TemplateSet
from planner.speed.records import Range
from planner.units import format_gib, format_rate, format_tokens

# How a person reads the key, where it does not lie beside the bundle.
_KEY_COMMANDS = {
    "systemd": "sudo cat /etc/planner/api-key",
    "quadlet": "sudo cat /etc/planner/api-key",
    "launchd": f"cat {launchd.ROOT}/secrets/api_key",
    "kubernetes": f"kubectl -n planner get secret {KEY_SECRET} -o jsonpath='{{.data.api_key}}' | base64 -d",
}
# Targets that start images.
_CONTAINERS = ("compose", "quadlet", "kubernetes")
_VARIABLE = '"${PLANNER_MODELS_DIR:-$HOME/.local/share/planner/models}"'


def models_folder(deployment: Deployment, target: str) -> str:
    """The models folder as a shell word on that target."""
    if deployment.options.models_dir is not None:
        return shell_word(deployment.options.models_dir)
    if target == "compose":
        return '"${PLANNER_MODELS_DIR:-./models}"'
    if target in {"systemd", "quadlet"}:
        return systemd.MODELS_PATH
    return f"{launchd.ROOT}/models" if target == "launchd" else _VARIABLE


def _rate(value: Range | None) -> str:
    if value is None:
        return "unknown"
    return f"{format_rate(value.expected)} ({format_rate(value.low)} to {format_rate(value.high)})"


def _seconds(value: Range | None) -> str:
    if value is None:
        return "unknown"
    return " ".join((f"{value.expected:.2g} s", f"({value.low:.2g} to {value.high:.2g} s)"))


def _service(unit: Unit) -> dict[str, object]:
    service, speed = unit.service, unit.service.speed
    return {
        "name": unit.name,
        "role": service.role,
        "model": service.model_name,
        "quant": service.quant,
        "server": service.server,
        "placement": service.placement.text or service.placement.kind,
        "context": format_tokens(service.context),
        "parallel": service.parallel,
        "memory": format_gib(service.footprint.total_bytes),
        "limit": format_gib(unit.launch.memory_bytes),
        "decode": _rate(speed.decode_tokens_per_s),
        "prefill": _rate(speed.prefill_tokens_per_s),
        "ttft": _seconds(speed.ttft_s),
        "aggregate": _rate(speed.aggregate_tokens_per_s),
        "start_seconds": unit.launch.start_seconds,
        "instances": unit.launch.instances,
    }


def _download(download: Download, models: str) -> dict[str, str | None]:
    folder = models + (f"/{shell_word(download.folder)}" if download.folder else "")
    words = " ".join(map(shell_word, ("hf", "download", *download.words)))
    size = None if download.bytes is None else format_gib(download.bytes)
    return {"command": f"{words} --local-dir {folder}", "size": size, "repo": download.repo}


def _endpoints(deployment: Deployment) -> list[dict[str, object]]:
    """Where a client connects: the router, or each process."""
    host = reachable(deployment.options.bind)
    if deployment.router is not None:
        roles = sorted({e.role for e in deployment.router.endpoints})
        url = f"http://{host}:{deployment.router.port}"
        return [{"name": "router", "url": url, "health": "/health", "model": "default", "roles": roles, "key": True}]
    return [
        {
            "name": instance.name,
            "url": f"http://{host}:{instance.port}",
            "health": unit.launch.health.path,
            "model": served_name(unit),
            "roles": [unit.service.role],
            "key": unit.launch.has_key,
        }
        for unit, instance in deployment.processes()
    ]


def _numa(deployment: Deployment) -> list[dict[str, object]]:
    return [
        {"service": instance.name, "how": unit.launch.numa, "nodes": ",".join(map(str, instance.nodes)) or "all"}
        for unit, instance in deployment.processes()
        if unit.launch.numa != "none"
    ]


def _starts(deployment: Deployment, target: str) -> list[str]:
    """What is started: unit names, agent labels or scripts."""
    pairs = list(deployment.processes())
    router = deployment.router is not None
    if target == "systemd":
        return [systemd.instance_unit(u, i) for u, i in pairs] + (["planner-router.service"] if router else [])
    if target == "quadlet":
        return [f"planner-{i.name}.service" for _, i in pairs] + (["planner-router.service"] if router else [])
    if target == "kubernetes":
        return [object_name(i.name) for _, i in pairs] + ([object_name("router")] if router else [])
    if target == "launchd":
        return [launchd.label(u.name) for u in deployment.units] + ([launchd.label("router")] if router else [])
    scripts = [f"{u.name}.sh" + (f" {i.node}" if i.node is not None else "") for u, i in pairs]
    return scripts + (["router.sh"] if router else [])


def _unpinned(deployment: Deployment, target: str, files: Mapping[str, str]) -> list[str]:
    """Images without a digest: those that are run, and those that others are built from."""
    images = {unit.launch.image for unit in deployment.units if unit.launch.image is not None}
    watching = compose_observability.watching(deployment) if target == "compose" else None
    if watching is not None:
        images |= {watching.prometheus_image, watching.grafana_image}
    for path, text in files.items():
        if path.endswith("Dockerfile"):
            images |= {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")}
    return sorted(image for image in images if "@" not in image)


def _package(unit: Unit) -> str:
    """What pip installs: the very version whose flags are rendered."""
    return unit.service.server + (f"=={unit.version}" if unit.version else "")


def _versions(deployment: Deployment) -> list[str]:
    """Which servers the files were written for: outside a container somebody installs them by hand."""
    known = {u.service.server: u.version for u in deployment.units if u.version}
    return [f"flags and variables are those of {server} {version}" for server, version in known.items()]


def _needs_key(deployment: Deployment) -> bool:
    return deployment.router is not None or any(u.launch.has_key for u in deployment.units)


def readme_text(
    deployment: Deployment, target: str, templates: TemplateSet, header: tuple[str, ...], files: Mapping[str, str]
) -> str:
    """The README of one target's bundle, next to `files`."""
    models = models_folder(deployment, target)
    pulled = [_download(d, models) for d in downloads(deployment)]
    notes = [f"{u.name}: {note}" for u in deployment.units for note in u.launch.notes]
    sources = {u.name: u.launch.download.note for u in deployment.units}
    notes += [f"{name}: {note}" for name, note in sources.items() if note]
    if target not in _CONTAINERS:
        notes += _versions(deployment)
    if target == "compose":
        notes += compose.not_interleaved(deployment)
    if target == "kubernetes":
        notes += kubernetes_readme.limits(deployment)
    values = {
        "header": header,
        "target": target,
        "machine": machine_line(deployment.plan.hardware),
        "models": models,
        "models_dir": deployment.options.models_dir,
        "key_command": _KEY_COMMANDS.get(target, "cat secrets/api_key"),
        "forwards": kubernetes_readme.forwards(deployment),
        "images": [
            f"planner-{name}:{templates.digest}" for name in ("pull", "router") if f"{name}/Dockerfile" in files
        ],
        "jobs": sorted(PurePosixPath(path).stem for path in files if path.startswith("jobs/")),
        "services": [_service(unit) for unit in deployment.units],
        "downloads": pulled,
        "local_files": local_files(deployment),
        "prepared": [u.name for u in deployment.units if u.launch.prepare],
        "endpoints": _endpoints(deployment),
        "router": deployment.router is not None,
        "classes": class_caps(deployment),
        "batch": any(u.service.role == "batch" for u in deployment.units),
        "needs_key": _needs_key(deployment),
        "numa": _numa(deployment),
        "numactl": _numa(deployment) and deployment.options.numa_style == "numactl",
        "starts": _starts(deployment, target),
        "files": sorted(files),
        "wired_limit": wired_limit.PATH if wired_limit.PATH in files else None,
        "unpinned": _unpinned(deployment, target, files) if target in _CONTAINERS else (),
        "observability": deployment.options.observability,
        "silent": silent_servers(deployment),
        "alerts": alert_rules(deployment) if deployment.options.observability else (),
        "exports": deployment.options.exports,
        "gpus": sorted({u.launch.backend for u in deployment.units if u.launch.gpu_indexes}),
        "notes": notes,
        "warnings": deployment.plan.warnings,
        "render_command": render_command(target, deployment.options),
        "shared_memory": any(u.launch.shm_bytes for u in deployment.units),
        "python_servers": [_package(u) for u in deployment.units if u.service.server in systemd.PYTHON_SERVERS],
    }
    return templates.fill("readme/README.md.j2", values)
