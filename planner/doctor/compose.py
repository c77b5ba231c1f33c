"""A Compose file as programs, and the faults of the file itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from planner.doctor.programs import own_words
from planner.doctor.records import Document, Finding, Port, Served
from planner.doctor.values import items, limit_bytes, lock_limit_bytes, mapping, shell_split

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::?[-+?=]([^}]*))?\}|\$(\w+)")


def read_compose(path: str, content: dict[str, Any]) -> Document:
    """Every service of the file. Values that Compose would not accept are left to Compose."""
    secret_files = _secret_files(content)
    found = tuple(
        _service(path, str(name), service, secret_files)
        for name, service in mapping(content.get("services")).items()
        if isinstance(service, dict)
    )
    return Document(path=path, kind="compose", served=found, findings=tuple(_of_file(path, content)))


def _of_file(path: str, content: dict[str, Any]) -> Iterator[Finding]:
    if "version" in content:
        yield Finding(
            rule_id="compose-version",
            severity="note",
            place=f"{path}: version",
            text="Compose ignores `version` and warns about it",
            fix="delete the line",
        )


def _service(path: str, name: str, service: dict[str, Any], secret_files: dict[str, str]) -> Served:
    entrypoint, command = _words(service.get("entrypoint")), _words(service.get("command"))
    image = _text(service.get("image"))
    server, argv = own_words(image, entrypoint, command)
    deploy = mapping(service.get("deploy"))
    resources = mapping(deploy.get("resources"))
    limit = service.get("mem_limit") or mapping(resources.get("limits")).get("memory")
    return Served(
        kind="compose",
        place=f"{path}: services.{name}",
        name=name,
        server=server,
        image=image,
        argv=argv,
        environment=_environment(service.get("environment")),
        ports=tuple(_ports(service.get("ports"))),
        health=_health(service.get("healthcheck")),
        waits_for=_waits_for(service.get("depends_on")),
        restart=_text(service.get("restart")) or _text(mapping(deploy.get("restart_policy")).get("condition")),
        memory_limited=bool(limit),
        memory_limit_bytes=limit_bytes(_text(limit)),
        lock_limit_bytes=lock_limit_bytes(_memlock(service)),
        numa_bound=bool(service.get("cgroup_parent") or service.get("cpuset")) or "numactl" in " ".join(entrypoint),
        privileged=service.get("privileged") is True,
        host_network=service.get("network_mode") == "host",
        legacy_runtime=_text(service.get("runtime")),
        devices=tuple(_devices(resources, service)),
        needed_files=(*_needed_files(service), *(secret_files[s] for s in _secrets(service) if s in secret_files)),
        is_job=bool(service.get("profiles")),
    )


def _memlock(service: dict[str, Any]) -> object:
    stated = mapping(service.get("ulimits")).get("memlock")
    return stated.get("soft") if isinstance(stated, dict) else stated


def _text(value: object) -> str | None:
    return resolved(str(value)) if isinstance(value, str | int | float) else None


def resolved(text: str) -> str:
    """After interpolation: defaults where they are given, names of variables else."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return match[2] if match[2] is not None else f"${match[1] or match[3]}"

    return _VARIABLE.sub(value, text)


def _words(value: object) -> list[str]:
    words = shell_split(value) if isinstance(value, str) else items(value)
    return [resolved(str(word)) for word in words]


def _environment(value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {str(name): "" if text is None else resolved(str(text)) for name, text in value.items()}
    pairs = (str(entry).partition("=") for entry in items(value))
    return {name: resolved(text) for name, _, text in pairs}


def _ports(value: object) -> Iterator[Port]:
    for entry in items(value):
        if isinstance(entry, dict):
            if entry.get("published") is not None:
                published, target = resolved(str(entry["published"])), str(entry.get("target", ""))
                yield Port(published=published, target=target, host_ip=_text(entry.get("host_ip")))
            continue
        host, published, target = _short_port(resolved(str(entry)).partition("/")[0])
        if published:
            yield Port(published=published, target=target, host_ip=host)


def _short_port(text: str) -> tuple[str | None, str, str]:
    """`[HOST:][PUBLISHED:]TARGET`, the host in brackets when it is IPv6."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]:")
        published, _, target = rest.rpartition(":")
        return host, published, target
    parts = text.split(":")
    if len(parts) == 1:
        return None, "", parts[0]
    return ":".join(parts[:-2]) or None, parts[-2], parts[-1]


def _health(value: object) -> tuple[str, ...] | None:
    check = mapping(value)
    test = check.get("test")
    if not check or check.get("disable") is True or test is None:
        return None
    words = [str(word) for word in test] if isinstance(test, list) else ["CMD-SHELL", str(test)]
    if words[:1] == ["NONE"]:
        return None
    if words[:1] == ["CMD-SHELL"]:
        return tuple(" ".join(words[1:]).split())
    return tuple(words[1:] if words[:1] == ["CMD"] else words)


def _waits_for(value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {str(name): str(mapping(entry).get("condition", "service_started")) for name, entry in value.items()}
    return {str(name): "service_started" for name in items(value)}


def _devices(resources: dict[str, Any], service: dict[str, Any]) -> Iterator[str]:
    for entry in items(mapping(resources.get("reservations")).get("devices")):
        device = mapping(entry)
        if "gpu" in [str(name) for name in items(device.get("capabilities"))]:
            ids = items(device.get("device_ids"))
            yield from (str(name) for name in ids) if ids else (f"count {device.get('count', 'all')}",)
    if service.get("gpus"):
        yield f"count {service['gpus']}" if isinstance(service["gpus"], str) else "count 1"


def _secret_files(content: dict[str, Any]) -> dict[str, str]:
    """Files behind the file's secrets, where no variable names them."""
    entries = {str(name): mapping(secret).get("file") for name, secret in mapping(content.get("secrets")).items()}
    return {name: file for name, file in entries.items() if isinstance(file, str) and "$" not in file}


def _secrets(service: dict[str, Any]) -> Iterator[str]:
    for entry in items(service.get("secrets")):
        yield str(entry.get("source", "")) if isinstance(entry, dict) else str(entry)


def _needed_files(service: dict[str, Any]) -> Iterator[str]:
    """Files that must lie beside the compose file: written relative, without a variable."""
    for entry in items(service.get("volumes")):
        if isinstance(entry, dict):
            source = str(entry.get("source", "")) if entry.get("type") == "bind" else ""
        else:
            source = str(entry).partition(":")[0]
        if source.startswith("./") and "$" not in source:
            yield source
    files = service.get("env_file")
    for entry in items(files) if isinstance(files, list) else [files]:
        name = entry.get("path") if isinstance(entry, dict) else entry
        if isinstance(name, str) and "$" not in name and mapping(entry).get("required") is not False:
            yield name
