"""Plan files: canonical bytes, a round trip, and clear refusals."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from planner.catalog.load import load_catalog
from planner.errors import PlannerError
from planner.planning.files import load_plan, plan_json, read_plan
from planner.planning.plan import Plan
from planner.rendering import render
from tests.planning.machines import plan, rtx4090, two_nodes

# Written by `planner recommend --save` when workloads still chose models by tags and weighed scores.
OLD_PLAN = Path(__file__).parents[1] / "data" / "plan-1.0.json"


@pytest.fixture(scope="module")
def made() -> Plan:
    catalog = load_catalog()
    return plan(catalog, rtx4090(catalog), "team", min_decode=5).plan


def changed(made: Plan, **fields: object) -> bytes:
    return json.dumps({**json.loads(plan_json(made)), **fields}).encode()


def test_a_plan_survives_the_file(made: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(plan_json(made))
    assert load_plan(path) == made
    assert plan_json(load_plan(path)) == plan_json(made)


def test_numa_distances_survive_the_file() -> None:
    catalog = load_catalog()
    found = plan(catalog, two_nodes(catalog)).plan
    assert read_plan(plan_json(found)) == found


def test_the_bytes_are_sorted_and_say_their_format(made: Plan) -> None:
    document = json.loads(plan_json(made))
    assert list(document) == sorted(document)
    assert document["format_version"] == "1.0"
    assert document["options"] == {"min_decode_tokens_per_s": "5.0"}
    assert plan_json(made).endswith(b"}\n")


def test_a_plan_with_keys_that_nothing_reads_any_more_opens_silently(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="planner"):
        found = load_plan(OLD_PLAN)
    assert caplog.messages == []
    assert "score_weights" in json.loads(OLD_PLAN.read_bytes())["workload"]
    assert [service.model for service in found.services] == ["qwen3.8-27b"]
    assert "interactive.sh" in render(found, load_catalog(), "launch")
    assert read_plan(plan_json(found)) == found


@pytest.mark.parametrize("version", ["2.0", "0.9"])
def test_another_major_format_is_refused(made: Plan, version: str) -> None:
    with pytest.raises(PlannerError) as caught:
        read_plan(changed(made, format_version=version), "plan.json")
    assert f"plan.json: format_version {version} cannot be read" in caught.value.message


def test_a_newer_minor_format_is_read_with_a_warning(made: Plan, caplog: pytest.LogCaptureFixture) -> None:
    document = json.loads(changed(made, format_version="1.7", novelty=1))
    for service in document["services"]:
        service["speed"]["novelty"] = True
    with caplog.at_level(logging.WARNING, logger="planner"):
        found = read_plan(json.dumps(document).encode(), "plan.json")
    assert found.services == made.services
    assert "1.7" in caplog.text
    assert "novelty" in caplog.text


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"not json", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "format_version is missing"),
        (b'{"format_version": "one"}', "is no version"),
        (b'{"format_version": "1.0"}', "missing required field"),
    ],
)
def test_what_is_no_plan_is_told_with_the_file_s_name(content: bytes, part: str) -> None:
    with pytest.raises(PlannerError) as caught:
        read_plan(content, "plan.json")
    assert caught.value.message.startswith("plan.json: ")
    assert part in caught.value.message


def test_a_wrong_value_is_told_with_its_key(made: Plan) -> None:
    document = json.loads(plan_json(made))
    document["services"][0]["parallel"] = "ten"
    with pytest.raises(PlannerError) as caught:
        read_plan(json.dumps(document).encode(), "plan.json")
    assert "services[" in caught.value.message
    assert "parallel" in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match="cannot be read"):
        load_plan(tmp_path / "nothing.json")
