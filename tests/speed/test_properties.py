"""Orderings that hold whatever the constants are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from planner.sizing.records import Placement
from planner.speed.constants import load_constants
from tests.speed.machines import (
    CPU,
    GB,
    GPU,
    LLAMA_Q4_READ,
    ask,
    gpu_pool,
    host,
    llama_3_8b,
    on_3090,
    qwen3_30b_a3b,
    ram_pool,
    rtx_3090,
    use,
)

bandwidths = st.floats(1e10, 8e12)


def decode(speed):
    return speed.decode_tokens_per_s.expected


@settings(max_examples=40, deadline=None)
@given(bandwidths, st.floats(1.0, 4.0), st.sampled_from(["16bit", "8bit", "4bit-k", "4bit-simple", "5-6bit", "low"]))
def test_more_bandwidth_is_never_slower(bandwidth, factor, quant_class):
    def speed(rate):
        return on_3090(hardware=host(rtx_3090(bandwidth_bytes_per_s=rate)), quant_class=quant_class, depth=4096)

    slow, fast = speed(bandwidth), speed(bandwidth * factor)
    assert decode(fast) >= decode(slow)
    assert fast.prefill_tokens_per_s.expected >= slow.prefill_tokens_per_s.expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60_000), st.integers(0, 5_000), st.sampled_from([1, 4]))
def test_more_depth_is_never_faster(depth, more, users):
    near, far = on_3090(depth=depth, users=users), on_3090(depth=depth + more, users=users)
    assert decode(far) <= decode(near)
    assert far.prefill_tokens_per_s.expected <= near.prefill_tokens_per_s.expected
    assert far.ttft_s.expected >= near.ttft_s.expected


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 32), st.integers(0, 32), st.sampled_from([llama_3_8b, qwen3_30b_a3b]))
def test_more_users_give_more_in_total_and_less_each(users, more, model):
    expanded = model()
    moe = expanded.shape.experts > 0
    uses = (use("gpu0", 0.9 * GB, expert=1.1 * GB, resident=17.6 * GB, layers=48),) if moe else ()
    uses = uses or (use("gpu0", LLAMA_Q4_READ, layers=32),)
    few, many = (
        ask(expanded, host(rtx_3090()), uses, (gpu_pool(),), GPU, users=n, depth=1024) for n in (users, users + more)
    )
    assert decode(many) <= decode(few)
    assert many.aggregate_tokens_per_s.expected >= few.aggregate_tokens_per_s.expected * 0.999_999


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 64), st.floats(2e10, 4e11))
def test_layers_in_ram_never_speed_a_model_up(layers, ram_bandwidth):
    """Every layer moved to a slower memory costs time."""
    in_ram = min(layers, 32)
    hardware = host(rtx_3090(), ram_bandwidth=ram_bandwidth)

    def split(count):
        part = LLAMA_Q4_READ * count / 32
        uses = [use("gpu0", LLAMA_Q4_READ - part, layers=32 - count, cache=1 - count / 32)]
        if count:
            uses.append(use("ram0", part, layers=count, cache=count / 32))
        placement = Placement(kind="split" if count else "gpu", gpus=(0,), gpu_layers=32 - count)
        return ask(llama_3_8b(), hardware, tuple(uses), (gpu_pool(), ram_pool()), placement)

    assert decode(split(in_ram)) <= decode(split(in_ram - 1))


def test_users_beyond_the_slots_wait():
    full, beyond = on_3090(users=4, parallel=4), on_3090(users=9, parallel=4)
    assert decode(full) == decode(beyond)
    assert beyond.aggregate_tokens_per_s == full.aggregate_tokens_per_s
    assert any("5 of 9 users wait" in source for source in beyond.sources)


def test_ranges_hold_the_expected_value_and_widen_with_doubt():
    sure = on_3090().decode_tokens_per_s
    unknown_clock = on_3090(hardware=host(rtx_3090(fp32_flops_per_s=None))).decode_tokens_per_s
    assert sure.low < sure.expected < sure.high
    assert unknown_clock.high / unknown_clock.low > sure.high / sure.low


def test_ollama_costs_time_per_token_and_localai_none():
    plain, ollama, localai = (on_3090(stack=s) for s in ("llama.cpp-cuda", "ollama-cuda", "localai-cuda"))
    assert decode(ollama) < decode(plain) == decode(localai)


def test_old_builds_are_slower():
    assert decode(on_3090(depth=8192, engine_build="May 2024")) < decode(on_3090(depth=8192, engine_build="b9653"))
    assert on_3090(engine_build="b9653 2026") == on_3090()


def test_quantized_cache_is_read_faster():
    from planner.sizing.records import KvType, Runtime

    eight_bit = Runtime(context_tokens=65536, parallel=64, kv_type=KvType(k="q8_0", v="q8_0"))
    assert decode(on_3090(depth=32768, runtime=eight_bit)) > decode(on_3090(depth=32768))


@pytest.mark.parametrize("numa", ["bind", "interleave", "none"])
def test_two_nodes_by_placement(numa):
    """Bound to one node: its own bandwidth. Over both: less than their sum; unplaced worst."""
    hardware = host(cores=64, nodes=2, ram_bandwidth=400e9, isa=("avx512f",))
    uses = (use("node0", LLAMA_Q4_READ, layers=32),)
    pools = (ram_pool(0).__class__(id="node0", kind="ram", capacity_bytes=GB, usable_bytes=GB, node=0),)

    def speed(policy):
        nodes = {"bind": (0,), "interleave": (0, 1), "none": (0, 1)}[policy]
        placement = Placement(kind="cpu", numa=policy, numa_nodes=nodes)
        return decode(ask(llama_3_8b(), hardware, uses, pools, placement, stack="llama.cpp-cpu"))

    assert speed("interleave") > speed("none")
    copies = ask(
        llama_3_8b(),
        hardware,
        uses,
        pools,
        Placement(kind="cpu", numa="bind", numa_nodes=(0, 1), instances=2),
        stack="llama.cpp-cpu",
        users=2,
    )
    assert decode(copies) == pytest.approx(speed("bind"))
    one = ask(
        llama_3_8b(), hardware, uses, pools, Placement(kind="cpu", numa="bind", numa_nodes=(0,)), stack="llama.cpp-cpu"
    )
    assert copies.aggregate_tokens_per_s.expected == pytest.approx(2 * one.aggregate_tokens_per_s.expected)


def test_unknown_bandwidth_is_null_and_says_how_to_learn_it():
    silent = ask(
        llama_3_8b(),
        host(ram_bandwidth=None),
        (use("ram0", LLAMA_Q4_READ, layers=32),),
        (ram_pool(),),
        CPU,
        stack="llama.cpp-cpu",
    )
    assert silent.decode_tokens_per_s is None
    assert silent.aggregate_tokens_per_s is None
    assert silent.bound_by == "unknown"
    assert any("--ram-bandwidth" in source for source in silent.sources)
    card = on_3090(hardware=host(rtx_3090(bandwidth_bytes_per_s=None)))
    assert card.decode_tokens_per_s is None
    assert any("--gpu-bandwidth" in source for source in card.sources)


SIZES = {"low": 3.95, "4bit-k": 4.87, "5-6bit": 6.57, "8bit": 8.5, "16bit": 16.0}  # bits per weight: Q3_K_M to F16


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(SIZES, key=SIZES.__getitem__)),
    st.sampled_from(sorted(SIZES, key=SIZES.__getitem__)),
    st.floats(2e10, 4e11),
    st.integers(1, 128),
    st.booleans(),
)
def test_a_bigger_quant_is_never_faster_unless_a_measured_factor_says_so(one, other, bandwidth, cores, on_gpu):
    """Where unpacking a small type is known to cost more per weight than reading a large one, the large one may win."""
    small, big = sorted((one, other), key=SIZES.__getitem__)
    constants = load_constants()

    def speed(quant_class):
        read = 7.5e9 * SIZES[quant_class] / 8
        if on_gpu:
            return on_3090(quant_class=quant_class, read=read)
        hardware = host(cores=cores, ram_bandwidth=bandwidth, isa=("avx512f",))
        uses = (use("ram0", read, layers=32),)
        return ask(llama_3_8b(), hardware, uses, (ram_pool(),), CPU, stack="llama.cpp-cpu", quant_class=quant_class)

    factors = constants.cores.quant_factors["gpu"] if on_gpu else constants.cpu.gb_per_s_per_core["avx512"]
    cheaper = SIZES[big] / factors[big] < SIZES[small] / factors[small]
    assert cheaper or decode(speed(big)) <= decode(speed(small)) * (1 + 1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 48), st.floats(2e10, 2e11))
def test_experts_in_ram_never_speed_a_model_up(layers, ram_bandwidth):
    hardware = host(rtx_3090(), ram_bandwidth=ram_bandwidth)

    def offloaded(count):
        moved = count / 48
        uses = [use("gpu0", 0.9 * GB, expert=1.1 * GB * (1 - moved), resident=17.6 * GB * (1 - moved), layers=48)]
        if count:
            uses.append(use("ram0", 0.0, expert=1.1 * GB * moved, resident=17.6 * GB * moved, layers=0, cache=0.0))
        kind = "experts-in-ram" if count else "gpu"
        placement = Placement(kind=kind, gpus=(0,), cpu_expert_layers=count)
        return ask(qwen3_30b_a3b(), hardware, tuple(uses), (gpu_pool(), ram_pool()), placement)

    assert decode(offloaded(layers)) <= decode(offloaded(layers - 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30_000), st.integers(1, 4_000), st.integers(0, 4_000))
def test_a_longer_prompt_never_answers_sooner(depth, tokens, more):
    short, long = (on_3090(depth=depth, prompt=count) for count in (tokens, tokens + more))
    assert long.ttft_s.expected >= short.ttft_s.expected


def test_attention_without_its_fused_kernel_costs_time():
    from planner.sizing.records import Runtime

    plain = Runtime(context_tokens=65536, parallel=64, flash_attention=False)
    fused, unfused = on_3090(depth=16384), on_3090(depth=16384, runtime=plain)
    assert decode(unfused) < decode(fused)
    assert unfused.ttft_s.expected > fused.ttft_s.expected


@pytest.mark.parametrize(
    ("earlier", "later"), [("May 2024", "2025-05"), ("2025-05", "b9653 2026"), ("b2000", "b5000"), ("b5000", "b8000")]
)
def test_later_builds_launch_faster(earlier, later):
    assert decode(on_3090(engine_build=earlier)) < decode(on_3090(engine_build=later))


def test_amd_dies_read_over_links_of_their_own():
    """Two fast channels are more than one die can read; a second die, or another maker's one fabric, reads more."""
    from msgspec.structs import replace

    from planner.hardware.facts import Cache

    plain = host(cores=16, ram_bandwidth=96e9, isa=("avx512f",))

    def speed(vendor, dies):
        caches = (Cache(level=3, size_bytes=32 << 20, instances=dies),)
        hardware = replace(plain, cpu=replace(plain.cpu, vendor=vendor, caches=caches))
        uses = (use("ram0", LLAMA_Q4_READ, layers=32),)
        return decode(ask(llama_3_8b(), hardware, uses, (ram_pool(),), CPU, stack="llama.cpp-cpu"))

    assert speed("AuthenticAMD", 1) < speed("AuthenticAMD", 2) < speed("GenuineIntel", 1)


def test_cores_wait_for_each_other_at_every_operation():
    """A small model on many cores with all the bandwidth of the world still takes its layers' barriers."""
    uses = (use("ram0", 1e6, layers=32),)

    def seconds(cores):
        hardware = host(cores=cores, ram_bandwidth=4e12, isa=("avx512f",))
        return 1 / decode(ask(llama_3_8b(), hardware, uses, (ram_pool(),), CPU, stack="llama.cpp-cpu"))

    layer_us = load_constants().stacks["llama.cpp-cpu"].layer_us
    assert seconds(64) - seconds(16) == pytest.approx(48 * 32 * layer_us * 1e-6, rel=0.01)
