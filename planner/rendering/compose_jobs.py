"""One-shot jobs of the Compose bundle: the only containers that reach the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from planner.rendering.compose_devices import Volume, config_volume
from planner.rendering.deployment import Deployment, Unit
from planner.rendering.downloads import downloads
from planner.rendering.quoting import shell_word
from planner.rendering.templates import TemplateSet

if TYPE_CHECKING:
    from planner.rendering.compose import Container


class Prepare(msgspec.Struct, frozen=True, kw_only=True):
    """A job that lets a server fetch and name its models."""

    name: str
    service: str
    image: str
    environment: tuple[tuple[str, str], ...]
    user: str | None
    volumes: tuple[Volume, ...]


def prepares(deployment: Deployment, containers: Sequence[Container]) -> tuple[Prepare, ...]:
    """The jobs of servers whose launch has steps of its own (Ollama's pull and create)."""
    found = []
    for unit in deployment.units:
        if not unit.launch.prepare:
            continue
        first = next(c for c in containers if c.unit == unit.name)
        volumes = [msgspec.structs.replace(v, read_only=v.target.startswith("/config")) for v in first.volumes]
        volumes.append(config_volume(f"prepare-{unit.name}.sh", "/prepare.sh"))
        if unit.launch.config_files and not any(v.target == "/config" for v in volumes):
            volumes.append(config_volume("", "/config"))
        found.append(
            Prepare(
                name=f"prepare-{unit.name}",
                service=unit.name,
                image=first.image,
                environment=first.environment,
                user=first.user,
                volumes=tuple(volumes),
            )
        )
    return tuple(found)


def prepare_files(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> dict[str, str]:
    """The scripts of those jobs."""
    return {
        f"config/prepare-{unit.name}.sh": templates.fill("jobs/prepare.sh.j2", prepare_values(unit, header))
        for unit in deployment.units
        if unit.launch.prepare
    }


def prepare_values(unit: Unit, header: tuple[str, ...], config: str = "/config") -> dict[str, object]:
    """What the preparing script says: its own server, when that is ready, and the launch's steps."""
    paths = {file.path: f"{config}/{file.path}" for file in unit.launch.config_files}
    commands = [" ".join(shell_word(paths.get(word, word)) for word in step) for step in unit.launch.prepare]
    serve = " ".join(shell_word(argument.text) for argument in unit.launch.argv)
    ready = " ".join(map(shell_word, unit.launch.health.argv or ("true",)))
    return {"header": header, "commands": commands, "serve": serve, "ready": ready}


def pull_files(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> dict[str, str]:
    """The pull job's image and script."""
    wanted = downloads(deployment)
    if not wanted:
        return {}
    commands = [
        " ".join(map(shell_word, ("hf", "download", *d.words, "--local-dir", f"/models/{d.folder}".rstrip("/"))))
        for d in wanted
    ]
    values = {"header": header, "commands": commands}
    return {
        "config/pull.sh": templates.fill("jobs/pull.sh.j2", values),
        "pull/Dockerfile": templates.fill("jobs/pull.Dockerfile.j2", {"header": header}),
    }
