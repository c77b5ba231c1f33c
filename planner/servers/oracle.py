"""No launch with a flag, a value, a variable or a configuration key that the server's version does not know."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog.records import ServerFacts
from planner.errors import RenderError, near_misses
from planner.servers.records import ConfigFile, Launch


def check_launch(launch: Launch, facts: ServerFacts) -> None:
    """Raises RenderError naming the first unknown or removed name, and what replaced it."""
    _check_argv([word.text for word in launch.argv], facts)
    variables = (
        [name for name, _ in launch.environment]
        + [name for name, _ in launch.secret_environment]
        + list(launch.models_environment)
    )
    for name in variables:
        if name not in facts.environment:
            raise _unknown("variable", name, facts, facts.environment)
    for file in launch.config_files:
        for key in config_keys(file):
            if key not in facts.config_keys:
                raise _unknown(f"key of {file.path}", key, facts, facts.config_keys)
    if launch.image is not None:
        _check_image(launch.image)


def _check_argv(argv: list[str], facts: ServerFacts) -> None:
    flags, switches = set(facts.flags), set(facts.switches)
    position = 1
    while position < len(argv):
        flag = argv[position]
        position += 1
        if not flag.startswith("-"):
            continue
        if flag not in flags:
            raise _unknown("flag", flag, facts, facts.flags)
        if flag in switches:
            continue
        if position == len(argv):
            raise RenderError(f"{facts.id} {facts.version}: {flag} needs a value")
        _check_value(flag, argv[position], facts)
        position += 1


def _check_value(flag: str, value: str, facts: ServerFacts) -> None:
    choices = facts.choices.get(flag)
    if choices and value not in choices:
        raise RenderError(
            f"{facts.id} {facts.version}: {flag} does not take {value!r}", hint=f"one of {', '.join(choices)}"
        )


def _check_image(reference: str) -> None:
    name, _, tag = reference.partition("@")[0].rpartition(":")
    if not name or "/" in tag or tag.startswith("latest"):
        raise RenderError(f"image {reference!r} is not pinned", hint="give a version tag in catalog/servers.yaml")


def _unknown(kind: str, name: str, facts: ServerFacts, known: tuple[str, ...]) -> RenderError:
    where = f"{facts.id} {facts.version}"
    if name in facts.removed:
        use = facts.removed[name]
        return RenderError(f"{where}: the {kind} {name} was removed", hint=f"use {use}" if use else "leave it out")
    matches = near_misses(name, known)
    hint = f"did you mean {', '.join(matches)}?" if matches else None
    return RenderError(f"{where} has no {kind} {name}", hint=hint)


def config_keys(file: ConfigFile) -> Iterator[str]:
    """The keys that a configuration file sets: Modelfile instructions and parameters, or YAML keys with dots."""
    if file.path.endswith((".yaml", ".yml")):
        import yaml  # late: only where a YAML file is checked

        for entry in yaml.safe_load(file.text):
            yield from _yaml_keys(entry)
    else:
        yield from _modelfile_keys(file.text)


def _modelfile_keys(text: str) -> Iterator[str]:
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        yield f"PARAMETER {words[1]}" if words[0] == "PARAMETER" else words[0]


# Keys of LocalAI's model YAML whose inside is free (template variables) or another program's.
_FREE = {"chat_template_kwargs", "diffusers", "engine_args"}


def _yaml_keys(entry: dict[str, object]) -> Iterator[str]:
    for key, value in entry.items():
        if isinstance(value, dict) and key not in _FREE:
            yield from (f"{key}.{inner}" for inner in value)
        elif key == "options" and isinstance(value, list):
            yield from (f"options.{str(option).partition(':')[0]}" for option in value)
        else:
            yield key
