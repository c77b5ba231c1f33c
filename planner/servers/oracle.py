"""No launch with a flag, a value, a variable or a configuration key that the server's version does not know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from planner.catalog.records import ServerFacts
from planner.errors import RenderError, near_misses
from planner.servers.records import ConfigFile, Launch


class RemovedName(RenderError):
    """A flag, variable or key that an earlier version of the server had."""


def check_launch(launch: Launch, facts: ServerFacts) -> None:
    """Raises RenderError naming the first unknown or removed name, and what replaced it."""
    for problem in launch_problems(launch, facts):
        raise problem


def launch_problems(launch: Launch, facts: ServerFacts) -> Iterator[RenderError]:
    """Everything about a launch that its server's version does not know."""
    yield from argv_problems([word.text for word in launch.argv], facts)
    names = [name for name, _ in (*launch.environment, *launch.secret_environment)]
    yield from variable_problems((*names, *launch.models_environment), facts)
    for file in launch.config_files:
        yield from config_problems(file, facts)
    if launch.image is not None:
        yield from _image_problems(launch.image)


def argv_problems(argv: Sequence[str], facts: ServerFacts) -> Iterator[RenderError]:
    """Unknown and removed flags, missing and wrong values of a command; the first word is the program."""
    flags, switches = set(facts.flags), set(facts.switches)
    position = 1
    while position < len(argv):
        flag, equals, value = argv[position].partition("=")
        position += 1
        if not flag.startswith("-"):
            continue
        if flag not in flags:
            yield _unknown("flag", flag, facts, facts.flags)
        elif flag in switches:
            continue
        elif equals:
            yield from _value_problems(flag, value, facts)
        elif position == len(argv):
            yield RenderError(f"{facts.id} {facts.version}: {flag} needs a value")
        else:
            yield from _value_problems(flag, argv[position], facts)
            position += 1


def _value_problems(flag: str, value: str, facts: ServerFacts) -> Iterator[RenderError]:
    choices = facts.choices.get(flag)
    if choices and value not in choices:
        hint = f"one of {', '.join(choices)}"
        yield RenderError(f"{facts.id} {facts.version}: {flag} does not take {value!r}", hint=hint)


def variable_problems(names: Iterable[str], facts: ServerFacts) -> Iterator[RenderError]:
    """Unknown and removed environment variables."""
    known = set(facts.environment)
    yield from (_unknown("variable", name, facts, facts.environment) for name in names if name not in known)


def config_problems(file: ConfigFile, facts: ServerFacts) -> Iterator[RenderError]:
    """Unknown keys of a Modelfile or of LocalAI's model YAML."""
    known = set(facts.config_keys)
    keys = (key for key in config_keys(file) if key not in known)
    yield from (_unknown(f"key of {file.path}", key, facts, facts.config_keys) for key in keys)


def _image_problems(reference: str) -> Iterator[RenderError]:
    name, _, tag = reference.partition("@")[0].rpartition(":")
    if not name or "/" in tag or tag.startswith("latest"):
        hint = "give a version tag in catalog/servers.yaml"
        yield RenderError(f"image {reference!r} is not pinned", hint=hint)


def _unknown(kind: str, name: str, facts: ServerFacts, known: tuple[str, ...]) -> RenderError:
    where = f"{facts.id} {facts.version}"
    if name in facts.removed:
        use = facts.removed[name]
        return RemovedName(f"{where}: the {kind} {name} was removed", hint=f"use {use}" if use else "leave it out")
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
