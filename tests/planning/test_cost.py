"""What tokens cost: energy from published power, money only at the person's prices, unknown where anything is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import UsageError
from planner.hardware.facts import Hardware
from planner.hardware.files import load_hardware
from planner.hardware.what_if import what_if
from planner.planning.cost import Cost, Prices, ServiceCost, cost_of
from planner.planning.plan import Plan
from planner.speed.records import Range

from .machines import mac, plan, rtx4090

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def on_card(catalog: Catalog) -> Plan:
    return plan(catalog, rtx4090(catalog), model="qwen3-14b", quant="Q4_K_M", server="llama-server").plan


def at_speed(found: Plan, decode: Range, prefill: Range, **changed: Any) -> Plan:
    """The plan with round speeds."""
    service = found.services[0]
    speed = replace(service.speed, decode_tokens_per_s=decode, prefill_tokens_per_s=prefill, **changed)
    return replace(found, services=(replace(service, speed=speed, parallel=max(speed.concurrency, 1)),))


def steady(rate: float) -> Range:
    return Range(low=rate, expected=rate, high=rate)


def first(cost: Cost) -> ServiceCost:
    return cost.services[0]


def test_energy_is_power_over_speed(on_card: Plan) -> None:
    """450 W at 50 tok/s are 9 J a token: 2.5 kWh for a million. Reading at 1,000 tok/s: a twentieth."""
    found = first(cost_of(at_speed(on_card, steady(50.0), steady(1000.0)), Prices(power_watts=450.0)))
    assert found.written.kwh_per_million is not None
    assert found.read.kwh_per_million is not None
    assert found.written.kwh_per_million.expected == pytest.approx(2.5)
    assert found.read.kwh_per_million.expected == pytest.approx(0.125)


def test_the_worst_is_full_power_at_the_slowest_and_the_best_little_power_at_the_fastest(on_card: Plan) -> None:
    slow_to_fast = Range(low=40.0, expected=50.0, high=100.0)
    energy = first(cost_of(at_speed(on_card, slow_to_fast, steady(1000.0)))).written.kwh_per_million
    assert energy is not None
    assert energy.high == pytest.approx(450 / 40 / 3.6)
    assert energy.low == pytest.approx(450 * 137 / 700 / 100 / 3.6)
    assert energy.low < energy.expected < energy.high


def test_a_published_measurement_lies_in_the_range(catalog: Catalog) -> None:
    """RTX 5060 Ti, Qwen2.5-Coder-7B on llama.cpp: 81.2 tok/s at 172.7 W (inventivehq.com/blog/
    gpu-power-limit-tokens-per-watt), so 0.59 kWh for a million tokens."""
    machine = what_if(catalog, gpus=["RTX 5060 Ti 16 GB"], ram="64GiB", ram_bandwidth="80GB/s", cores=16)
    found = plan(catalog, machine, model="qwen2.5-coder-7b-instruct", quant="Q4_K_M", server="llama-server").plan
    energy = first(cost_of(found)).written.kwh_per_million
    assert energy is not None
    assert energy.low < 172.7 / 81.2 / 3.6 < energy.high


def test_users_at_once_share_the_energy(catalog: Catalog) -> None:
    one, ten = (plan(catalog, rtx4090(catalog), model="qwen3-8b", quant="AWQ", users=users).plan for users in (1, 10))
    alone, together = (first(cost_of(found)).written.kwh_per_million for found in (one, ten))
    assert alone is not None
    assert together is not None
    assert together.expected < alone.expected / 2


def test_prices_are_those_of_the_person(on_card: Plan) -> None:
    """At 50 tok/s a million tokens take 20,000 s: 5.56 hours of a GPU at 1.80 are 10; 2.5 kWh at 0.40 are 1."""
    found = at_speed(on_card, steady(50.0), steady(1000.0))
    written = first(cost_of(found, Prices(per_kwh=0.4, per_gpu_hour=1.8, power_watts=450.0))).written
    assert written.energy_price_per_million is not None
    assert written.gpu_price_per_million is not None
    assert written.price_per_million is not None
    assert written.energy_price_per_million.expected == pytest.approx(1.0)
    assert written.gpu_price_per_million.expected == pytest.approx(10.0)
    assert written.price_per_million.expected == pytest.approx(11.0)
    assert first(cost_of(found)).written.price_per_million is None


def test_every_card_in_use_is_counted_and_paid(catalog: Catalog) -> None:
    machine = what_if(catalog, gpus=["RTX 3090:2"], ram="64GiB", ram_bandwidth="80GB/s", cores=16)
    asked = {"model": "qwen3-32b", "server": "vllm", "quant": "AWQ"}
    found = plan(catalog, machine, **asked).plan
    cards = len(found.services[0].placement.gpus)
    cost = first(cost_of(at_speed(found, steady(50.0), steady(1000.0)), Prices(per_gpu_hour=1.8)))
    assert [(draw.count, draw.limit_watts) for draw in cost.devices] == [(cards, 350.0)]
    assert cost.watts is not None
    assert cost.watts.high == pytest.approx(350.0 * cards)
    assert cost.written.gpu_price_per_million is not None
    assert cost.written.gpu_price_per_million.expected == pytest.approx(10.0 * cards)


def test_power_that_nobody_knows_stays_unknown(catalog: Catalog) -> None:
    on_cpu = plan(catalog, what_if(catalog, ram="64GiB", ram_bandwidth="80GB/s", cores=16)).plan
    for found in (on_cpu, plan(catalog, mac(catalog)).plan):
        cost = cost_of(found, Prices(per_kwh=0.3))
        assert first(cost).written.kwh_per_million is None
        assert first(cost).written.price_per_million is None
        assert first(cost).not_counted
        assert cost.sources == ()
        told = first(cost_of(found, Prices(per_kwh=0.3, power_watts=100.0)))
        assert told.written.price_per_million is not None
        assert told.not_counted == ()


def test_a_cpu_that_computes_too_is_named_as_not_counted(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog, "192GiB"), model="qwen3-235b-a22b", quant="Q4_K_M").plan
    cost = first(cost_of(found))
    assert cost.written.kwh_per_million is not None
    assert any("CPU" in text for text in cost.not_counted)
    assert cost.gpus_alone
    assert not first(cost_of(found, Prices(power_watts=600.0))).gpus_alone


def test_an_unknown_speed_has_no_cost(catalog: Catalog) -> None:
    found = plan(catalog, what_if(catalog, vram="24GiB", backend="cuda"), model="qwen3-14b").plan
    assert first(cost_of(found, Prices(per_gpu_hour=1.0, power_watts=300.0))).written.price_per_million is None


def test_services_whose_speed_is_not_predicted_have_none(catalog: Catalog) -> None:
    cost = cost_of(plan(catalog, rtx4090(catalog), "multimodal").plan, Prices(power_watts=500.0))
    by_role = {service.role: service for service in cost.services}
    assert by_role["interactive"].written.kwh_per_million is not None
    assert by_role["embedding"].read.kwh_per_million is None


def test_a_machine_that_was_read_is_there_and_one_that_was_described_is_not(catalog: Catalog) -> None:
    read = load_hardware(EXAMPLES / "cpu-vm" / "hardware.json")
    assert cost_of(plan(catalog, read).plan).hardware == "there"
    assert cost_of(plan(catalog, rtx4090(catalog)).plan).hardware == "imagined"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"price_kwh": 0}, "--price-kwh 0 must be more than zero"),
        ({"price_gpu_hour": float("inf")}, "--price-gpu-hour inf"),
        ({"power": "350"}, "no unit"),
        ({"power": "350GiB"}, "unknown unit"),
        ({"power": "0W"}, "more than zero"),
    ],
)
def test_nonsense_is_a_usage_error(on_card: Plan, given: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        planner.cost(on_card, **given)
    assert problem in caught.value.message


def test_power_has_a_unit(on_card: Plan) -> None:
    assert planner.cost(on_card, power="1.2kW").prices.power_watts == 1200.0
    assert planner.cost(on_card, power=350).prices.power_watts == 350.0


def test_a_price_of_gpus_without_one_is_a_usage_error(catalog: Catalog) -> None:
    found = plan(catalog, what_if(catalog, ram="64GiB", ram_bandwidth="80GB/s", cores=16)).plan
    assert isinstance(found.hardware, Hardware)
    with pytest.raises(UsageError, match="--price-gpu-hour: this machine has no GPU"):
        cost_of(found, Prices(per_gpu_hour=1.0))
