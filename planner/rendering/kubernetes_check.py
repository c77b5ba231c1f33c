"""Rendered manifests read back: each must say what fed it."""

from __future__ import annotations

from typing import Any

from planner.errors import RenderError
from planner.rendering.kubernetes_pod import Config, Pod, PodContainer
from planner.rendering.parsing import kubernetes_value, yaml_documents
from planner.rendering.words import must_equal


def check_pods(text: str, file: str, pods: tuple[Pod, ...], config: Config | None) -> None:
    """Raises RenderError where a command, variable, image, mount or configuration file is not what was planned."""
    found = {(d.get("kind"), d.get("metadata", {}).get("name")): d for d in yaml_documents(text, file)}
    for pod in pods:
        workload = found.get(("Job" if pod.job else "Deployment", pod.name))
        if workload is None:
            raise RenderError(f"{pod.name} is missing in {file}", hint="a template leaves it out")
        _check_pod(workload["spec"]["template"], file, pod)
    if config is not None:
        data = (found.get(("ConfigMap", config.name)) or {}).get("data")
        must_equal(f"ConfigMap {config.name} of {file}", dict(config.files), data)


def _check_pod(template: dict[str, Any], file: str, pod: Pod) -> None:
    what, spec = f"{pod.name} of {file}", template["spec"]
    must_equal(f"labels of {what}", dict(pod.labels), template["metadata"]["labels"])
    must_equal(f"volumes of {what}", [v.name for v in pod.volumes], [v["name"] for v in spec.get("volumes") or ()])
    must_equal(f"containers of {what}", [c.name for c in pod.containers], [c["name"] for c in spec["containers"]])
    for container, found in zip(pod.containers, spec["containers"], strict=True):
        _check_container(found, f"{container.name} of {what}", container)


def _check_container(found: dict[str, Any], what: str, container: PodContainer) -> None:
    must_equal(f"image of {what}", container.image, found.get("image"))
    for key, words in (("command", container.command), ("args", container.args)):
        must_equal(f"{key} of {what}", words, tuple(kubernetes_value(w, {}) for w in found.get(key) or ()))
    variables = {e["name"]: kubernetes_value(e["value"], {}) for e in found.get("env") or () if "value" in e}
    must_equal(f"env of {what}", dict(container.environment), variables)
    mounts = [(m["name"], m["mountPath"], m.get("subPath", "")) for m in found.get("volumeMounts") or ()]
    must_equal(f"mounts of {what}", [(m.volume, m.path, m.sub_path) for m in container.mounts], mounts)
    limits = (found.get("resources") or {}).get("limits") or {}
    must_equal(f"limits of {what}", dict(container.limits), limits)
