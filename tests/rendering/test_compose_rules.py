"""What no schema sees in a compose file, each rule over every case."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from planner.errors import RenderError
from planner.rendering import RenderOptions, lay_out
from tests.rendering import plans

CASES = [case for case in plans.CASES if case != "mac"]


def document(case: str, **options: Any) -> dict[str, Any]:
    plan, units = plans.CASES[case]()
    found = yaml.safe_load(lay_out(plan, units, "compose", RenderOptions(**options))["compose.yaml"])
    assert isinstance(found, dict)
    return found


def servers(found: dict[str, Any]) -> dict[str, Any]:
    return {name: s for name, s in found["services"].items() if "profiles" not in s}


@pytest.mark.parametrize("case", CASES)
def test_only_one_door_is_open_and_only_to_this_machine(case: str) -> None:
    found = document(case)
    published = {name: s["ports"] for name, s in found["services"].items() if "ports" in s}
    assert list(published) == (["router"] if "router" in found["services"] else ["interactive"])
    for ports in published.values():
        assert [port["host_ip"] for port in ports] == ["127.0.0.1"]


@pytest.mark.parametrize("case", CASES)
def test_waiting_for_health_needs_a_health_check(case: str) -> None:
    found = document(case)
    for service in found["services"].values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in found["services"][name]


@pytest.mark.parametrize("case", CASES)
def test_every_server_is_confined(case: str) -> None:
    for name, service in servers(document(case)).items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["init"] is True, name
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert "privileged" not in service, name
        assert "runtime" not in service, name
        assert service["deploy"]["resources"]["limits"]["memory"], name


@pytest.mark.parametrize("case", CASES)
def test_there_is_no_version_and_images_are_pinned(case: str) -> None:
    found = document(case)
    assert "version" not in found
    assert found["name"] == "planner"
    for service in found["services"].values():
        tag = service["image"].partition("@")[0].rpartition(":")[2]
        assert tag not in ("", "latest")
        if "@" in service["image"]:
            assert re.search(r"@sha256:[0-9a-f]{64}$", service["image"])


@pytest.mark.parametrize("case", CASES)
def test_named_volumes_networks_and_secrets_exist(case: str) -> None:
    found = document(case)
    for service in found["services"].values():
        for volume in service.get("volumes", []):
            if volume["type"] == "volume":
                assert volume["source"] in found["volumes"]
        assert set(service.get("secrets", [])) <= set(found.get("secrets", {}))
        assert set(service["networks"]) <= set(found["networks"])


@pytest.mark.parametrize("case", CASES)
def test_bound_files_are_in_the_bundle(case: str) -> None:
    plan, units = plans.CASES[case]()
    bundle = lay_out(plan, units, "compose")
    for service in yaml.safe_load(bundle["compose.yaml"])["services"].values():
        sources = [v["source"] for v in service.get("volumes", []) if v["type"] == "bind"]
        for source in sources:
            if source.startswith("./"):
                name = source.removeprefix("./")
                assert name in bundle or any(path.startswith(name + "/") for path in bundle)
        if "build" in service:
            assert f"{service['build']['context'].removeprefix('./')}/Dockerfile" in bundle


def test_behind_a_router_servers_have_no_way_out() -> None:
    found = document("team-router")
    assert found["networks"]["backend"]["internal"] is True
    for name in ("interactive", "batch"):
        assert found["services"][name]["networks"] == ["backend"]
    assert found["services"]["pull"]["networks"] == ["edge"]
    for name in ("interactive", "batch", "router"):
        assert "HF_TOKEN" not in found["services"][name].get("environment", {})


def test_no_key_stands_in_a_command() -> None:
    found = document("team-router")["services"]
    assert found["interactive"]["secrets"] == found["batch"]["secrets"] == found["router"]["secrets"] == ["api_key"]
    assert "--api-key" not in found["interactive"]["command"]
    assert found["batch"]["command"][found["batch"]["command"].index("--api-key-file") + 1] == "/run/secrets/api_key"


def test_gpus_are_given_by_uuid_and_never_also_by_count() -> None:
    (request,) = document("team-router")["services"]["interactive"]["deploy"]["resources"]["reservations"]["devices"]
    assert request["driver"] == "nvidia"
    assert request["capabilities"] == ["gpu"]
    assert len(request["device_ids"]) == 2
    assert "count" not in request


def test_gpus_without_uuids_are_given_by_count_when_all_are_used() -> None:
    plan, (gpu, batch) = plans.team()
    bare = replace(gpu, launch=replace(gpu.launch, gpu_uuids=()))
    text = lay_out(plan, (bare, batch), "compose")["compose.yaml"]
    (request,) = yaml.safe_load(text)["services"]["interactive"]["deploy"]["resources"]["reservations"]["devices"]
    assert request["count"] == 2
    one = replace(gpu, launch=replace(gpu.launch, gpu_uuids=(), gpu_indexes=(1,)))
    text = lay_out(plan, (one, batch), "compose")["compose.yaml"]
    (request,) = yaml.safe_load(text)["services"]["interactive"]["deploy"]["resources"]["reservations"]["devices"]
    assert request["device_ids"] == ["1"]


def test_amd_gpus_are_given_as_devices_and_groups() -> None:
    plan, (unit, _) = plans.team()
    amd = tuple(replace(gpu, vendor="amd", backend="rocm") for gpu in plan.hardware.gpus)
    plan = replace(plan, hardware=replace(plan.hardware, gpus=amd), router=None)
    rocm = replace(unit, launch=replace(unit.launch, backend="rocm"))
    bundle = lay_out(plan, (rocm,), "compose")
    service = yaml.safe_load(bundle["compose.yaml"])["services"]["interactive"]
    assert service["devices"] == ["/dev/kfd", "/dev/dri"]
    assert service["group_add"] == ["${PLANNER_VIDEO_GID:-44}", "${PLANNER_RENDER_GID:-992}"]
    assert "reservations" not in service["deploy"]["resources"]
    assert "PLANNER_RENDER_GID=992" in bundle[".env.example"]


def test_numa_is_a_cpuset_and_a_slice_with_the_nodes_memory() -> None:
    plan, units = plans.cpu()
    bundle = lay_out(plan, units, "compose")
    service = yaml.safe_load(bundle["compose.yaml"])["services"]["interactive"]
    assert (service["cpuset"], service["cgroup_parent"]) == ("0-15", "planner-numa0.slice")
    assert "AllowedMemoryNodes=0\n" in bundle["slices/planner-numa0.slice"]
    assert "numactl" not in service.get("entrypoint", [])
    assert service["ulimits"]["memlock"] == {"soft": -1, "hard": -1}


def test_one_instance_per_node_is_one_container_per_node() -> None:
    found = document("per-node")["services"]
    assert found["interactive-0"]["cpuset"] == "0-15"
    assert found["interactive-1"]["cpuset"] == "16-31"
    assert set(found["router"]["depends_on"]) == {"interactive-0", "interactive-1"}


def test_a_server_that_writes_models_runs_as_their_owner() -> None:
    found = document("ollama")["services"]
    assert found["interactive"]["user"] == "${PLANNER_UID:-1000}:${PLANNER_GID:-1000}"
    assert found["interactive"]["environment"]["OLLAMA_MODELS"] == "/models"
    assert found["interactive"]["environment"]["OLLAMA_HOST"] == "0.0.0.0:11434"
    assert found["prepare-interactive"]["networks"] == ["edge"]
    assert found["interactive"]["networks"] == ["backend"]


def test_compilers_may_execute_what_they_write() -> None:
    service = document("team-router")["services"]["interactive"]
    assert "/tmp:exec,mode=1777" in service["tmpfs"]
    assert service["shm_size"] == f"{8 * 1024**3}b"


def test_digests_can_be_required_and_latest_is_refused() -> None:
    with pytest.raises(RenderError, match="no digest is known"):
        document("cpu-numa", require_digests=True)
    plan, (unit,) = plans.cpu()
    for image in ("ollama/ollama:latest", "ollama/ollama", "host:5000/ollama"):
        moved = replace(unit, launch=replace(unit.launch, image=image), image=None)
        with pytest.raises(RenderError, match="names no version"):
            lay_out(plan, (moved,), "compose")


def test_the_readme_says_where_memory_is_not_interleaved() -> None:
    plan, (unit,) = plans.cpu()
    interleaved = replace(unit, launch=replace(unit.launch, numa="interleave", numa_nodes=(0, 1)))
    text = lay_out(plan, (interleaved,), "compose")["README.md"]
    assert "which Compose cannot ask for: the image has no numactl" in text
    assert "slices are installed" not in text
    assert "cannot ask for" not in lay_out(plan, (unit,), "compose")["README.md"]


def test_a_quadlet_interleaves_through_the_policy_of_its_unit() -> None:
    plan, (unit,) = plans.cpu()
    interleaved = replace(unit, launch=replace(unit.launch, numa="interleave", numa_nodes=(0, 1)))
    files = lay_out(plan, (interleaved,), "quadlet")
    service = files["planner-interactive.container"].partition("[Service]")[2]
    assert "NUMAPolicy=interleave\nNUMAMask=0,1\n" in service
    assert "--cpuset-mems" not in files["planner-interactive.container"]
    assert "cannot ask for" not in files["README.md"]
    assert "NUMAPolicy" not in lay_out(plan, (unit,), "quadlet")["planner-interactive.container"]


def test_an_interleaved_plan_says_what_compose_cannot_do() -> None:
    plan, (unit,) = plans.cpu()
    launch = replace(unit.launch, numa="interleave", numa_nodes=(0, 1))
    text = lay_out(plan, (replace(unit, launch=launch),), "compose")["compose.yaml"]
    assert "# Warning: interactive is planned with memory interleaved" in text
    assert "cgroup_parent" not in text
    assert unit.image is not None
    able = replace(unit, launch=launch, image=replace(unit.image, programs=("curl", "numactl")))
    service = yaml.safe_load(lay_out(plan, (able,), "compose")["compose.yaml"])["services"]["interactive"]
    assert service["entrypoint"] == ["numactl", "--interleave=0,1", "--", "/app/llama-server"]
    assert service["cap_add"] == ["SYS_NICE"]
