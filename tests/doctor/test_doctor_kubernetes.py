"""Kubernetes manifests: every rule with a manifest that it fires on, beside a sound one on which all keep silent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.doctor import RULES, diagnose
from planner.doctor.kubernetes import read_manifests
from planner.doctor.records import Finding, Patient

SOUND = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      volumes: [{name: models, persistentVolumeClaim: {claimName: models}}, {name: shm, emptyDir: {sizeLimit: 8Gi}}]
      containers:
        - name: model
          image: ghcr.io/ggml-org/llama.cpp:server-cuda-b11434
          args: [--model, /models/a.gguf, --ctx-size, "16384"]
          env: [{name: LLAMA_API_KEY, valueFrom: {secretKeyRef: {name: key, key: key}}}]
          ports: [{name: http, containerPort: 8080}]
          startupProbe: {httpGet: {path: /health, port: http}, failureThreshold: 60}
          livenessProbe: {httpGet: {path: /health, port: http}}
          resources: {requests: {memory: 20Gi, nvidia.com/gpu: 1}, limits: {memory: 20Gi, nvidia.com/gpu: "1"}}
          volumeMounts: [{name: models, mountPath: /models}, {name: shm, mountPath: /dev/shm}]
---
apiVersion: v1
kind: Service
metadata: {name: model}
spec: {type: ClusterIP, selector: {app: model}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1.5e11}}}
"""
STARTUP = "          startupProbe: {httpGet: {path: /health, port: http}, failureThreshold: 60}\n"
LIVENESS = "          livenessProbe: {httpGet: {path: /health, port: http}}\n"
KEY = "{name: LLAMA_API_KEY, valueFrom: {secretKeyRef: {name: key, key: key}}}"
# One fault each: the rule, what is replaced, and by what.
FAULTS = [
    ("selector-mismatch", "selector: {app: model}", "selector: {app: modell}"),
    ("selector-mismatch", "matchLabels: {app: model}", "matchLabels: {app: modell}"),
    ("volume-undefined", "[{name: models, mountPath", "[{name: model, mountPath"),
    ("port-mismatch", "targetPort: http", "targetPort: https"),
    ("port-mismatch", "targetPort: http", "targetPort: 8081"),
    ("port-range", "containerPort: 8080", "containerPort: 80800"),
    ("port-range", "{port: 80,", "{port: 0,"),
    ("api-removed", "apiVersion: apps/v1", "apiVersion: extensions/v1beta1"),
    ("quantity-broken", "limits: {memory: 20Gi", "limits: {memory: 20GB"),
    ("quantity-broken", "limits: {memory: 20Gi", "limits: {memory: 512m"),
    ("quantity-broken", "sizeLimit: 8Gi", "sizeLimit: 8 Gi"),
    ("quantity-broken", "storage: 1.5e11", "storage: 150GiB"),
    ("gpu-request", ', nvidia.com/gpu: "1"}', "}"),
    ("gpu-request", "nvidia.com/gpu: 1}", "nvidia.com/gpu: 2}"),
    ("gpu-request", 'requests: {memory: 20Gi, nvidia.com/gpu: 1}, limits: {memory: 20Gi, nvidia.com/gpu: "1"}',
     "limits: {memory: 20Gi, nvidia.com/gpu: 0.5}"),
    ("rollout-stuck", "  strategy: {type: Recreate}\n", ""),
    ("startup-missing", STARTUP, ""),
    ("health-missing", STARTUP + LIVENESS, ""),
    ("memory-unlimited", "limits: {memory: 20Gi, ", "limits: {"),
    ("image-latest", ":server-cuda-b11434", ":latest"),
    ("flag-unknown", "--ctx-size", "--ctxsize"),
    ("secret-in-command", "args: [", "args: [--api-key, abc, "),
    ("secret-inline", KEY, "{name: LLAMA_API_KEY, value: abc}"),
    ("secret-inline", "kind: PersistentVolumeClaim", "kind: Secret\nstringData: {key: abc}"),
    ("port-open", "type: ClusterIP", "type: NodePort"),
    ("port-open", "type: ClusterIP", "externalIPs: [192.0.2.7]"),
    ("port-open", "containerPort: 8080", "containerPort: 8080, hostPort: 8080"),
    ("host-network", "    spec:\n      volumes", "    spec:\n      hostNetwork: true\n      volumes"),
    ("privileged", "          ports:", "          securityContext: {privileged: true}\n          ports:"),
]  # fmt: skip
# What the same rules leave alone.
HARMLESS = [
    ("  strategy: {type: Recreate}\n", "  strategy: {rollingUpdate: {maxSurge: 0}}\n"),
    (STARTUP + LIVENESS, LIVENESS.replace("}}", "}, initialDelaySeconds: 600}")),
    ("targetPort: http", "targetPort: 8080"),
    ("limits: {memory: 20Gi", "limits: {memory: 20e9"),
    ("requests: {memory: 20Gi, nvidia.com/gpu: 1}, ", ""),
    ("ports: [{name: http, containerPort: 8080}]", "ports: []  # 8080"),
]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def of_text(folder: Path, catalog: Catalog, text: str) -> tuple[Finding, ...]:
    (folder / "manifest.yaml").write_text(text)
    return diagnose([folder / "manifest.yaml"], catalog)


def test_a_sound_manifest_is_passed_in_silence(catalog: Catalog, tmp_path: Path) -> None:
    assert of_text(tmp_path, catalog, SOUND) == ()


@pytest.mark.parametrize(("rule", "old", "new"), FAULTS)
def test_one_fault_in_a_sound_manifest_is_found(
    catalog: Catalog, tmp_path: Path, rule: str, old: str, new: str
) -> None:
    assert SOUND.count(old) == 1
    findings = of_text(tmp_path, catalog, SOUND.replace(old, new))
    assert {finding.rule_id for finding in findings} == {rule}
    assert all(finding.text and finding.fix for finding in findings)


@pytest.mark.parametrize(("old", "new"), HARMLESS)
def test_what_is_written_another_way_is_no_fault(catalog: Catalog, tmp_path: Path, old: str, new: str) -> None:
    assert old in SOUND
    text = SOUND.replace(old, new).replace(
        "targetPort: http", "targetPort: 8080" if "# 8080" in new else "targetPort: http"
    )
    assert of_text(tmp_path, catalog, text) == ()


def test_an_open_port_without_a_key_is_an_error(catalog: Catalog, tmp_path: Path) -> None:
    opened = SOUND.replace("type: ClusterIP", "type: LoadBalancer")
    assert [finding.severity for finding in of_text(tmp_path, catalog, opened)] == ["warning"]
    keyless = of_text(tmp_path, catalog, opened.replace(KEY, ""))
    assert [(finding.rule_id, finding.severity) for finding in keyless] == [("port-open", "error")]
    assert "Ingress" in (keyless[0].fix or "")


def test_one_open_port_is_one_finding_however_many_containers_and_copies_stand_behind_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    opened = SOUND.replace("type: ClusterIP", "type: NodePort")
    sidecar = "      containers:\n        - {name: logs, image: 'example/logs:1', ports: [{containerPort: 9}]}\n"
    deployment = opened.split("---")[0]
    copy = deployment.replace("metadata: {name: model}", "metadata: {name: model-2}", 1)
    for text in (opened.replace("      containers:\n", sidecar), f"{opened}---{copy}"):
        (finding,) = of_text(tmp_path, catalog, text)
        assert finding.rule_id == "port-open"
        assert "Deployment/model.model" in finding.place


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from(["Deployment", "Service", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.sampled_from(
    ["containers", "initContainers", "volumes", "volumeMounts", "name", "image", "args", "command", "env", "ports",
     "resources", "limits", "requests", "livenessProbe", "securityContext", "selector", "type", "strategy", "metadata",
     "labels", "template", "spec", "data", "matchLabels", "nvidia.com/gpu", "emptyDir", "sizeLimit", "targetPort"]
)  # fmt: skip
SPECS = st.recursive(
    VALUES, lambda inner: st.dictionaries(PARTS, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=20
)


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(["Deployment", "Pod", "Job", "Service", "Secret", "PersistentVolumeClaim"]) | VALUES,
       spec=SPECS, pod=SPECS, container=st.dictionaries(PARTS, SPECS))  # fmt: skip
def test_no_shape_of_a_manifest_ends_the_doctor(
    catalog: Catalog, kind: object, spec: object, pod: object, container: object
) -> None:
    plain = {"apiVersion": "v1", "kind": kind, "spec": spec, "data": spec, "metadata": pod}
    filled = {"apiVersion": spec, "kind": "Deployment", "spec": {"template": {"spec": {"containers": [container]}}}}
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": {"containers": [container], "volumes": spec}}
    document = read_manifests("k.yaml", [plain, filled, bare, {"apiVersion": "v1", "kind": "Service", "spec": pod}])
    for served in document.served:
        for rule in RULES:
            list(rule(Patient(served, document, catalog, None)))
