"""Kubernetes manifests as programs: every container of every workload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.doctor.programs import own_words
from planner.doctor.records import Document, Finding, Port, Served

_TEMPLATED = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"}


def is_manifest(content: object) -> bool:
    """Whether a YAML document is a Kubernetes object."""
    return isinstance(content, dict) and "apiVersion" in content and "kind" in content


def read_manifests(path: str, contents: list[Any]) -> Document:
    """The containers of all workloads in one file; services that reach beyond the cluster count as open ports."""
    manifests = [content for content in contents if is_manifest(content)]
    found = [served for content in manifests for served in _workload(path, content)]
    findings = (*_selectors(path, manifests), *_mounts(path, manifests))
    return Document(path=path, kind="kubernetes", served=tuple(found), findings=findings)


def _template(content: dict[str, Any]) -> dict[str, Any]:
    return _mapping(_mapping(content.get("spec")).get("template"))


def _place(path: str, content: dict[str, Any]) -> str:
    return f"{path}: {content.get('kind')}/{_mapping(content.get('metadata')).get('name', '?')}"


def _selectors(path: str, manifests: list[dict[str, Any]]) -> Iterator[Finding]:
    """Selectors that match no labels in the file: a Service without endpoints, a workload that is refused."""
    labels = [_mapping(_mapping(_template(m).get("metadata")).get("labels")) for m in manifests if _template(m)]
    for content in manifests:
        selector = _mapping(_mapping(content.get("spec")).get("selector"))
        wanted = _mapping(selector.get("matchLabels")) if "matchLabels" in selector else selector
        own = [_mapping(_mapping(_template(content).get("metadata")).get("labels"))] if _template(content) else labels
        asked = content.get("kind") in {"Service", *_TEMPLATED} and wanted and labels
        if asked and not any(wanted.items() <= found.items() for found in own):
            yield Finding(
                rule_id="selector-mismatch",
                severity="error",
                place=f"{_place(path, content)}.selector",
                text=f"no pod in this file carries the labels {wanted}",
                fix="write the labels of the pod template",
            )


def _mounts(path: str, manifests: list[dict[str, Any]]) -> Iterator[Finding]:
    """Mounts of volumes that the pod does not define."""
    for content in manifests:
        pod = _mapping(_template(content).get("spec"))
        claims = [_mapping(c) for c in _list(_mapping(content.get("spec")).get("volumeClaimTemplates"))]
        defined = {_mapping(volume).get("name") for volume in _list(pod.get("volumes"))}
        defined |= {_mapping(claim.get("metadata")).get("name") for claim in claims}
        for container in (_mapping(c) for key in ("initContainers", "containers") for c in _list(pod.get(key))):
            for mount in (_mapping(entry) for entry in _list(container.get("volumeMounts"))):
                if mount.get("name") not in defined:
                    yield Finding(
                        rule_id="volume-undefined",
                        severity="error",
                        place=f"{_place(path, content)}.{container.get('name', '?')}.volumeMounts",
                        text=f"the pod defines no volume {mount.get('name')!r}",
                        fix="define it under spec.template.spec.volumes",
                    )


def _workload(path: str, content: dict[str, Any]) -> Iterator[Served]:
    kind, name = str(content.get("kind")), str(_mapping(content.get("metadata")).get("name", "?"))
    spec = _mapping(content.get("spec"))
    if kind in _TEMPLATED:
        spec = _mapping(_mapping(spec.get("template")).get("spec"))
    elif kind != "Pod":
        return
    for container in _list(spec.get("containers")):
        if isinstance(container, dict):
            yield _container(f"{path}: {kind}/{name}", container, spec, is_job=kind == "Job")


def _container(place: str, container: dict[str, Any], pod: dict[str, Any], *, is_job: bool) -> Served:
    image = str(container.get("image", "")) or None
    server, argv = own_words(image, _words(container.get("command")), _words(container.get("args")))
    limits = _mapping(_mapping(container.get("resources")).get("limits"))
    probe = container.get("readinessProbe") or container.get("startupProbe") or container.get("livenessProbe")
    ports = [_mapping(port) for port in _list(container.get("ports"))]
    return Served(
        kind="kubernetes",
        place=f"{place}.{container.get('name', '?')}",
        name=str(container.get("name", "?")),
        server=server,
        image=image,
        argv=argv,
        environment={
            str(entry.get("name")): str(entry["value"])
            for entry in map(_mapping, _list(container.get("env")))
            if "value" in entry
        },
        ports=tuple(Port(published=str(p["hostPort"]), host_ip=p.get("hostIP")) for p in ports if "hostPort" in p),
        health=("probe",) if probe else None,
        memory_limited="memory" in limits,
        privileged=_mapping(container.get("securityContext")).get("privileged") is True,
        host_network=pod.get("hostNetwork") is True,
        is_job=is_job,
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(value: object) -> list[str]:
    return [str(word).replace("$$", "$") for word in _list(value)]
