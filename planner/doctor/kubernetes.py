"""Kubernetes manifests as programs: every container of every workload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.doctor.programs import own_words
from planner.doctor.records import Document, Finding, Port, Served
from planner.doctor.values import items, mapping

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
    return mapping(mapping(content.get("spec")).get("template"))


def _labels(content: dict[str, Any]) -> dict[str, Any]:
    return mapping(mapping(_template(content).get("metadata")).get("labels"))


def _place(path: str, content: dict[str, Any]) -> str:
    return f"{path}: {content.get('kind')}/{mapping(content.get('metadata')).get('name', '?')}"


def _selectors(path: str, manifests: list[dict[str, Any]]) -> Iterator[Finding]:
    """Selectors that match no labels in the file: a Service without endpoints, a workload that is refused."""
    labels = [_labels(manifest) for manifest in manifests if _template(manifest)]
    for content in manifests:
        selector = mapping(mapping(content.get("spec")).get("selector"))
        wanted = mapping(selector.get("matchLabels")) if "matchLabels" in selector else selector
        own = [_labels(content)] if _template(content) else labels
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
        pod = mapping(_template(content).get("spec"))
        claims = [mapping(c) for c in items(mapping(content.get("spec")).get("volumeClaimTemplates"))]
        defined = {mapping(volume).get("name") for volume in items(pod.get("volumes"))}
        defined |= {mapping(claim.get("metadata")).get("name") for claim in claims}
        for container in (mapping(c) for key in ("initContainers", "containers") for c in items(pod.get(key))):
            for mount in (mapping(entry) for entry in items(container.get("volumeMounts"))):
                if mount.get("name") not in defined:
                    yield Finding(
                        rule_id="volume-undefined",
                        severity="error",
                        place=f"{_place(path, content)}.{container.get('name', '?')}.volumeMounts",
                        text=f"the pod defines no volume {mount.get('name')!r}",
                        fix="define it under spec.template.spec.volumes",
                    )


def _workload(path: str, content: dict[str, Any]) -> Iterator[Served]:
    kind = content.get("kind")
    if kind not in {"Pod", *_TEMPLATED}:
        return
    pod = mapping((content if kind == "Pod" else _template(content)).get("spec"))
    for container in items(pod.get("containers")):
        if isinstance(container, dict):
            yield _container(_place(path, content), container, pod, is_job=kind == "Job")


def _container(place: str, container: dict[str, Any], pod: dict[str, Any], *, is_job: bool) -> Served:
    image = str(container.get("image", "")) or None
    server, argv = own_words(image, _words(container.get("command")), _words(container.get("args")))
    limits = mapping(mapping(container.get("resources")).get("limits"))
    probe = container.get("readinessProbe") or container.get("startupProbe") or container.get("livenessProbe")
    ports = [mapping(port) for port in items(container.get("ports"))]
    return Served(
        kind="kubernetes",
        place=f"{place}.{container.get('name', '?')}",
        name=str(container.get("name", "?")),
        server=server,
        image=image,
        argv=argv,
        environment={
            str(entry.get("name")): str(entry["value"])
            for entry in map(mapping, items(container.get("env")))
            if "value" in entry
        },
        ports=tuple(Port(published=str(p["hostPort"]), host_ip=p.get("hostIP")) for p in ports if "hostPort" in p),
        health=("probe",) if probe else None,
        memory_limited="memory" in limits,
        privileged=mapping(container.get("securityContext")).get("privileged") is True,
        host_network=pod.get("hostNetwork") is True,
        is_job=is_job,
    )


def _words(value: object) -> list[str]:
    return [str(word).replace("$$", "$") for word in items(value)]
