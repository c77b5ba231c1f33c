"""systemd units, Quadlets and launch scripts as programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from planner.doctor.programs import flag_value, is_numa_bound, own_words, split_assignments
from planner.doctor.records import Document, Finding, Port, Served
from planner.doctor.unit_values import PLACING_POLICIES, Settings, container_values, policy_without_nodes
from planner.doctor.values import UNLIMITED_BYTES, limit_bytes, lock_limit_bytes, shell_split

# Words in front of a program that do not start it.
_MENTIONS = frozenset({"export", "command", "which", "type", "echo", "printf", "fail", "[", "[[", "if", "test"})
_CONTINUED = re.compile(r"\\\n\s*")
# The targets that systemd.special names for services of users and machines.
_TARGETS = frozenset(
    {"multi-user.target", "default.target", "graphical.target", "network-online.target", "basic.target",
     "sysinit.target", "timers.target", "sockets.target", "machines.target"}
)  # fmt: skip


def settings_of(text: str, path: str) -> tuple[Settings, list[Finding]]:
    """(section, key, value) of an INI-like file in order, and a finding for every line that is none."""
    settings: Settings = []
    broken: list[Finding] = []
    section = ""
    for line in _CONTINUED.sub(" ", text).split("\n"):
        stripped = line.strip()
        if not stripped or stripped.startswith(("#", ";")):
            continue
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped.strip("[]")
            continue
        key, equals, value = stripped.partition("=")
        if equals:
            settings.append((section, key.strip(), value.strip()))
        else:
            text_ = f"a line without a setting: {stripped[:60]!r}"
            broken.append(
                Finding(rule_id="unit-syntax", severity="error", place=path, text=text_, fix="write KEY=value")
            )
    return settings, broken


def _values(settings: Settings, key: str) -> list[str]:
    """All values of a key; an empty one takes back those before, as systemd does."""
    found: list[str] = []
    for _, name, value in settings:
        if name == key:
            found = [*found, value] if value else []
    return found


def _last(settings: Settings, key: str) -> str | None:
    values = _values(settings, key)
    return values[-1] if values else None


def _assignments(values: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for value in values for word in shell_split(value))
    return {name: text for name, equals, text in pairs if equals}


def read_unit(path: str, text: str) -> Document:
    """A service unit: one program. Other units hold none."""
    settings, broken = settings_of(text, path)
    starts = _values(settings, "ExecStart")
    served: tuple[Served, ...] = ()
    if starts and _last(settings, "Type") != "oneshot":
        words = shell_split(starts[-1].lstrip("@-:+!"))
        server, argv = own_words(None, (), words)
        policy = _last(settings, "NUMAPolicy")
        served = (
            Served(
                kind="unit",
                place=f"{path}: Service",
                name=path,
                server=server,
                argv=argv,
                environment=_assignments(_values(settings, "Environment")),
                restart=_last(settings, "Restart"),
                memory_limited=_last(settings, "MemoryMax") is not None,
                memory_limit_bytes=limit_bytes(_last(settings, "MemoryMax")),
                lock_limit_bytes=_unit_lock_limit(settings),
                numa_bound=is_numa_bound(words) or policy is not None,
                health=("ExecStartPost",) if _values(settings, "ExecStartPost") else None,
                needed_files=tuple(f for f in _values(settings, "EnvironmentFile") if not f.startswith("-")),
            ),
        )
    findings = (
        *broken,
        *_wanted_by(path, settings),
        *_numa_specifiers(path, settings),
        *policy_without_nodes(path, settings),
    )
    return Document(path=path, kind="unit", served=served, findings=findings)


def _unit_lock_limit(settings: Settings) -> int | None:
    """As stated; root locks what it likes (CAP_IPC_LOCK, capabilities(7))."""
    if _last(settings, "User") in {None, "root"} and _last(settings, "DynamicUser") not in {"yes", "true", "1"}:
        return UNLIMITED_BYTES
    return lock_limit_bytes(_last(settings, "LimitMEMLOCK"))


def _numa_specifiers(path: str, settings: Settings) -> Iterator[Finding]:
    """NUMAMask= and CPUAffinity= take numbers: a specifier stays as it is written and the unit does not start."""
    for key in ("NUMAMask", "CPUAffinity"):
        for value in _values(settings, key):
            if "%" in value:
                yield Finding(
                    rule_id="unit-numa-specifier",
                    severity="error",
                    place=f"{path}: Service.{key}",
                    text=f"{value} is not expanded here",
                    fix="write the number in a drop-in of each instance, or use numactl in ExecStart",
                )


def _wanted_by(path: str, settings: Settings) -> Iterator[Finding]:
    for key in ("WantedBy", "RequiredBy"):
        for name in (name for value in _values(settings, key) for name in value.split()):
            if name.endswith(".target") and name not in _TARGETS and not name.startswith("planner"):
                yield Finding(
                    rule_id="unit-wanted-by",
                    severity="warning",
                    place=f"{path}: Install.{key}",
                    text=f"{name} is no target of systemd, so enabling the unit starts nothing",
                    fix="write WantedBy=multi-user.target (default.target for a user's own units)",
                )


def read_quadlet(path: str, text: str) -> Document:
    """A .container file: one program in podman."""
    settings, broken = settings_of(text, path)
    image = _last(settings, "Image")
    entrypoint = shell_split(_last(settings, "Entrypoint") or "")
    server, argv = own_words(image, entrypoint, shell_split(_last(settings, "Exec") or ""))
    podman = " ".join(_values(settings, "PodmanArgs"))
    health = _last(settings, "HealthCmd")
    served = Served(
        kind="quadlet",
        place=f"{path}: Container",
        name=path,
        server=server,
        image=image,
        argv=argv,
        environment=_assignments(_values(settings, "Environment")),
        ports=tuple(_quadlet_port(value) for value in _values(settings, "PublishPort")),
        health=_health(health) if health else None,
        restart=_last(settings, "Restart"),
        memory_limited="--memory" in podman or _last(settings, "MemoryMax") is not None
        or _last(settings, "Memory") is not None,
        memory_limit_bytes=limit_bytes(
            flag_value(podman.split(), "--memory", "-m") or _last(settings, "Memory") or _last(settings, "MemoryMax")
        ),
        lock_limit_bytes=next(
            (lock_limit_bytes(v.partition("=")[2]) for v in _values(settings, "Ulimit") if v.startswith("memlock=")),
            None,
        ),
        numa_bound="--cpuset-mems" in podman
        or is_numa_bound(entrypoint)
        or _last(settings, "NUMAPolicy") in PLACING_POLICIES,
        privileged="--privileged" in podman,
        host_network=_last(settings, "Network") == "host",
        is_job=_last(settings, "Type") == "oneshot",
    )  # fmt: skip
    return Document(
        path=path,
        kind="quadlet",
        served=(served,),
        findings=(*broken, *_wanted_by(path, settings), *container_values(path, settings)),
    )


def _health(command: str) -> tuple[str, ...]:
    """The words of a health command: a JSON list, or a line for a shell."""
    try:
        listed = json.loads(command)
    except ValueError:
        return tuple(shell_split(command))
    return tuple(str(word) for word in listed) if isinstance(listed, list) else tuple(shell_split(command))


def _quadlet_port(value: str) -> Port:
    host, _, rest = value.rpartition(":")[0].rpartition(":")
    return Port(published=rest, target=value.rpartition(":")[2].partition("/")[0], host_ip=host or None)


def read_script(path: str, text: str) -> Document:
    """A shell script: every command in it that starts a server."""
    found, exported = [], _exports(text)
    for line in _CONTINUED.sub(" ", text).split("\n"):
        words = shell_split(line)
        if words[:1] == ["exec"]:
            words = words[1:]
        environment, words = split_assignments(words)
        if words[:1] == ["env"]:
            environment, words = split_assignments(words[1:])
        server, argv = own_words(None, (), words)
        if server is not None and not _is_question(words):
            found.append(
                Served(
                    kind="script",
                    place=path,
                    name=server,
                    server=server,
                    argv=argv,
                    environment=environment | exported,
                    numa_bound=is_numa_bound(words),
                )
            )
    return Document(path=path, kind="script", served=tuple(found))


def _is_question(words: list[str]) -> bool:
    """A line that only mentions the program: a test for it, a message, a comment, `ollama pull`."""
    if words[0] in _MENTIONS or words[0].startswith("#"):
        return True
    return "ollama" in words and "serve" not in words


def _exports(text: str) -> dict[str, str]:
    found = re.findall(r"^\s*export\s+([A-Za-z_]\w*)=(\S*)", text, re.MULTILINE)
    return {name: value.strip("\"'") for name, value in found}
