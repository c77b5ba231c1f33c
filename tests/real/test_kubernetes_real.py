"""Manifests of the examples through kubernetes-validate and kubectl's own Kustomize, which send what was planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import planner
from planner.rendering.parsing import compose_value, kubernetes_value
from planner.rendering.write import write_bundle
from tests.real.judges import kustomized, manifest_objections

pytestmark = pytest.mark.tools

EXAMPLES = Path(__file__).parents[2] / "examples"
BUNDLES = sorted(EXAMPLES.glob("*/bundle/kubernetes"))


def manifests(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.yaml") if path.name != "kustomization.yaml")


def test_a_models_folder_of_the_node_gives_valid_manifests(tmp_path: Path) -> None:
    plan = planner.load_plan(EXAMPLES / "cpu-vm" / "plan.json")
    write_bundle(planner.render(plan, "kubernetes", models_dir="/srv/models"), tmp_path)
    assert manifest_objections(*manifests(tmp_path)) == ""


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.parts[-3])
def test_examples_are_valid_and_kustomize_sends_all_but_the_jobs(folder: Path) -> None:
    assert manifest_objections(*manifests(folder)) == ""
    sent = list(yaml.safe_load_all(kustomized(folder)))
    written = [
        d for path in manifests(folder) if path.parent.name != "jobs" for d in yaml.safe_load_all(path.read_text())
    ]
    assert sorted(map(str, map(in_order, sent))) == sorted(map(str, map(in_order, written)))


def in_order(value: Any) -> Any:
    """The value with the keys of its mappings sorted: Kustomize writes them in an order of its own."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.parts[-3])
def test_pods_are_told_what_compose_is_told(folder: Path) -> None:
    """Image, words, variables and memory of each service, decoded from both files."""
    services = yaml.safe_load((folder.parent / "compose" / "compose.yaml").read_text())["services"]
    sent = [d for d in yaml.safe_load_all(kustomized(folder)) if d["kind"] == "Deployment"]
    pods = {d["metadata"]["name"].removeprefix("planner-"): d["spec"]["template"]["spec"] for d in sent}
    assert pods.keys() == {name for name in services if name != "pull" and not name.startswith("prepare-")}
    for name in pods.keys() - {"router"}:
        service, (container,) = services[name], pods[name]["containers"]
        assert container["image"] == service["image"]
        for key, other in (("command", "entrypoint"), ("args", "command")):
            words = [kubernetes_value(word, {}) for word in container.get(key, [])]
            assert words == [compose_value(word, {}) for word in service.get(other, [])]
        given = {entry["name"]: kubernetes_value(entry["value"], {}) for entry in container.get("env", [])}
        assert given == {key: compose_value(text, {}) for key, text in service.get("environment", {}).items()}
        assert container["resources"]["limits"]["memory"] + "b" == service["deploy"]["resources"]["limits"]["memory"]


def test_there_are_bundles() -> None:
    assert len(BUNDLES) >= 5
