"""Parts of Kubernetes manifests that anybody may have written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner.doctor.values import items, mapping

TEMPLATED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


def kind_of(content: dict[str, Any]) -> str:
    """The kind of an object, as text whatever stands there."""
    return str(content.get("kind"))


def place_of(path: str, content: dict[str, Any]) -> str:
    """File, kind and name of an object."""
    return f"{path}: {content.get('kind')}/{mapping(content.get('metadata')).get('name', '?')}"


def template_of(content: dict[str, Any]) -> dict[str, Any]:
    """The pod template of a workload, empty for other kinds."""
    return mapping(mapping(content.get("spec")).get("template")) if kind_of(content) in TEMPLATED else {}


def pod_of(content: dict[str, Any]) -> dict[str, Any]:
    """The pod's specification: a Pod's own, or that of a workload's template."""
    return mapping((content if kind_of(content) == "Pod" else template_of(content)).get("spec"))


def labels_of(content: dict[str, Any]) -> dict[str, Any]:
    """The labels of the pods that an object makes."""
    made = content if kind_of(content) == "Pod" else template_of(content)
    return mapping(mapping(made.get("metadata")).get("labels"))


def selects(selector: object, labels: dict[str, Any]) -> bool:
    """Whether a selector of equal labels is there and matches."""
    wanted = mapping(selector)
    return bool(wanted) and all(name in labels and labels[name] == value for name, value in wanted.items())


def containers_of(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every container of a workload or Pod, those that run first included."""
    pod = pod_of(content)
    for key in ("initContainers", "containers"):
        yield from (container for container in items(pod.get(key)) if isinstance(container, dict))
