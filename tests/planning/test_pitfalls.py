"""Pitfalls of plans: each warning appears where its cause is, names its fix, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.catalog.records import Sampling
from planner.hardware.facts import Cpu, Disk, Hardware, Link, Os
from planner.hardware.what_if import what_if
from planner.planning.pitfalls import fix_of, look
from planner.planning.pitfalls.register import PITFALLS
from planner.planning.pitfalls.scene import Need, Scene, Setup
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


def test_a_disk_that_holds_the_weights_but_not_the_images_beside_them(catalog: Catalog) -> None:
    def told(free_gib: int) -> str | None:
        machine = replace(rtx4090(catalog), disk=Disk(free_bytes=free_gib * GIB))
        warning = warned(plan(catalog, machine, "team", server="vllm").plan, "disk-full")
        return warning and warning.text

    # The weights of both services take 41 GiB, vllm-openai 28.6 GB.
    assert "images of containers not counted" in (told(5) or "")
    assert "vllm-openai:v0.33.0 about 26.6 GiB" in (told(50) or "")
    assert told(100) is None


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


Build = Callable[[Catalog], Hardware]


def in_ram(catalog: Catalog, nodes: int = 1, **known: Any) -> Hardware:
    return what_if(catalog, cores=16, ram="64GiB", ram_bandwidth="80GB/s", numa_nodes=nodes, **known)


def swapping(catalog: Catalog) -> Hardware:
    machine = in_ram(catalog)
    return replace(machine, memory=replace(machine.memory, swap_total_bytes=8 * GIB, swap_used_bytes=2 * GIB))


def on_risers(catalog: Catalog) -> Hardware:
    machine = what_if(catalog, gpus=["RTX 3090:2"], ram="64GiB", ram_bandwidth="80GB/s", cores=16)
    gpus = tuple(replace(gpu, link=Link(generation=3, width=1)) for gpu in machine.gpus)
    return replace(machine, gpus=gpus)


def with_display(catalog: Catalog) -> Hardware:
    machine = rtx4090(catalog)
    return replace(machine, gpus=(replace(machine.gpus[0], display=True),))


def saving_power(catalog: Catalog) -> Hardware:
    return replace(in_ram(catalog), cpu=Cpu(cores=16, governors=("powersave",), frequency_driver="acpi-cpufreq"))


def listening(catalog: Catalog) -> Hardware:
    return replace(rtx4090(catalog), os=Os(name="linux", listening_ports=(8000, 8080)))


def moving_pages(catalog: Catalog) -> Hardware:
    return replace(in_ram(catalog, 2), os=Os(name="linux", numa_balancing=True))


def small_pages(catalog: Catalog) -> Hardware:
    return replace(in_ram(catalog), os=Os(name="linux", transparent_hugepages="never"))


def little_disk(catalog: Catalog) -> Hardware:
    return replace(rtx4090(catalog), disk=Disk(free_bytes=2 * GIB))


def of_unknown_cores(catalog: Catalog) -> Hardware:
    return replace(in_ram(catalog), cpu=Cpu())


def with_display_beside(catalog: Catalog) -> Hardware:
    machine = what_if(catalog, gpus=["RTX 4090", "RTX 3060 12GB"], ram="64GiB", ram_bandwidth="80GB/s", cores=16)
    return replace(machine, gpus=(machine.gpus[0], replace(machine.gpus[1], display=True)))


SMALL = {"model": "qwen3-14b", "quant": "Q4_K_M", "server": "llama-server"}
# Where it fires, and what is changed so that it does not.
PLANNED: dict[str, tuple[Build, dict[str, Any], Build, dict[str, Any]]] = {
    "assumed-cpu": (of_unknown_cores, SMALL, in_ram, SMALL),
    "slow-cpu-prefill": (in_ram, {"workload": "long-context"}, mac, {"workload": "long-context"}),
    "image-on-cpu": (in_ram, {"workload": "multimodal"}, rtx4090, {}),
    "ram-tight": (
        lambda catalog: what_if(catalog, ram="16GiB", ram_bandwidth="60GB/s", cores=8),
        {"model": "gemma-4-26b-a4b-it", "quant": "IQ4_XS", "server": "llama-server"}, in_ram, SMALL,
    ),
    "swap-in-use": (swapping, SMALL, in_ram, SMALL),
    "disk-full": (little_disk, SMALL, rtx4090, SMALL),
    "port-taken": (listening, SMALL, rtx4090, SMALL),
    "numa-unbound": (two_nodes, {"workload": "multimodal"}, two_nodes, {}),
    "numa-interleaved": (
        two_nodes, {"model": "qwen3-235b-a22b", "quant": "Q8_0", "server": "llama-server", "context": "128k"},
        two_nodes, SMALL,
    ),
    "numa-balancing": (moving_pages, SMALL, in_ram, SMALL),
    "power-saving": (saving_power, SMALL, in_ram, SMALL),
    "narrow-link": (
        on_risers, {"model": "qwen3-32b", "quant": "AWQ", "server": "vllm"}, on_risers, SMALL,
    ),
    "sampling-batch": (
        rtx4090, {**SMALL, "deterministic": True, "users": 4}, rtx4090, {**SMALL, "deterministic": True},
    ),
    "sixteen-bit": (mac, {"model": "qwen3-14b", "quant": "F16"}, mac, {"model": "qwen3-14b", "quant": "Q8_0"}),
    "gated-model": (rtx4090, {"model": "gemma-3-12b-it"}, rtx4090, {"model": "gemma-4-26b-a4b-it"}),
    "gpu-display": (with_display, SMALL, with_display_beside, SMALL),
    "huge-pages": (small_pages, SMALL, rtx4090, SMALL),
}  # fmt: skip

# Fired by the tests above.
ABOVE = {
    "assumed-bandwidth", "target-missed", "over-quantized-reasoning", "context-beyond-native", "thinking-deterministic",
    "thinking-off", "less-free-now", "swap", "container-limit", "license-non-commercial", "speed-unknown",
    "long-context",
}  # fmt: skip


@pytest.mark.parametrize("rule", PLANNED)
def test_a_pitfall_is_in_the_plan_where_its_cause_is(catalog: Catalog, rule: str) -> None:
    machine, options, other, changed = PLANNED[rule]
    warning = warned(plan(catalog, machine(catalog), **options).plan, rule)
    assert warning is not None
    assert warning.text
    assert warning.fix
    assert warned(plan(catalog, other(catalog), **changed).plan, rule) is None


# What no plan of ours has: the search sees to it, and the checks look all the same.
CARD = Need(
    pool="gpu0", usable_bytes=24 * GIB, capacity_bytes=24 * GIB, weights_bytes=9 * GIB, request_bytes=10 * GIB,
    full_bytes=20 * GIB,
)  # fmt: skip
ONE = Setup("one", server="llama-server", slots=4, needs=(CARD,), devices=frozenset({"0"}), context_tokens=8192)


def with_need(**changed: int) -> tuple[Setup, ...]:
    return (replace(ONE, needs=(replace(CARD, **changed),)),)


RULED_OUT = {
    "weights-over-memory": with_need(weights_bytes=30 * GIB, request_bytes=31 * GIB, full_bytes=40 * GIB),
    "moe-by-active": with_need(
        weights_bytes=30 * GIB, request_bytes=31 * GIB, full_bytes=40 * GIB, active_weights_bytes=3 * GIB
    ),
    "context-over-memory": with_need(request_bytes=25 * GIB, full_bytes=25 * GIB),
    "kv-unbudgeted": with_need(full_bytes=25 * GIB),
    "gpu-shared": (ONE, replace(ONE, name="two")),
    "single-slot": (replace(ONE, slots=1),),
    "sampling-vendor": (),
    "thin-data": (),
}  # fmt: skip


def signs(catalog: Catalog, rule: str) -> tuple[Setup, ...]:
    """The setups on which a pitfall that plans cannot have fires."""
    if RULED_OUT[rule]:
        return RULED_OUT[rule]
    if rule == "sampling-vendor":
        return (replace(ONE, model=catalog.model("qwen3-14b"), sampling=Sampling(temperature=1.5)),)
    speed = plan(catalog, rtx4090(catalog), **SMALL).plan.services[0].speed
    assert speed.decode_tokens_per_s is not None
    wide = replace(speed.decode_tokens_per_s, low=speed.decode_tokens_per_s.high / 4)
    return (replace(ONE, speed=replace(speed, decode_tokens_per_s=wide)),)


@pytest.mark.parametrize("rule", RULED_OUT)
def test_what_the_search_rules_out_would_be_told(catalog: Catalog, rule: str) -> None:
    found = {
        pitfall.id: fix_of(pitfall, sign) for pitfall, sign in look(Scene(setups=signs(catalog, rule), users=4), "plan")
    }
    assert set(found) == {rule}
    assert found[rule]
    assert list(look(Scene(setups=(ONE,), users=4), "plan")) == []


def test_every_pitfall_of_plans_has_a_case() -> None:
    assert {*ABOVE, *PLANNED, *RULED_OUT} == {pitfall.id for pitfall in PITFALLS if "plan" in pitfall.sides}
    assert len({pitfall.id for pitfall in PITFALLS}) == len(PITFALLS)


@pytest.mark.parametrize("machine", [rtx4090, two_nodes, mac, on_risers], ids=lambda build: build.__name__)
def test_no_plan_has_an_error_or_what_the_search_rules_out(catalog: Catalog, machine: Build) -> None:
    for workload in catalog.workloads:
        warnings = plan(catalog, machine(catalog), workload).plan.warnings
        assert [warning for warning in warnings if warning.severity == "error" or warning.rule_id in RULED_OUT] == []
