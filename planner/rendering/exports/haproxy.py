"""A configuration of HAProxy: no Python in the way, but it reads headers only, never a request's body."""

from __future__ import annotations

import msgspec

from planner.catalog.records.policy import Role
from planner.rendering.addresses import networked
from planner.rendering.deployment import Deployment
from planner.rendering.exports.backends import Backend, backends, roles
from planner.rendering.quoting import haproxy_word
from planner.rendering.router import CONNECT_S, MAX_BODY_BYTES, QUEUE_S, READ_S
from planner.rendering.templates import TemplateSet

# The port of the router that it stands in for, when the plan has none.
_PORT = 3000


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The servers of one role, and those that stand in when all of them are gone; texts already quoted."""

    role: Role
    health: str
    has_key: bool
    queue: int
    servers: tuple[Backend, ...]
    backups: tuple[Backend, ...]


def haproxy_config(deployment: Deployment, target: str, templates: TemplateSet, header: tuple[str, ...]) -> str:
    """haproxy.cfg."""
    by_role = roles(backends(deployment, target))
    port = deployment.router.port if deployment.router is not None else _PORT
    inside = networked(deployment, target)
    address = "*" if inside else deployment.options.bind
    values = {
        "header": header,
        "bind": haproxy_word(f"{f'[{address}]' if ':' in address else address}:{port}"),
        "names": inside,
        "pools": [_pool(role, by_role) for role in by_role],
        "first": next(iter(by_role)),
        "connect_s": CONNECT_S,
        "read_s": READ_S,
        "queue_s": QUEUE_S,
        "max_body_bytes": MAX_BODY_BYTES,
    }
    return templates.fill("exports/haproxy.cfg.j2", values)


def _pool(role: Role, by_role: dict[Role, tuple[Backend, ...]]) -> Pool:
    own = by_role[role]
    return Pool(
        role=role,
        health=haproxy_word(own[0].health),
        has_key=any(backend.has_key for backend in own),
        queue=sum(backend.queue for backend in own),
        servers=own,
        backups=_backups(role, by_role),
    )


def _backups(role: Role, by_role: dict[Role, tuple[Backend, ...]]) -> tuple[Backend, ...]:
    """Batch servers for interactive requests, as our router does it, where both go by one name and one check: the body,
    which says the name, stays as it is."""
    own, batch = by_role[role], by_role.get("batch", ())
    same = {(b.served, b.health, b.has_key) for b in (*own, *batch)}
    return batch if role == "interactive" and len(same) == 1 else ()
