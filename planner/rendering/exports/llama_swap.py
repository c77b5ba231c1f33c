"""A configuration of llama-swap, which starts the scripts of the bundle itself and stops them at its end."""

from __future__ import annotations

from planner.errors import RenderError
from planner.rendering.deployment import Deployment
from planner.rendering.exports.backends import Backend, Group, backends, groups
from planner.rendering.parsing import yaml_documents
from planner.rendering.quoting import shell_word
from planner.rendering.templates import TemplateSet
from planner.rendering.words import must_equal

# The least that its schema takes.
_LEAST_START_S = 15


def llama_swap_config(deployment: Deployment, target: str, templates: TemplateSet, header: tuple[str, ...]) -> str:
    """llama-swap.yaml. Raises RenderError for a name that llama-swap would take for a macro: it knows no escape."""
    found = backends(deployment, target)
    named = groups(found)
    for name in (*(group.name for group in named), *(backend.served for backend in found)):
        if "${" in name:
            raise RenderError(f"llama-swap would take part of the name {name!r} for a macro", hint="rename the model")
    values = {
        "header": header,
        "backends": [_model(backend, named) for backend in found],
        "shared": [group for group in named if len(group.backends) > 1],
        "start_seconds": max(_LEAST_START_S, *(backend.start_seconds for backend in found)),
        # With keys of its own it takes the client's away, which servers that ask for one need.
        "own_key": not any(backend.has_key for backend in found),
        "batch": any(backend.role == "batch" for backend in found),
    }
    text = templates.fill("exports/llama-swap.yaml.j2", values)
    _check(text, found, named)
    return text


def _names(backend: Backend, named: tuple[Group, ...]) -> list[str]:
    """The names that mean this process alone, beside its own and those of other processes."""
    taken = {member.name for group in named for member in group.backends}
    return [group.name for group in named if group.backends == (backend,) and group.name not in taken]


def _model(backend: Backend, named: tuple[Group, ...]) -> dict[str, object]:
    return {
        "name": backend.name,
        "command": " ".join(map(shell_word, backend.command)),
        "url": f"http://{backend.address}",
        "health": backend.health,
        "served": backend.served,
        "aliases": _names(backend, named),
        "slots": backend.slots,
        "context": backend.context,
        "priority": 1 if backend.role == "interactive" else 0,
    }


def _check(text: str, found: tuple[Backend, ...], named: tuple[Group, ...]) -> None:
    (document,) = yaml_documents(text, "llama-swap.yaml")
    said = {
        name: (entry["proxy"], entry["useModelName"], entry.get("aliases", []))
        for name, entry in document["models"].items()
    }
    wanted = {b.name: (f"http://{b.address}", b.served, _names(b, named)) for b in found}
    must_equal("models of llama-swap.yaml", wanted, said)
    targets = {name: entry["targets"] for name, entry in document.get("selectors", {}).items()}
    shared = {group.name: [b.name for b in group.backends] for group in named if len(group.backends) > 1}
    must_equal("selectors of llama-swap.yaml", shared, targets)
