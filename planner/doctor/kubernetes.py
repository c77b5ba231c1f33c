"""Kubernetes manifests as programs: every container of every workload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.doctor.kubernetes_faults import manifest_findings
from planner.doctor.kubernetes_parts import TEMPLATED, kind_of, labels_of, place_of, pod_of, selects
from planner.doctor.programs import own_words
from planner.doctor.records import Document, Port, Served
from planner.doctor.values import items, limit_bytes, mapping


def is_manifest(content: object) -> bool:
    """Whether a YAML document is a Kubernetes object."""
    return isinstance(content, dict) and "apiVersion" in content and "kind" in content


def read_manifests(path: str, contents: list[Any]) -> Document:
    """The containers of all workloads in one file; services that reach beyond the cluster count as open ports."""
    manifests = [content for content in contents if is_manifest(content)]
    found = [served for content in manifests for served in _workload(path, content, manifests)]
    return Document(
        path=path, kind="kubernetes", served=tuple(found), findings=tuple(manifest_findings(path, manifests))
    )


def _workload(path: str, content: dict[str, Any], manifests: list[dict[str, Any]]) -> Iterator[Served]:
    if kind_of(content) not in {"Pod", *TEMPLATED}:
        return
    pod = pod_of(content)
    open_ports = _open_ports(content, manifests)
    for container in items(pod.get("containers")):
        if isinstance(container, dict):
            own, open_ports = _split(open_ports, container)
            yield _container(place_of(path, content), container, pod, own, is_job=kind_of(content) == "Job")


def _split(ports: tuple[Port, ...], container: dict[str, Any]) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The ports that lead to this container, as far as it says what it opens, and the others."""
    opened = [mapping(port) for port in items(container.get("ports"))]
    known = {str(port.get(key)) for port in opened for key in ("name", "containerPort")}
    own = tuple(port for port in ports if not opened or port.target in known)
    return own, tuple(port for port in ports if port not in own)


def _open_ports(content: dict[str, Any], manifests: list[dict[str, Any]]) -> tuple[Port, ...]:
    """Ports of Services that lead from outside the cluster to the workload, the first of those that they select."""
    found = []
    for service in manifests:
        spec = mapping(service.get("spec"))
        outside = str(spec.get("type")) in {"NodePort", "LoadBalancer"} or bool(items(spec.get("externalIPs")))
        if kind_of(service) != "Service" or not outside:
            continue
        if next((one for one in manifests if selects(spec.get("selector"), labels_of(one))), None) is content:
            found += [_service_port(port) for port in map(mapping, items(spec.get("ports")))]
    return tuple(found)


def _service_port(port: dict[str, Any]) -> Port:
    number = port.get("port", "?")
    return Port(published=str(port.get("nodePort") or number), target=str(port.get("targetPort", number)))


def _container(
    place: str, container: dict[str, Any], pod: dict[str, Any], open_ports: tuple[Port, ...], *, is_job: bool
) -> Served:
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
        environment=dict(_variable(entry) for entry in map(mapping, items(container.get("env")))),
        ports=(*open_ports, *(_host_port(port) for port in ports if "hostPort" in port)),
        health=("probe",) if probe else None,
        memory_limited="memory" in limits,
        memory_limit_bytes=limit_bytes(limits.get("memory"), decimal=True),
        devices=tuple(f"count {count}" for name, count in limits.items() if "gpu" in name),
        privileged=mapping(container.get("securityContext")).get("privileged") is True,
        host_network=pod.get("hostNetwork") is True,
        is_job=is_job,
    )


def _variable(entry: dict[str, Any]) -> tuple[str, str]:
    """Name and value; of one that comes from a Secret or a field, a reference."""
    return str(entry.get("name")), str(entry["value"]) if "value" in entry else "$valueFrom"


def _host_port(port: dict[str, Any]) -> Port:
    address = port.get("hostIP")
    return Port(published=str(port["hostPort"]), host_ip=str(address) if address else None)


def _words(value: object) -> list[str]:
    return [str(word).replace("$$", "$") for word in items(value)]
