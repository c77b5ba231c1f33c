"""The router's files: the application as it ships, and its configuration for one target."""

from __future__ import annotations

import json

from planner.planning.plan import RouterEndpoint
from planner.rendering.addresses import server_address
from planner.rendering.deployment import Deployment, Instance, Unit
from planner.rendering.templates import TemplateSet

# What a request may hold: long documents and a few inline pictures.
MAX_BODY_BYTES = 64 * 1024 * 1024
CONNECT_S = 5
# How long a backend may be silent: the whole prefill of a long prompt on a CPU lies in there.
READ_S = 1800
QUEUE_S = 120
# Requests that may wait per slot before the next is refused with 429.
QUEUE_PER_SLOT = 8
_CLASSES = ("interactive", "batch")


def served_name(unit: Unit) -> str:
    """The model name that a backend wants to hear."""
    return unit.launch.served_name or unit.service.model


def aliases(unit: Unit, endpoint: RouterEndpoint | None) -> dict[str, str]:
    """Names that clients may use for a unit -> the backend's own; `default` lets role and priority decide."""
    own = served_name(unit)
    names = (*(endpoint.models if endpoint else ()), own, unit.service.model, "default")
    return dict.fromkeys(sorted(set(names)), own)


def _backend(unit: Unit, instance: Instance, endpoint: RouterEndpoint, url: str, key_file: str) -> dict[str, object]:
    flags = [argument.text for argument in unit.launch.argv]
    scheduled = any(flags[n : n + 2] == ["--scheduling-policy", "priority"] for n in range(len(flags)))
    slots = max(1, unit.service.parallel)
    return {
        "name": instance.name,
        "role": endpoint.role,
        "url": url,
        "key_file": key_file if unit.launch.has_key else None,
        "models": aliases(unit, endpoint),
        "slots": slots,
        "queue": slots * QUEUE_PER_SLOT,
        "priority_field": scheduled,
        "profiles": unit.profiles,
    }


def class_caps(deployment: Deployment) -> dict[str, dict[str, int]]:
    """What a request of each class may ask: the context that its own servers give one user, and an answer that leaves
    room for the workload's usual prompt (at most half of the context). Empty when no server writes text."""
    writers = [u.service for u in deployment.units if u.service.role in _CLASSES]
    caps = {}
    for name in _CLASSES if writers else ():
        own = [service.context for service in writers if service.role == name]
        context = min(own or [service.context for service in writers])
        prompt = min(deployment.plan.workload.prompt_tokens, context // 2)
        caps[name] = {"context": context, "max_tokens": context - prompt}
    return caps


def router_config(deployment: Deployment, key_file: str, target: str) -> str:
    """router.json of one target; `key_file`: where the router finds the key there."""
    assert deployment.router is not None
    endpoints = {endpoint.service: endpoint for endpoint in deployment.router.endpoints}
    backends, health = [], {}
    for unit, instance in deployment.processes():
        if unit.name in endpoints:
            url = f"http://{server_address(deployment, target, unit, instance)}"
            backends.append(_backend(unit, instance, endpoints[unit.name], url, key_file))
            health[instance.name] = unit.launch.health.path
    document = {
        "key_file": key_file,
        "fallback": True,
        "queue_s": QUEUE_S,
        "connect_s": CONNECT_S,
        "read_s": READ_S,
        "max_body_bytes": MAX_BODY_BYTES,
        "classes": class_caps(deployment),
        "health": health,
        "backends": backends,
    }
    return json.dumps(document, indent=2) + "\n"


def router_files(templates: TemplateSet, header: tuple[str, ...]) -> dict[str, str]:
    """The router's modules and its pinned requirements, each under the header."""
    comment = "".join(f"# {line}\n" for line in header)
    names = [name for name in templates.texts if name.startswith("router/") and not name.endswith(".j2")]
    return {name: comment + templates.text(name) for name in sorted(names)}
