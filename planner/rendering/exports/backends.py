"""The servers of a deployment as every router sees them: who is asked by which name, and who stands in for whom."""

from __future__ import annotations

import msgspec

from planner.catalog.records.policy import Role
from planner.rendering.addresses import server_address
from planner.rendering.deployment import Deployment, Instance, Unit
from planner.rendering.router import QUEUE_PER_SLOT, aliases, served_name

# Whose servers answer when nothing else is said: the first of these that the deployment has.
_ROLES: tuple[Role, ...] = ("interactive", "batch", "embedding", "image")


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `served`: the model name that it wants to hear, `names` those that clients may use; `defaults`:
    fields that it forgets between requests; `command`: the words that start it from the folder of a `launch` bundle."""

    name: str
    role: Role
    address: str
    health: str
    has_key: bool
    served: str
    names: tuple[str, ...]
    context: int
    slots: int
    start_seconds: int
    defaults: tuple[tuple[str, object], ...]
    command: tuple[str, ...]

    @property
    def queue(self) -> int:
        """Requests that may wait for it."""
        return self.slots * QUEUE_PER_SLOT


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A name that clients ask for, and the equal processes behind it."""

    name: str
    backends: tuple[Backend, ...]


def backends(deployment: Deployment, target: str) -> tuple[Backend, ...]:
    """Every process of the deployment, by role."""
    found = [
        _backend(unit, instance, server_address(deployment, target, unit, instance), _names(deployment, unit))
        for unit, instance in deployment.processes()
    ]
    return tuple(sorted(found, key=lambda backend: _ROLES.index(backend.role)))


def _names(deployment: Deployment, unit: Unit) -> tuple[str, ...]:
    """The names of a unit's model, as our router knows them."""
    endpoints = {e.service: e for e in deployment.router.endpoints} if deployment.router is not None else {}
    return tuple(name for name in aliases(unit, endpoints.get(unit.name)) if name != "default")


def _backend(unit: Unit, instance: Instance, address: str, names: tuple[str, ...]) -> Backend:
    node = () if instance.node is None else (str(instance.node),)
    return Backend(
        name=instance.name,
        role=unit.service.role,
        address=address,
        health=unit.launch.health.path,
        has_key=unit.launch.has_key,
        served=served_name(unit),
        names=names,
        context=unit.service.context,
        slots=max(1, unit.service.parallel),
        start_seconds=unit.launch.start_seconds,
        defaults=tuple(unit.profiles.get("planned", {}).items()),
        command=("bash", f"{unit.name}.sh", *node),
    )


def roles(found: tuple[Backend, ...]) -> dict[Role, tuple[Backend, ...]]:
    """The processes of each role, the one first that answers when nothing is said."""
    return {role: own for role in _ROLES if (own := tuple(b for b in found if b.role == role))}


def groups(found: tuple[Backend, ...]) -> tuple[Group, ...]:
    """The names that clients may ask for: `default`, the other roles by their own names, and the models' names, each
    for the first role that has it."""
    names: dict[str, tuple[Backend, ...]] = {}
    by_role = roles(found)
    for number, (role, own) in enumerate(by_role.items()):
        names["default" if number == 0 else role] = own
    for own in by_role.values():
        for name in sorted({name for backend in own for name in backend.names}):
            names.setdefault(name, tuple(backend for backend in own if name in backend.names))
    return tuple(Group(name=name, backends=members) for name, members in names.items())
