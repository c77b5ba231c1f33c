"""The room that a plan leaves is what planning again would find."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import NoFeasiblePlan
from planner.hardware.what_if import what_if
from planner.planning.plan import Plan
from planner.servers.records import Service

from .machines import mac, plan, rtx4090, two_nodes


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def room(found: Plan) -> str:
    return next(reason.text for reason in found.reasons if reason.rule == "room")


def pinned(found: Plan) -> dict[str, object]:
    """The options that ask for the same model, quant and server again."""
    service = found.services[0]
    return {"model": service.model, "quant": service.quant, "server": service.server, "gpu_only": True}


@pytest.mark.parametrize(
    ("pattern", "option", "unit", "planned"),
    [
        (r"for (\d+) users of 8k", "users", "", lambda service: service.parallel),
        (r"room for (\d+)k of context,", "context", "k", lambda service: service.context / 1024),
    ],
)
def test_what_fits_is_planned_and_one_more_is_not(
    catalog: Catalog, pattern: str, option: str, unit: str, planned: Callable[[Service], float]
) -> None:
    machine = rtx4090(catalog)
    found = plan(catalog, machine).plan
    match = re.search(pattern, room(found))
    assert match
    count = int(match[1])
    asked = pinned(found)
    assert planned(plan(catalog, machine, **asked, **{option: f"{count}{unit}"}).plan.services[0]) == count
    with pytest.raises(NoFeasiblePlan):
        plan(catalog, machine, **asked, **{option: f"{count + 1}{unit}"})


def test_room_ends_where_training_did_and_where_another_service_begins(catalog: Catalog) -> None:
    assert "all that it was trained for" in room(plan(catalog, mac(catalog)).plan)
    alone = plan(catalog, two_nodes(catalog), "agent", roles="interactive").plan
    beside = plan(catalog, two_nodes(catalog), "agent").plan
    assert len(alone.services) < len(beside.services)
    assert users(alone) >= users(beside)


def users(found: Plan) -> int:
    match = re.search(r"for (\d+)(?: or more)? users", room(found))
    assert match
    return int(match[1])


def test_a_full_memory_has_no_room_and_embeddings_are_not_asked(catalog: Catalog) -> None:
    tight = what_if(catalog, gpus=["RTX 4090"])
    full = plan(catalog, tight, model="qwen3.6-27b", quant="Q5_K_M", context="64k", gpu_only=True).plan
    assert "for no more users" in room(full)
    embedding = plan(catalog, rtx4090(catalog), "embedding").plan
    assert not [reason for reason in embedding.reasons if reason.rule == "room"]
