"""Plans of the real planner, through every server's own launch, into every target."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import planner
from planner.errors import RenderError
from planner.hardware.facts import Hardware
from planner.planning.plan import Plan

SCHEMA = Path(__file__).parents[1] / "data" / "schemas" / "compose-spec.json"
CASES = [
    ("team", {"gpus": ["RTX 3090:2"], "ram": "128GiB", "ram_bandwidth": "80GB/s", "cores": 16}, None),
    ("chat", {"gpus": ["RTX 3060 12GB"], "ram": "32GiB", "ram_bandwidth": "40GB/s", "cores": 6}, "ollama"),
    ("multimodal", {"gpus": ["RTX 3090"], "ram": "64GiB", "ram_bandwidth": "60GB/s", "cores": 8}, "localai"),
    ("team", {"cores": 32, "ram": "256GiB", "ram_bandwidth": "200GB/s", "numa_nodes": 2}, "ollama"),
    ("chat", {"apple": "M4 Max 40c 64GiB"}, "mlx-lm"),
]


@cache
def catalog() -> Any:
    return planner.load_catalog()


def planned(workload: str, machine: dict[str, Any], server: str | None) -> tuple[Plan, Hardware]:
    hardware = planner.what_if(catalog=catalog(), **machine)
    chosen = {} if server is None else {"server": server}
    return planner.recommend(hardware, workload, catalog=catalog(), **chosen).plan, hardware


@pytest.mark.parametrize(("workload", "machine", "server"), CASES)
def test_what_the_planner_decides_can_be_rendered(workload: str, machine: dict[str, Any], server: str | None) -> None:
    plan, _ = planned(workload, machine, server)
    bundle = planner.render(plan, "all", catalog=catalog())
    targets = {path.partition("/")[0] for path in bundle}
    containers = {"compose", "systemd", "quadlet", "kubernetes"}
    assert targets == {"launch", *({"launchd"} if "apple" in machine else containers)}
    for service in plan.services:
        assert f"launch/{service.name}.sh" in bundle
    if "compose" in targets:
        document = yaml.safe_load(bundle["compose/compose.yaml"])
        jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)
        published = [name for name, s in document["services"].items() if "ports" in s]
        assert published == (["router"] if plan.router else [service.name for service in plan.services])


def test_a_mac_gets_no_containers() -> None:
    plan, _ = planned(*CASES[-1])
    with pytest.raises(RenderError) as caught:
        planner.render(plan, "compose", catalog=catalog())
    assert "launchd" in (caught.value.hint or "")


def test_a_server_that_fetches_its_backends_has_the_network_and_others_have_not() -> None:
    plan, _ = planned(*CASES[2])
    document = yaml.safe_load(planner.render(plan, "compose", catalog=catalog())["compose.yaml"])
    assert document["services"]["interactive"]["networks"] == ["backend", "edge"]
    plan, _ = planned(*CASES[1])
    document = yaml.safe_load(planner.render(plan, "compose", catalog=catalog())["compose.yaml"])
    assert document["services"]["interactive"]["networks"] == ["backend"]
