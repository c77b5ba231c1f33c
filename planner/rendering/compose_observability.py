"""Prometheus and Grafana as containers of the Compose bundle, under a profile: they cost nothing until asked for."""

from __future__ import annotations

import msgspec

from planner.errors import RenderError
from planner.rendering.compose_devices import Publish, publish
from planner.rendering.deployment import Deployment
from planner.rendering.observability.scrape import scrape_jobs

# Releases that public compose files pin (looked up in November 2026). catalog/images.yaml may add their digests.
PROMETHEUS_IMAGE = "docker.io/prom/prometheus:v3.5.1"
GRAFANA_IMAGE = "docker.io/grafana/grafana:12.4.3"
# Prometheus' usual port, and for Grafana the one after the router's, whose own it shares.
PROMETHEUS_PORT, GRAFANA_PORT = 9090, 3001
# Wherever the router is bound: Prometheus asks nobody for a key.
_ADDRESS = "127.0.0.1"


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """What the template needs to know; images with their digests, where known."""

    prometheus_image: str
    grafana_image: str
    prometheus: Publish
    grafana: Publish
    networks: tuple[str, ...]
    reads_key: bool
    password: str = "grafana_password"  # noqa: S105 - the name of a file
    volumes: tuple[str, ...] = ("planner-grafana", "planner-prometheus")


def watching(deployment: Deployment) -> Watching | None:
    """The two containers; None unless asked for. Raises RenderError when digests are required and unknown, or a server
    has their ports."""
    if not deployment.options.observability:
        return None
    return Watching(
        prometheus_image=deployment.pinned(PROMETHEUS_IMAGE),
        grafana_image=deployment.pinned(GRAFANA_IMAGE),
        prometheus=publish(_ADDRESS, PROMETHEUS_PORT, "prometheus"),
        grafana=publish(_ADDRESS, GRAFANA_PORT, "grafana"),
        networks=("backend", "edge") if deployment.router is not None else ("edge",),
        reads_key=any(job.key_file for job in scrape_jobs(deployment, "compose")),
    )


def ports(deployment: Deployment) -> tuple[tuple[str, int], ...]:
    """Their published ports, by name. Raises RenderError when something else publishes one of them."""
    if not deployment.options.observability:
        return ()
    found = (("grafana", GRAFANA_PORT), ("prometheus", PROMETHEUS_PORT))
    router = deployment.router
    own = {router.port} if router is not None else {instance.port for _, instance in deployment.processes()}
    for name, port in found:
        if port in own:
            raise RenderError(f"{name} and a planned service both want port {port}")
    return found
