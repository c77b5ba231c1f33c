"""Which cards would make a wish fit: those with which the plan meets it, the smallest first, and none that does not."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import NoFeasiblePlan, UsageError
from planner.hardware.facts import Hardware
from planner.hardware.what_if import what_if
from planner.planning.card_table import is_card
from planner.planning.cards import Cards, cards_for, with_cards
from planner.planning.comparison import missed_targets
from planner.planning.constraints import constraints_from
from planner.planning.rank import targets_of
from planner.units import GIB

from .machines import mac, plan

FEW = ("rtx-3060-12-gb", "rtx-4090", "rtx-3090", "rtx-4060", "rx-7900-xtx", "rtx-5090", "a100-pcie-80-gb")
RAM = {"ram": "64GiB", "ram_bandwidth": "80GB/s", "cores": 16}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def few(catalog: Catalog) -> Catalog:
    """The catalog with a few of its cards."""
    smaller = copy.copy(catalog)
    vars(smaller)["devices"] = {name: catalog.devices[name] for name in FEW}
    return smaller


def ask(catalog: Catalog, hardware: Hardware, budget: int, **given: Any) -> Cards:
    workload = catalog.workload(given.pop("workload", "chat"))
    return cards_for(hardware, catalog, workload, constraints_from(catalog, given), budget * GIB)


def meets(catalog: Catalog, hardware: Hardware, **given: Any) -> bool:
    """Asked of `recommend` itself."""
    try:
        found = plan(catalog, hardware, **given).plan
    except NoFeasiblePlan:
        return False
    return not missed_targets(found.services[0].speed, targets_of(catalog.workload(given.get("workload", "chat"))))


def test_choices_are_exactly_the_smallest_sets_that_recommend_finds_to_do(catalog: Catalog, few: Catalog) -> None:
    machine = what_if(catalog, gpus=["RTX 4060"], **RAM)
    wish = {"model": "qwen3-32b", "quant": "Q4_K_M"}
    chosen = {(choice.device, choice.count) for choice in ask(few, machine, 48, **wish).choices}
    for name in FEW:
        device = catalog.devices[name]
        assert device.memory_bytes is not None
        counts = range(1, 48 * GIB // device.memory_bytes + 1)
        enough = [count for count in counts if meets(catalog, with_cards(machine, catalog, device, count), **wish)]
        assert {count for other, count in chosen if other == name} == set(enough[:1]), name


def test_the_least_vram_comes_first_then_the_fewest_cards_then_the_fastest(catalog: Catalog, few: Catalog) -> None:
    found = ask(few, what_if(catalog, gpus=["RTX 4060"], **RAM), 96, model="qwen3-32b", quant="Q4_K_M")
    order = [
        (choice.vram_bytes, choice.count, -choice.decode_tokens_per_s.expected)
        for choice in found.choices
        if choice.decode_tokens_per_s is not None
    ]
    assert len(order) == len(found.choices) > 3
    assert order == sorted(order)
    assert all(choice.vram_bytes <= 96 * GIB for choice in found.choices)
    assert not found.met_here
    assert "misses decode" in found.here


def test_cards_that_are_there_are_not_bought_again(catalog: Catalog, few: Catalog) -> None:
    machine = what_if(catalog, gpus=["RTX 3060 12GB"], **RAM)
    found = ask(few, machine, 24, model="qwen3-32b", quant="Q4_K_M")
    pair = next(choice for choice in found.choices if choice.device == "rtx-3060-12-gb")
    assert (pair.count, pair.to_buy) == (2, 1)
    assert pair.power_watts == 340.0
    other = next(choice for choice in found.choices if choice.device == "rtx-4090")
    assert (other.count, other.to_buy) == (1, 1)


def test_a_demand_on_speed_wants_a_faster_card(catalog: Catalog, few: Catalog) -> None:
    """RTX 4090 decodes 32 billion parameters at 4 bits at about 42 tok/s, RTX 5090 faster."""
    machine = what_if(catalog, gpus=["RTX 4090"], **RAM)
    found = ask(few, machine, 32, model="qwen3-32b", quant="Q4_K_M", min_decode=50)
    assert [choice.device for choice in found.choices] == ["rtx-5090"]
    assert "not" in found.here or "nothing" in found.here


def test_a_wish_that_fits_needs_no_card(catalog: Catalog, few: Catalog) -> None:
    found = ask(few, what_if(catalog, gpus=["RTX 4090"], **RAM), 48, model="qwen3-14b")
    assert found.met_here
    assert found.choices == ()
    assert "meets everything" in found.here


def test_a_budget_that_is_too_small_names_what_comes_nearest(catalog: Catalog, few: Catalog) -> None:
    machine = what_if(catalog, **RAM)
    with pytest.raises(NoFeasiblePlan) as caught:
        ask(few, machine, 8, model="qwen3-32b", quant="Q4_K_M")
    assert caught.value.exit_code == 4
    assert "the nearest, 1 x GeForce RTX 4060, misses decode" in caught.value.message
    assert "--budget-vram" in (caught.value.hint or "")


def test_no_card_fits_into_a_mac_or_into_a_budget_below_every_card(catalog: Catalog, few: Catalog) -> None:
    with pytest.raises(UsageError, match="no card fits into a Mac"):
        ask(few, mac(catalog), 48)
    with pytest.raises(UsageError, match="no card of the device table is that small"):
        ask(few, what_if(catalog, **RAM), 1, model="qwen3-32b")


def test_options_that_contradict_each_other_are_named_before_any_card(catalog: Catalog, few: Catalog) -> None:
    with pytest.raises(UsageError, match="contradict each other"):
        ask(few, what_if(catalog, **RAM), 48, model="qwen3-14b", family="gemma-3")


def test_what_was_measured_with_other_cards_says_nothing_of_these(catalog: Catalog) -> None:
    machine = what_if(catalog, gpus=["RTX 4060"], **RAM)
    changed = with_cards(machine, catalog, catalog.devices["rtx-3090"], 2)
    assert [gpu.name for gpu in changed.gpus] == ["GeForce RTX 3090"] * 2
    assert changed.calibration == ()
    assert changed.memory == machine.memory
    assert "gpus.1.memory_bytes" in changed.sources


@pytest.mark.parametrize("name", ["rtx-4090", "rx-7900-xtx", "arc-a770", "h100-pcie-80-gb", "rtx-a6000"])
def test_cards_for_a_slot_are_cards(catalog: Catalog, name: str) -> None:
    assert is_card(catalog.devices[name])


@pytest.mark.parametrize("name", ["h100-sxm5-80-gb", "arc-a730m", "rtx-3060-mobile", "m3-max-40c", "gh200-sxm"])
def test_modules_laptop_chips_and_whole_machines_are_none(catalog: Catalog, name: str) -> None:
    assert not is_card(catalog.devices[name])


def test_the_budget_that_an_error_proposes_is_enough(catalog: Catalog, few: Catalog) -> None:
    machine, wish = what_if(catalog, gpus=["RTX 4060"], **RAM), {"model": "qwen3-32b", "gpu_only": True}
    with pytest.raises(NoFeasiblePlan) as caught:
        plan(catalog, machine, **wish)
    budget = re.search(r"--budget-vram (\d+)GiB", caught.value.hint or "")
    assert budget is not None
    assert ask(few, machine, int(budget[1]), **wish).choices
