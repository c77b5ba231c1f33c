"""What Prometheus reads: one job for the router, one for each service whose server has metrics."""

from __future__ import annotations

import msgspec

from planner.rendering.addresses import networked, router_address, server_address
from planner.rendering.deployment import Deployment, Unit
from planner.rendering.launchd import ROOT
from planner.rendering.observability.metrics import source

# Where a Prometheus that runs beside the bundle finds the key: mounted, or the host's own file.
_MOUNTED_KEY = "/run/secrets/api_key"
_HOST_KEYS = {
    "launch": "../../secrets/api_key",
    "launchd": f"{ROOT}/secrets/api_key",
    "systemd": "/etc/planner/api-key",
    "quadlet": "/etc/planner/api-key",
}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One address, and what is said about it beside its metrics."""

    address: str
    labels: tuple[tuple[str, str], ...]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One scrape job; `key_file`: where Prometheus finds the key that /metrics asks for."""

    name: str
    key_file: str | None
    targets: tuple[Target, ...]


def key_path(deployment: Deployment, target: str) -> str:
    """Where Prometheus finds the API key."""
    return _MOUNTED_KEY if networked(deployment, target) else _HOST_KEYS[target]


def scrape_jobs(deployment: Deployment, target: str) -> tuple[Job, ...]:
    """The jobs of a deployment."""
    key, jobs = key_path(deployment, target), []
    if deployment.router is not None:
        here = Target(address=_reached(router_address(deployment, target), target), labels=())
        jobs.append(Job(name="planner-router", key_file=key, targets=(here,)))
    for unit in deployment.units:
        own = source(unit)
        if own is not None:
            targets = _targets(deployment, target, unit)
            jobs.append(Job(name=f"planner-{unit.name}", key_file=key if own.needs_key else None, targets=targets))
    return tuple(jobs)


def _targets(deployment: Deployment, target: str, unit: Unit) -> tuple[Target, ...]:
    service = unit.service
    about = (("model", service.model), ("role", service.role), ("server", service.server))
    return tuple(
        Target(
            address=_reached(server_address(deployment, target, unit, instance), target),
            labels=(("backend", instance.name), *about),
        )
        for instance in deployment.instances(unit)
    )


def _reached(address: str, target: str) -> str:
    """An address as it is called from outside of its namespace: a cluster's Prometheus has its own."""
    if target != "kubernetes":
        return address
    host, _, port = address.partition(":")
    return f"{host}.planner.svc:{port}"
