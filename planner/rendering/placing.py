"""Where a launch's words lead on one target: folders, key, address. The result is the argv and the environment."""

from __future__ import annotations

import msgspec

from planner.rendering.deployment import Instance, Unit
from planner.servers.devices import DEVICE_VARIABLES
from planner.servers.records import Argument, Launch


class Word(msgspec.Struct, frozen=True):
    """One word for a target: `raw` is an expression in the target's own syntax, `text` is quoted and follows it."""

    raw: str = ""
    text: str = ""


class Folders(msgspec.Struct, frozen=True, kw_only=True):
    """Where a target keeps things. Each word ends with its separator, but `key`, which is a whole path.
    `mounts` False: the process sees the host's own paths, so container paths of a launch are translated."""

    models: Word
    config: Word
    key: Word
    cache: Word
    mounts: bool


class Setting(msgspec.Struct, frozen=True):
    """One environment variable."""

    name: str
    value: Word


def join(folder: Word, text: str) -> Word:
    """A name below a folder."""
    return Word(folder.raw, folder.text + text)


def _translate(text: str, launch: Launch, folders: Folders) -> Word:
    """A container path as this target sees it: the same in a container, below its own folders on a host."""
    if folders.mounts:
        return Word(text=text)
    for mount in launch.mounts:
        target = mount.target.rstrip("/")
        if text == target or text.startswith(target + "/"):
            rest = text[len(target) :].lstrip("/")
            if mount.source == "secret":
                return folders.key
            home = {"models": folders.models, "config": folders.config}.get(mount.source)
            if home is None:
                home = join(folders.cache, f"{mount.name}/")
            return join(home, rest) if rest else Word(home.raw.rstrip("/"), home.text.rstrip("/"))
    return Word(text=text)


def place(argument: Argument, launch: Launch, folders: Folders) -> Word:
    """One argument on this target."""
    if argument.kind == "models":
        return join(folders.models, argument.text)
    if argument.kind == "config":
        return join(folders.config, argument.text)
    if argument.kind == "secret":
        return folders.key
    return _translate(argument.text, launch, folders)


def argv(unit: Unit, folders: Folders, host: str, port: Word) -> tuple[Word, ...]:
    """The command of a unit, program name first, bound to `host` and `port`."""
    launch = unit.launch
    words = [place(argument, launch, folders) for argument in launch.argv]
    if launch.bind_option == "environment":
        return tuple(words)
    for flag, value in (("--host", Word(text=host)), ("--port", port)):
        flags = [number for number, argument in enumerate(launch.argv) if argument.text == flag]
        if flags and flags[-1] + 1 < len(words):
            words[flags[-1] + 1] = value
        else:
            words += [Word(text=flag), value]
    return tuple(words)


def environment(unit: Unit, folders: Folders, host: str, port: Word) -> tuple[Setting, ...]:
    """The plain variables of a unit, in the launch's order, with the models folder and the address put in.

    A CUDA container is given its own cards and counts them from 0; everywhere else the launch's choice of
    devices holds."""
    launch = unit.launch
    settings = {name: _translate(value, launch, folders) for name, value in launch.environment}
    if folders.mounts and launch.backend == "cuda":
        settings.pop(DEVICE_VARIABLES["cuda"], None)
    for name in launch.models_environment:
        settings[name] = Word(folders.models.raw.rstrip("/"), folders.models.text.rstrip("/"))
    if launch.bind_option == "environment" and launch.bind_variable is not None:
        settings[launch.bind_variable] = Word(f"{host}:{port.raw}") if port.raw else Word(text=f"{host}:{port.text}")
    return tuple(Setting(name, value) for name, value in settings.items())


def numa_directives(policy: str, nodes: tuple[int, ...]) -> tuple[str, ...]:
    """A placement on NUMA nodes as systemd.exec(5) writes it; no node named: all of them."""
    if policy == "none":
        return ()
    mask = f"NUMAMask={','.join(map(str, nodes)) or 'all'}"
    if policy == "interleave":
        return ("NUMAPolicy=interleave", mask)
    return ("NUMAPolicy=bind", mask, "CPUAffinity=numa")


def numactl(unit: Unit, instance: Instance, node: Word | None = None) -> tuple[Word, ...]:
    """The numactl prefix of a command, without its path; `node` stands for the instance's node (`%i`, `$node`)."""
    nodes = ",".join(map(str, instance.nodes))
    one = node or Word(text=nodes)
    if unit.launch.numa == "bind":
        return (
            Word("--cpunodebind=" + one.raw, one.text) if one.raw else Word(text=f"--cpunodebind={one.text}"),
            Word("--membind=" + one.raw, one.text) if one.raw else Word(text=f"--membind={one.text}"),
            Word(text="--"),
        )
    if unit.launch.numa == "interleave":
        return (Word(text=f"--interleave={nodes or 'all'}"), Word(text="--"))
    return ()
