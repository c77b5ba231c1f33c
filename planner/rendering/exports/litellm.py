"""A configuration of the LiteLLM proxy: priorities become model names, since a request says no more to it."""

from __future__ import annotations

import msgspec

from planner.errors import RenderError
from planner.rendering.deployment import Deployment
from planner.rendering.exports.backends import Backend, Group, backends, groups, roles
from planner.rendering.parsing import yaml_documents
from planner.rendering.router import READ_S
from planner.rendering.templates import TemplateSet
from planner.rendering.words import must_equal

# LiteLLM replaces any value that begins so by that variable's.
_VARIABLE = "os.environ/"
_MODES = {"embedding": "embedding", "image": "image_generation"}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment of LiteLLM's model list."""

    name: str
    model: str
    base: str
    has_key: bool
    slots: int
    mode: str
    context: int
    defaults: tuple[tuple[str, object], ...]


def litellm_config(deployment: Deployment, target: str, templates: TemplateSet, header: tuple[str, ...]) -> str:
    """litellm.yaml. Raises RenderError for a name that LiteLLM would take for a variable."""
    found = backends(deployment, target)
    named = groups(found)
    entries = tuple(_entry(group, backend) for group in named for backend in group.backends)
    values = {"header": header, "entries": entries, "fallbacks": _fallbacks(named, found), "timeout": READ_S}
    text = templates.fill("exports/litellm.yaml.j2", values)
    _check(text, entries)
    return text


def _entry(group: Group, backend: Backend) -> Entry:
    if group.name.startswith(_VARIABLE):
        raise RenderError(f"LiteLLM would take the name {group.name!r} for a variable", hint="rename the model")
    return Entry(
        name=group.name,
        model=f"openai/{backend.served}",
        base=f"http://{backend.address}/v1",
        has_key=backend.has_key,
        slots=backend.slots,
        mode=_MODES.get(backend.role, "chat"),
        context=backend.context,
        defaults=backend.defaults,
    )


def _fallbacks(named: tuple[Group, ...], found: tuple[Backend, ...]) -> tuple[str, ...]:
    """The names whose requests the batch servers take over: those of the interactive ones, as our router does it."""
    if list(roles(found))[:2] != ["interactive", "batch"]:
        return ()
    return tuple(group.name for group in named if group.backends[0].role == "interactive")


def _check(text: str, entries: tuple[Entry, ...]) -> None:
    (document,) = yaml_documents(text, "litellm.yaml")
    said = [
        (e["model_name"], e["litellm_params"]["model"], e["litellm_params"]["api_base"]) for e in document["model_list"]
    ]
    must_equal("model_list of litellm.yaml", [(e.name, e.model, e.base) for e in entries], said)
