"""Kubernetes bundles: what the manifests ask for, what they close, and what they cannot be asked."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from planner.catalog.records import Image
from planner.errors import RenderError
from planner.hardware.facts import Cpu, Gpu
from planner.rendering import Bundle, RenderOptions, lay_out
from planner.rendering.bundle import CannotServe
from planner.rendering.deployment import Unit
from planner.servers.records import Argument, ConfigFile
from planner.units import GIB
from tests.rendering import plans
from tests.rendering.test_same_argv import WORD

SCHEMA = Path(__file__).parents[1] / "data" / "schemas" / "kubernetes-1.34-subset-strict.json"
CASES = [case for case in plans.CASES if case != "mac"]


def rendered(case: str, **options: object) -> Bundle:
    plan, units = plans.CASES[case]()
    return lay_out(plan, units, "kubernetes", RenderOptions(**options))  # type: ignore[arg-type]


def objects(bundle: Bundle) -> list[dict[str, Any]]:
    return [d for path, text in bundle.items() if path.endswith(".yaml") for d in yaml.safe_load_all(text)]


def workloads(bundle: Bundle) -> list[dict[str, Any]]:
    return [found for found in objects(bundle) if found["kind"] in {"Deployment", "Job"}]


def pod_of(bundle: Bundle, name: str) -> dict[str, Any]:
    return next(w["spec"]["template"]["spec"] for w in workloads(bundle) if w["metadata"]["name"] == name)


def server_of(bundle: Bundle, name: str = "planner-interactive") -> dict[str, Any]:
    container: dict[str, Any] = pod_of(bundle, name)["containers"][0]
    return container


@pytest.mark.parametrize("case", CASES)
def test_every_manifest_satisfies_the_strict_schema(case: str) -> None:
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    for found in objects(rendered(case)):
        if found["kind"] != "Kustomization":
            validator.validate(found)


@pytest.mark.parametrize("case", CASES)
def test_the_kustomization_names_every_manifest_but_the_jobs(case: str) -> None:
    bundle = rendered(case)
    resources = yaml.safe_load(bundle["kustomization.yaml"])["resources"]
    manifests = {path for path in bundle if path.endswith(".yaml")} - {"kustomization.yaml"}
    assert set(resources) == {path for path in manifests if not path.startswith("jobs/")}


@pytest.mark.parametrize("case", CASES)
def test_services_select_exactly_their_own_pods(case: str) -> None:
    bundle = rendered(case)
    pods = {w["metadata"]["name"]: w["spec"]["template"]["metadata"]["labels"] for w in workloads(bundle)}
    services = [found for found in objects(bundle) if found["kind"] == "Service"]
    assert services
    for service in services:
        selector = service["spec"]["selector"].items()
        chosen = [name for name, labels in pods.items() if selector <= labels.items()]
        assert chosen == [service["metadata"]["name"]]
        opened = pod_of(bundle, chosen[0])["containers"][0]["ports"][0]
        assert service["spec"]["ports"][0]["port"] == opened["containerPort"]
        assert service["spec"]["type"] == "ClusterIP"


@pytest.mark.parametrize("case", CASES)
def test_the_router_finds_its_backends_by_the_names_of_services(case: str) -> None:
    bundle = rendered(case)
    config = [f for f in objects(bundle) if f["kind"] == "ConfigMap" and f["metadata"]["name"] == "planner-router"]
    ports = {f["metadata"]["name"]: f["spec"]["ports"][0]["port"] for f in objects(bundle) if f["kind"] == "Service"}
    for found in config:
        for backend in json.loads(found["data"]["router.json"])["backends"]:
            host, port = backend["url"].removeprefix("http://").split(":")
            assert ports[host] == int(port)


@pytest.mark.parametrize("case", CASES)
def test_pods_meet_the_security_standard_that_their_namespace_enforces(case: str) -> None:
    """kubernetes.io, "Pod Security Standards", the profile Restricted."""
    bundle = rendered(case)
    namespace = next(f for f in objects(bundle) if f["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(bundle):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for volume in pod["volumes"]:
            assert len(volume.keys() & {"persistentVolumeClaim", "configMap", "secret", "emptyDir"}) == 1
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True


def test_an_image_that_decides_its_user_lowers_the_standard_and_nothing_else() -> None:
    plan, (unit,) = plans.cpu()
    service = replace(unit.service, server="localai")
    own = replace(unit, service=service, launch=replace(unit.launch, server="localai"), image=None)
    bundle = lay_out(plan, (own,), "kubernetes")
    assert 'enforce: "baseline"' in bundle["cluster/namespace.yaml"]
    assert "runAsUser" not in pod_of(bundle, "planner-interactive")["securityContext"]


def test_a_user_without_a_number_is_refused() -> None:
    plan, (unit,) = plans.cpu()
    image = Image(backend="cpu", reference=unit.launch.image or "", user="llama")
    with pytest.raises(RenderError, match="'llama' of the image is no number"):
        lay_out(plan, (replace(unit, image=image),), "kubernetes")


@pytest.mark.parametrize("seconds", [60, 61, 95, 600])
def test_a_pod_has_the_whole_load_budget_before_it_is_started_again(seconds: int) -> None:
    plan, (unit,) = plans.cpu()
    bundle = lay_out(plan, (replace(unit, launch=replace(unit.launch, start_seconds=seconds)),), "kubernetes")
    startup = server_of(bundle)["startupProbe"]
    assert startup["periodSeconds"] == 10
    assert startup["failureThreshold"] == math.ceil(seconds / 10)
    assert startup["httpGet"]["path"] == unit.launch.health.path
    deployment = next(w for w in workloads(bundle) if w["metadata"]["name"] == "planner-interactive")
    assert deployment["spec"]["progressDeadlineSeconds"] > seconds


def test_the_router_is_not_started_again_because_its_servers_are_down() -> None:
    router = server_of(rendered("team-router"), "planner-router")
    assert router["readinessProbe"]["httpGet"]["path"] == "/health"
    assert router["livenessProbe"]["tcpSocket"] == router["startupProbe"]["tcpSocket"] == {"port": "http"}


def test_limits_are_those_of_the_plan() -> None:
    bundle = rendered("team-router")
    gpu = server_of(bundle)["resources"]
    assert gpu["limits"] == {"memory": str(24 * GIB), "nvidia.com/gpu": "2"}
    assert gpu["requests"]["memory"] == gpu["limits"]["memory"]
    assert gpu["requests"]["nvidia.com/gpu"] == "2"
    shared = next(v for v in pod_of(bundle, "planner-interactive")["volumes"] if v["name"] == "shared-memory")
    assert shared["emptyDir"] == {"medium": "Memory", "sizeLimit": str(8 * GIB)}
    for workload in workloads(bundle):
        if workload["kind"] == "Deployment":
            assert workload["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("vendor", "backend", "architecture", "resource"),
    [
        ("nvidia", "cuda", None, "nvidia.com/gpu"),
        ("amd", "rocm", None, "amd.com/gpu"),
        ("intel", "sycl", "Xe-HPG", "gpu.intel.com/i915"),
        ("intel", "vulkan", "Xe2-HPG", "gpu.intel.com/xe"),
    ],
)
def test_the_vendor_of_the_cards_names_the_resource(
    vendor: str, backend: str, architecture: str | None, resource: str
) -> None:
    plan, units = plans.team()
    cards = tuple(
        Gpu(vendor=vendor, name="card", backend=backend, architecture=architecture, memory_bytes=24 * GIB)  # type: ignore[arg-type]
        for _ in range(2)
    )
    launch = replace(
        units[0].launch,
        backend=backend,  # type: ignore[arg-type]
        environment=(("ROCR_VISIBLE_DEVICES", "1"), ("KEPT", "1")),
        device_variable="ROCR_VISIBLE_DEVICES",
    )
    plan = replace(plan, hardware=replace(plan.hardware, gpus=cards))
    bundle = lay_out(plan, (replace(units[0], launch=launch), units[1]), "kubernetes")
    container = server_of(bundle)
    assert container["resources"]["limits"][resource] == "2"
    # The plugin shows the pod its own cards, counted from 0.
    assert "ROCR_VISIBLE_DEVICES" not in {entry["name"] for entry in container["env"]}
    assert "KEPT" in {entry["name"] for entry in container["env"]}
    groups = pod_of(bundle, "planner-interactive")["securityContext"].get("supplementalGroups")
    assert groups == (None if vendor == "nvidia" else [44, 992])


def test_cards_of_two_vendors_are_refused() -> None:
    plan, units = plans.team()
    cards = (plan.hardware.gpus[0], replace(plan.hardware.gpus[1], vendor="amd"))
    with pytest.raises(RenderError, match="different vendors"):
        lay_out(replace(plan, hardware=replace(plan.hardware, gpus=cards)), units, "kubernetes")


def test_two_services_on_one_card_are_told_what_a_device_plugin_does() -> None:
    plan, (gpu, batch) = plans.team()
    assert "all but one stay Pending" not in lay_out(plan, (gpu, batch), "kubernetes")["README.md"]
    both = replace(batch, launch=replace(batch.launch, gpu_indexes=(0,), backend="cuda"))
    both = replace(both, service=replace(both.service, placement=replace(both.service.placement, gpus=(0,))))
    assert "all but one stay Pending" in lay_out(plan, (gpu, both), "kubernetes")["README.md"]


@pytest.mark.parametrize(("threads", "cpus"), [(32, "15"), (64, "14")])
def test_bound_copies_ask_for_whole_cpus_and_leave_a_core_to_the_system(threads: int, cpus: str) -> None:
    """Guaranteed pods with whole CPUs are what the kubelet's static policy places; 32 threads on 32 cores, or 64."""
    plan, units = plans.per_node()
    cpu = Cpu(model="Xeon", cores=32, threads=threads, sockets=2)
    bundle = lay_out(replace(plan, hardware=replace(plan.hardware, cpu=cpu)), units, "kubernetes")
    for copy in ("planner-interactive-0", "planner-interactive-1"):
        resources = server_of(bundle, copy)["resources"]
        assert resources["requests"] == resources["limits"] == {"cpu": cpus, "memory": str(14 * GIB)}
    assert "A manifest cannot bind memory to a NUMA node" in bundle["README.md"]
    assert f"16 threads on {cpus} CPUs of its own" in bundle["README.md"]
    assert "numactl --hardware" not in bundle["README.md"]


def test_a_copy_that_leaves_other_nodes_to_the_system_has_its_node_alone() -> None:
    bundle = rendered("cpu-numa")
    assert server_of(bundle)["resources"]["limits"]["cpu"] == "16"
    assert "CPUs of its own" not in bundle["README.md"]


def test_what_is_not_bound_may_use_every_idle_cpu() -> None:
    resources = server_of(rendered("team-router"))["resources"]
    assert "cpu" in resources["requests"]
    assert "cpu" not in resources["limits"]


def test_interleaving_is_told_to_be_impossible() -> None:
    plan, (unit,) = plans.cpu()
    launch = replace(unit.launch, numa="interleave", numa_nodes=(0, 1))
    text = lay_out(plan, (replace(unit, launch=launch),), "kubernetes")["README.md"]
    assert "interleaved over NUMA nodes, which no manifest can ask for" in text
    assert "A manifest cannot bind" not in text


def policies(bundle: Bundle) -> dict[str, dict[str, Any]]:
    return {f["metadata"]["name"]: f["spec"] for f in objects(bundle) if f["kind"] == "NetworkPolicy"}


def test_servers_hear_the_router_only_and_reach_nothing() -> None:
    found = policies(rendered("team-router"))
    assert found["planner-closed"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = found["planner-servers"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "router"}}}]
    assert [port["port"] for port in rule["ports"]] == [8000, 8081]
    assert found["planner-servers"]["policyTypes"] == ["Ingress"]
    assert found["planner-router"]["egress"][0]["ports"] == rule["ports"]


def test_only_jobs_and_servers_that_fetch_reach_the_internet() -> None:
    bundle = rendered("team-router")
    online = {
        w["metadata"]["name"]
        for w in workloads(bundle)
        if w["spec"]["template"]["metadata"]["labels"].get("planner/internet") == "yes"
    }
    assert online == {"planner-pull"}
    assert policies(bundle)["planner-downloads"]["egress"][0] == {"ports": [{"protocol": "TCP", "port": 443}]}


def test_a_key_is_a_file_of_a_secret_that_is_never_rendered() -> None:
    bundle = rendered("team-router")
    assert not [found for found in objects(bundle) if found["kind"] == "Secret"]
    for name in ("planner-interactive", "planner-batch", "planner-router"):
        volume = next(v for v in pod_of(bundle, name)["volumes"] if "secret" in v)
        assert volume["secret"]["secretName"] == "planner-api-key"
        assert volume["secret"]["defaultMode"] == 0o440
        mount = next(m for m in server_of(bundle, name)["volumeMounts"] if m["name"] == volume["name"])
        assert (mount["mountPath"], mount["readOnly"]) == ("/run/secrets", True)
    assert "create secret generic planner-api-key --from-file=api_key=/dev/stdin" in bundle["README.md"]


def test_models_are_pulled_by_a_job_and_read_only_to_servers() -> None:
    bundle = rendered("cpu-numa")
    job = pod_of(bundle, "planner-pull")["containers"][0]
    assert job["command"] == [
        "hf", "download", "Qwen/Qwen3-14B-GGUF", "Qwen3-14B-Q4_K_M.gguf", "--revision", "abc123", "--local-dir",
        "/models",
    ]  # fmt: skip
    mounts = {m["mountPath"]: m["readOnly"] for m in server_of(bundle)["volumeMounts"]}
    assert mounts["/models"] is True
    claim = next(f for f in objects(bundle) if f["kind"] == "PersistentVolumeClaim")
    # 8.4 GiB and a quarter, up to a power of two.
    assert claim["spec"]["resources"]["requests"]["storage"] == "16Gi"


def test_every_claim_and_config_map_that_a_pod_mounts_is_rendered() -> None:
    for case in CASES:
        bundle = rendered(case)
        names = {(f["kind"], f["metadata"]["name"]) for f in objects(bundle) if f["kind"] != "Kustomization"}
        for workload in workloads(bundle):
            for volume in workload["spec"]["template"]["spec"]["volumes"]:
                if "persistentVolumeClaim" in volume:
                    assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in names


def test_a_models_folder_becomes_a_volume_of_the_planned_machine() -> None:
    bundle = rendered("cpu-numa", models_dir="/srv/my models")
    volume, claim = yaml.safe_load_all(bundle["cluster/storage.yaml"])
    assert volume["spec"]["local"] == {"path": "/srv/my models"}
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["capacity"]["storage"] == claim["spec"]["resources"]["requests"]["storage"]
    assert "delete persistentvolume planner-models" in bundle["README.md"]
    with pytest.raises(RenderError, match="relative"):
        rendered("cpu-numa", models_dir="models")


def test_a_preparing_job_holds_its_script_and_modelfile() -> None:
    bundle = rendered("ollama")
    config = next(
        f
        for f in objects(bundle)
        if f["kind"] == "ConfigMap" and f["metadata"]["name"] == "planner-prepare-interactive"
    )
    _, (unit,) = plans.ollama()
    assert config["data"]["interactive.Modelfile"] == unit.launch.config_files[0].text
    assert "ollama create qwen3-14b -f /config/interactive.Modelfile" in config["data"]["prepare.sh"]
    assert pod_of(bundle, "planner-prepare-interactive")["containers"][0]["command"] == [
        "/bin/sh",
        "/config/prepare.sh",
    ]
    assert "job/planner-prepare-interactive" in bundle["README.md"]


def with_config(text: str, path: str = "model.yaml") -> Unit:
    _, (unit,) = plans.cpu()
    argv = (*unit.launch.argv, Argument(text="--config"), Argument(text=path, kind="config"))
    return replace(unit, launch=replace(unit.launch, argv=argv, config_files=(ConfigFile(path=path, text=text),)))


def digest_of(bundle: Bundle) -> str:
    (found,) = re.findall(r'planner/config-digest: "(\w+)"', bundle["interactive.yaml"])
    return str(found)


def test_a_change_of_configuration_makes_a_new_pod() -> None:
    plan, _ = plans.cpu()
    one, two = (lay_out(plan, (with_config(text),), "kubernetes") for text in ("a: 1\n", "a: 2\n"))
    assert digest_of(one) != digest_of(two)
    assert {m["mountPath"] for m in server_of(one)["volumeMounts"]} >= {"/config"}
    with pytest.raises(RenderError, match="cannot lie in a ConfigMap"):
        lay_out(plan, (with_config("", "a/b.yaml"),), "kubernetes")


@settings(max_examples=60, deadline=None)
@given(WORD, st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40))
def test_hostile_names_and_files_reach_the_pod_as_they_are(text: str, file: str) -> None:
    """Through the YAML reader and the expansion that the API documents: `$$` is `$`, `$(NAME)` a variable."""
    plan, _ = plans.cpu()
    unit = with_config(file)
    argv = (*unit.launch.argv, Argument(text=text))
    launch = replace(unit.launch, argv=argv, environment=(("ODD", text),))
    service = replace(unit.service, model_name=text)
    bundle = lay_out(plan, (replace(unit, launch=launch, service=service),), "kubernetes")
    container = server_of(bundle)
    assert expanded(container["args"][len(launch.argv) - 2]) == text
    assert {e["name"]: expanded(e["value"]) for e in container["env"]} == {"ODD": text}
    config = next(f for f in objects(bundle) if f["kind"] == "ConfigMap")
    assert config["data"] == {"model.yaml": file}


def expanded(text: str) -> str:
    """k8s.io/kubernetes third_party/forked/golang/expansion: one pass, left to right; unknown variables stay."""
    made, index = "", 0
    while index < len(text):
        if text[index] == "$" and index + 1 < len(text):
            assert text[index + 1] == "$", "a bare $ stands in a rendered value"
            index += 1
        made += text[index]
        index += 1
    return made


def test_a_plan_that_pods_cannot_serve_names_the_target_that_can() -> None:
    plan, units = plans.mac()
    with pytest.raises(CannotServe, match="Apple GPU") as caught:
        lay_out(plan, units, "kubernetes")
    assert "launchd" in (caught.value.hint or "")
    with pytest.raises(CannotServe, match="bind no address") as caught:
        rendered("cpu-numa", bind="192.0.2.7")
    assert "Ingress" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["kustomization", "router"])
def test_a_service_cannot_take_the_name_of_another_file(name: str) -> None:
    plan, (unit,) = plans.ollama()
    with pytest.raises(RenderError, match=r"want the file|cannot name files"):
        lay_out(plan, (replace(unit, service=replace(unit.service, name=name)),), "kubernetes")
