"""Where the processes of a deployment listen, as something that runs beside them on one target sees it."""

from __future__ import annotations

from planner.rendering.deployment import Deployment, Instance, Unit

# Targets whose processes live in a network of their own, under names; elsewhere all share the host's.
NETWORKED = ("compose", "quadlet", "kubernetes")
_PREFIXES = {"compose": "", "quadlet": "planner-", "kubernetes": "planner-"}


def networked(deployment: Deployment, target: str) -> bool:
    """Whether processes meet in a network of the target. A Quadlet alone has none: its port is the host's."""
    return target in NETWORKED and (target != "quadlet" or deployment.router is not None)


def server_address(deployment: Deployment, target: str, unit: Unit, instance: Instance) -> str:
    """`HOST:PORT` of one process of a unit."""
    if networked(deployment, target):
        return f"{_PREFIXES[target]}{instance.name}:{unit.launch.port}"
    return f"127.0.0.1:{instance.port}"


def router_address(deployment: Deployment, target: str) -> str:
    """`HOST:PORT` of the router, which the deployment must have."""
    assert deployment.router is not None
    host = f"{_PREFIXES[target]}router" if networked(deployment, target) else "127.0.0.1"
    return f"{host}:{deployment.router.port}"
