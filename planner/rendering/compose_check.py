"""The rendered compose.yaml read back: it must say what fed it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planner.errors import RenderError
from planner.rendering.parsing import compose_value, yaml_documents
from planner.rendering.words import must_equal

if TYPE_CHECKING:
    from planner.rendering.compose import Container


def load(text: str) -> dict[str, Any]:
    """The document. Raises RenderError with line and column when it is no YAML."""
    documents = yaml_documents(text, "compose.yaml")
    if len(documents) != 1:
        raise RenderError("compose.yaml is not one document", hint="a template lays it out wrongly")
    return documents[0]


def _plain(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(compose_value(value, {}) for value in values or ())


def check(text: str, containers: Sequence[Container]) -> None:
    """Raises RenderError where a command, variable, image or mount is not what was planned."""
    services = load(text).get("services") or {}
    for container in containers:
        name = f"service {container.name} of compose.yaml"
        found = services.get(container.name)
        if not isinstance(found, dict):
            raise RenderError(f"{name} is missing", hint="a template leaves it out")
        must_equal(f"command of {name}", container.command, _plain(found.get("command")))
        must_equal(f"entrypoint of {name}", container.entrypoint, _plain(found.get("entrypoint")))
        must_equal(f"image of {name}", container.image, compose_value(found.get("image", ""), {}))
        variables = {compose_value(k, {}): compose_value(v, {}) for k, v in (found.get("environment") or {}).items()}
        must_equal(f"environment of {name}", dict(container.environment), variables)
        user = None if container.user is None else load(f"user: {container.user}")["user"]
        must_equal(f"user of {name}", user, found.get("user"))
        targets = tuple(compose_value(v["target"], {}) for v in found.get("volumes") or ())
        must_equal(f"volumes of {name}", tuple(v.target for v in container.volumes), targets)
        must_equal(f"healthcheck of {name}", container.health, _plain((found.get("healthcheck") or {}).get("test"))[1:])
