"""Pitfalls: each warning appears where its cause is, names its fix, and nowhere else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.hardware.what_if import what_if
from planner.planning.plan import Plan, Warning as Pitfall
from planner.units import GIB
from tests.planning.machines import mac, plan, rtx4090, two_nodes


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def warned(found: Plan, rule: str) -> Pitfall | None:
    return next((warning for warning in found.warnings if warning.rule_id == rule), None)


def test_a_plain_plan_on_known_hardware_warns_of_no_cause_that_is_not_there(catalog: Catalog) -> None:
    rules = {warning.rule_id for warning in plan(catalog, rtx4090(catalog)).plan.warnings}
    assert rules <= {"thin-data"}


def test_assumed_bandwidth_comes_first_and_names_the_option(catalog: Catalog) -> None:
    machine = what_if(catalog, ram="64GiB", cores=16)
    first = plan(catalog, machine).plan.warnings[0]
    assert first.rule_id == "assumed-bandwidth"
    assert "--ram-bandwidth" in (first.fix or "")


def test_assumed_ram_bandwidth_does_not_matter_to_a_model_in_vram(catalog: Catalog) -> None:
    machine = what_if(catalog, gpus=["RTX 4090"], ram="64GiB", cores=16)
    assert warned(plan(catalog, machine).plan, "assumed-bandwidth") is None


def test_a_missed_target_is_said_with_its_figures(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog, "192GiB"), model="qwen3-235b-a22b", quant="Q4_K_M").plan
    warning = warned(found, "target-missed")
    assert warning is not None
    assert "target 10" in warning.text


def test_low_bits_and_reasoning(catalog: Catalog) -> None:
    low = plan(catalog, rtx4090(catalog), "reasoning", model="qwen3-32b", quant="Q2_K").plan
    assert warned(low, "over-quantized-reasoning") is not None
    fine = plan(catalog, rtx4090(catalog), "reasoning", model="qwen3-32b", quant="Q4_K_M", context="8k").plan
    assert warned(fine, "over-quantized-reasoning") is None


def test_a_model_published_in_four_bits_has_lost_nothing(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), "reasoning", model="gpt-oss-20b").plan
    assert warned(found, "over-quantized-reasoning") is None
    assert any("nothing lost" in reason.text for reason in found.reasons)


def test_context_beyond_native_is_planned_for_a_named_model_and_warned_of(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), model="qwen3-14b", context="64k").plan
    warning = warned(found, "context-beyond-native")
    assert warning is not None
    assert "YaRN" in warning.text
    assert "--context 32k" in (warning.fix or "")
    # Without a name no model is stretched: the plan holds one that was trained for it.
    free = plan(catalog, rtx4090(catalog), context="64k").plan
    context = catalog.model(free.services[0].model).context
    assert context is not None
    assert context.native_tokens >= 65536


def test_deterministic_sampling_of_models_that_think(catalog: Catalog) -> None:
    always = plan(catalog, rtx4090(catalog), model="gpt-oss-20b", deterministic=True).plan
    assert warned(always, "thinking-deterministic") is not None
    hybrid = plan(catalog, rtx4090(catalog), model="qwen3-14b", deterministic=True).plan
    assert warned(hybrid, "thinking-deterministic") is None
    assert warned(hybrid, "thinking-off") is not None
    assert hybrid.services[0].sampling.thinking is False


def test_memory_that_is_not_free_now(catalog: Catalog) -> None:
    machine = rtx4090(catalog)
    busy = replace(machine, gpus=(replace(machine.gpus[0], free_bytes=4 * GIB),))
    found = plan(catalog, busy).plan
    warning = warned(found, "less-free-now")
    assert warning is not None
    assert "gpu0: 4.0 GiB free now" in warning.text
    now = plan(catalog, busy, memory="now").plan
    assert warned(now, "less-free-now") is None
    assert {bar.pool.id: bar.used_bytes for bar in now.pools}["gpu0"] <= 3 * GIB


def test_swap_matters_only_when_ram_is_short(catalog: Catalog) -> None:
    machine = what_if(catalog, ram="64GiB", ram_bandwidth="80GB/s", cores=16)
    swapping = replace(machine, memory=replace(machine.memory, swap_total_bytes=8 * GIB, available_bytes=2 * GIB))
    assert warned(plan(catalog, swapping, model="qwen3-14b").plan, "swap") is not None
    calm = replace(machine, memory=replace(machine.memory, swap_total_bytes=8 * GIB, available_bytes=60 * GIB))
    assert warned(plan(catalog, calm, model="qwen3-14b").plan, "swap") is None


def test_a_container_s_limit_binds_the_plan(catalog: Catalog) -> None:
    machine = what_if(catalog, ram="64GiB", ram_bandwidth="80GB/s", cores=16)
    limited = replace(machine, memory=replace(machine.memory, limit_bytes=8 * GIB))
    found = plan(catalog, limited).plan
    assert warned(found, "container-limit") is not None
    assert sum(bar.used_bytes for bar in found.pools) <= 7 * GIB


def test_licences(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog, "192GiB"), model="minimax-m2.7").plan
    warning = warned(found, "license-non-commercial")
    assert warning is not None
    assert "--license commercial" in (warning.fix or "")
    assert warned(plan(catalog, rtx4090(catalog)).plan, "license-non-commercial") is None


def test_unknown_bandwidth_is_an_unknown_speed(catalog: Catalog) -> None:
    machine = what_if(catalog, vram="24GiB", backend="cuda")
    found = plan(catalog, machine, model="qwen3-14b").plan
    assert found.services[0].speed.decode_tokens_per_s is None
    assert "--gpu-bandwidth" in (warned(found, "speed-unknown").fix or "")  # type: ignore[union-attr]


def test_rows_advice_stands_beside_long_contexts(catalog: Catalog) -> None:
    assert warned(plan(catalog, mac(catalog), context="128k").plan, "long-context") is not None
    assert warned(plan(catalog, two_nodes(catalog)).plan, "long-context") is None
