"""Faults of Kubernetes manifests that a schema does not see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from planner.doctor.kubernetes_parts import TEMPLATED, containers_of, kind_of, labels_of, place_of, pod_of, selects
from planner.doctor.programs import server_of_image
from planner.doctor.records import HIGHEST_PORT, Finding, Severity
from planner.doctor.values import items, mapping

# kubernetes.io, "Deprecated API Migration Guide": groups that no served version of Kubernetes has any more.
_REMOVED_APIS = {
    "extensions/v1beta1": "apps/v1, or networking.k8s.io/v1 for an Ingress or NetworkPolicy",
    "apps/v1beta1": "apps/v1",
    "apps/v1beta2": "apps/v1",
    "batch/v1beta1": "batch/v1",
    "policy/v1beta1": "policy/v1",
    "autoscaling/v2beta1": "autoscaling/v2",
    "autoscaling/v2beta2": "autoscaling/v2",
    "networking.k8s.io/v1beta1": "networking.k8s.io/v1",
}
# k8s.io/apimachinery, pkg/api/resource: a number and a suffix of ten or of two, or an exponent.
_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?", re.ASCII)
_GPU = re.compile(r"(nvidia\.com|amd\.com|gpu\.intel\.com)/")
# kubernetes.io, "Configure Probes": what holds where nothing is written.
_PERIOD_S, _FAILURES = 10, 3
# What KServe gives a model to load where nobody says more; large ones take minutes from a slow disk.
_USUAL_START_S = 600


def manifest_findings(path: str, manifests: list[dict[str, Any]]) -> Iterator[Finding]:
    """The faults of one file's objects, object by object."""
    for content in manifests:
        for fault in (
            *_api(content), *_selectors(content, manifests), *_mounts(content), *_quantities(content), *_gpus(content),
            *_ports(content), *_target_ports(content, manifests), *_starts(content), *_secret(content),
        ):  # fmt: skip
            rule_id, severity, key, text, fix = fault
            place = f"{place_of(path, content)}.{key}"
            yield Finding(rule_id=rule_id, severity=severity, place=place, text=text, fix=fix)


# Rule, severity, key below the object, what is wrong, and the remedy.
_Fault = tuple[str, Severity, str, str, str]


def _api(content: dict[str, Any]) -> Iterator[_Fault]:
    version = str(content.get("apiVersion"))
    if version in _REMOVED_APIS:
        yield (
            "api-removed",
            "error",
            "apiVersion",
            f"{version} is gone from Kubernetes",
            f"write {_REMOVED_APIS[version]}",
        )


def _selectors(content: dict[str, Any], manifests: list[dict[str, Any]]) -> Iterator[_Fault]:
    """Selectors that match no labels in the file: a Service without endpoints, a workload that is refused."""
    if kind_of(content) not in {"Service", *TEMPLATED}:
        return
    selector = mapping(mapping(content.get("spec")).get("selector"))
    wanted = mapping(selector.get("matchLabels")) if "matchLabels" in selector else selector
    made = [content] if kind_of(content) in TEMPLATED else [m for m in manifests if pod_of(m)]
    if wanted and made and not any(selects(wanted, labels_of(one)) for one in made):
        text = f"no pod in this file carries the labels {wanted}"
        yield ("selector-mismatch", "error", "selector", text, "write the labels of the pod template")


def _mounts(content: dict[str, Any]) -> Iterator[_Fault]:
    """Mounts of volumes that the pod does not define."""
    claims = [mapping(c).get("metadata") for c in items(mapping(content.get("spec")).get("volumeClaimTemplates"))]
    defined = [mapping(v).get("name") for v in (*items(pod_of(content).get("volumes")), *claims)]
    for container in containers_of(content):
        for mount in map(mapping, items(container.get("volumeMounts"))):
            if mount.get("name") not in defined:
                key = f"{container.get('name', '?')}.volumeMounts"
                text = f"the pod defines no volume {mount.get('name')!r}"
                yield ("volume-undefined", "error", key, text, "define it under spec.template.spec.volumes")


def _amounts(content: dict[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Place, resource and amount of everything that is measured."""
    for container in containers_of(content):
        resources = mapping(container.get("resources"))
        for kind in ("requests", "limits"):
            for name, amount in mapping(resources.get(kind)).items():
                yield f"{container.get('name', '?')}.resources.{kind}.{name}", str(name), amount
    for volume in map(mapping, items(pod_of(content).get("volumes"))):
        if "sizeLimit" in mapping(volume.get("emptyDir")):
            yield f"volumes.{volume.get('name', '?')}.sizeLimit", "memory", volume["emptyDir"]["sizeLimit"]
    if kind_of(content) == "PersistentVolumeClaim":
        wanted = mapping(mapping(mapping(content.get("spec")).get("resources")).get("requests"))
        yield from ((f"resources.requests.{name}", str(name), amount) for name, amount in wanted.items())


def _quantities(content: dict[str, Any]) -> Iterator[_Fault]:
    for key, name, amount in _amounts(content):
        if not _QUANTITY.fullmatch(str(amount)):
            yield (
                "quantity-broken",
                "error",
                key,
                f"{amount!r} is no quantity",
                "write a number with Gi, Mi, G, M or m",
            )
        elif name in {"memory", "storage", "ephemeral-storage"} and str(amount).endswith(("m", "u", "n")):
            yield ("quantity-broken", "error", key, f"{amount} is a part of one byte", "write M or Mi")


def _gpus(content: dict[str, Any]) -> Iterator[_Fault]:
    """Device plugins take whole cards, with equal requests and limits; a second pod needs a second set of them."""
    has_gpus = False
    for container in containers_of(content):
        resources = mapping(container.get("resources"))
        requests, limits = mapping(resources.get("requests")), mapping(resources.get("limits"))
        for name in sorted({str(n) for n in (*requests, *limits) if _GPU.match(str(n))}):
            has_gpus = True
            asked, limit = requests.get(name, limits.get(name)), limits.get(name)
            if str(asked) != str(limit) or not str(limit).isdigit():
                key = f"{container.get('name', '?')}.resources"
                text = f"{name}: {asked} requested, {limit} as limit"
                yield ("gpu-request", "error", key, text, "write the same whole number under limits")
    strategy = mapping(mapping(content.get("spec")).get("strategy"))
    surge = mapping(strategy.get("rollingUpdate")).get("maxSurge")
    if has_gpus and kind_of(content) == "Deployment" and strategy.get("type") != "Recreate" and surge not in (0, "0%"):
        text = "an update starts the new pod beside the old one, which still holds the GPUs: it may wait for ever"
        yield ("rollout-stuck", "warning", "strategy", text, "type: Recreate")


def _numbers(content: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for container in containers_of(content):
        for port in map(mapping, items(container.get("ports"))):
            key = f"{container.get('name', '?')}.ports"
            yield from ((key, port[name]) for name in ("containerPort", "hostPort") if name in port)
    if kind_of(content) == "Service":
        for port in map(mapping, items(mapping(content.get("spec")).get("ports"))):
            yield from (("ports", port[name]) for name in ("port", "targetPort", "nodePort") if name in port)


def _ports(content: dict[str, Any]) -> Iterator[_Fault]:
    for key, number in _numbers(content):
        if isinstance(number, int) and not 1 <= number <= HIGHEST_PORT:
            yield ("port-range", "error", key, f"port {number} does not exist", f"use one up to {HIGHEST_PORT}")


def _target_ports(content: dict[str, Any], manifests: list[dict[str, Any]]) -> Iterator[_Fault]:
    """Where a Service leads, of the pods in the file that it selects and that say which ports they open."""
    spec = mapping(content.get("spec"))
    if kind_of(content) != "Service":
        return
    chosen = [one for one in manifests if pod_of(one) and selects(spec.get("selector"), labels_of(one))]
    opened = [mapping(p) for one in chosen for c in containers_of(one) for p in items(c.get("ports"))]
    known = {str(port.get(key)) for port in opened for key in ("name", "containerPort") if key in port}
    for port in map(mapping, items(spec.get("ports"))):
        target = str(port.get("targetPort", port.get("port")))
        if chosen and target not in known and (known or not target.isdigit()):
            text = f"the pods that it selects open no port {target}"
            yield ("port-mismatch", "error", "ports", text, "write the name or number of a container's port")


def _starts(content: dict[str, Any]) -> Iterator[_Fault]:
    """A liveness probe without a startup probe counts from the first second, while the weights still load."""
    for container in containers_of(content):
        liveness = mapping(container.get("livenessProbe"))
        server = server_of_image(str(container.get("image", "")))
        if server is None or not liveness or container.get("startupProbe"):
            continue
        patience_s = _seconds(liveness, "initialDelaySeconds", 0)
        patience_s += _seconds(liveness, "periodSeconds", _PERIOD_S) * _seconds(liveness, "failureThreshold", _FAILURES)
        if patience_s < _USUAL_START_S:
            text = f"has {patience_s} s to load its model; then it is ended and starts over"
            fix = "add a startupProbe whose failureThreshold x periodSeconds covers the load"
            yield ("startup-missing", "warning", f"{container.get('name', '?')}.livenessProbe", text, fix)


def _seconds(probe: dict[str, Any], key: str, usual: int) -> int:
    value = probe.get(key, usual)
    return value if isinstance(value, int) else usual


def _secret(content: dict[str, Any]) -> Iterator[_Fault]:
    if kind_of(content) == "Secret":
        for key in ("data", "stringData"):
            if any(mapping(content.get(key)).values()):
                text = "the secret stands in the file, readable for everybody who reads the repository"
                yield ("secret-inline", "error", key, text, "kubectl create secret, from a file that stays outside")
