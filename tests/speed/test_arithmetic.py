"""The sums, redone by hand, and three measured rows inside their ranges."""

from __future__ import annotations

import pytest

from planner.speed import formulas
from planner.speed.constants import load_constants
from tests.speed.machines import CPU, GB, LLAMA_Q4_READ, ask, host, llama_3_8b, on_3090, ram_pool, rtx_3090, use


def test_one_stream_on_one_card_by_hand():
    """3090: 35.58e12 / 256 = 139e9 SM clocks/s; bus and cores together by the fourth-power mean; 32 launches; at
    8192 tokens 2 x 1024 x 2 bytes x 32 layers x 8192 = 1.074 GB of cache, whose elements meet 4 query heads each; one
    token drawn from 128 256 logits."""
    c = load_constants()
    stack = c.stacks["llama.cpp-cuda"]
    bus = 936.2e9 * stack.bus_fraction
    cores = 35.58e12 / 256 * c.cores.bytes_per_clock["gpu"] * c.cores.quant_factors["gpu"]["4bit-k"]
    rate = (bus**-4 + cores**-4) ** -0.25
    cache = 2 * 1024 * 2 * 32 * 8192
    attending = 35.58e12 / 256 * stack.decode_attention_flops_per_clock * 2 / (2 * 4)
    cache_rate = ((936.2e9 * stack.kv_fraction) ** -4 + attending**-4) ** -0.25
    drawing = 128_256 * c.sampling_ns_per_logit * 1e-9
    seconds = 4.58e9 / rate + cache / cache_rate + 32 * stack.layer_us * 1e-6 + drawing
    speed = on_3090(depth=8192)
    assert speed.decode_tokens_per_s.expected == pytest.approx(1 / seconds, rel=1e-9)
    assert sum(term.seconds for term in speed.terms) == pytest.approx(seconds)
    assert speed.bound_by == "bandwidth"
    weights = next(term for term in speed.terms if term.name.startswith("weights"))
    assert weights.text.startswith("4.580 GB / ")


def test_cpu_by_hand():
    """Two AVX2 cores: unpacking Q4_K bounds decode, not 80 GB/s of memory; every layer waits for both."""
    c = load_constants()
    hardware = host(cores=2, ram_bandwidth=80e9, isa=("avx2",))
    uses = (use("ram0", 0.44 * GB, layers=32),)
    speed = ask(llama_3_8b(), hardware, uses, (ram_pool(),), CPU, stack="llama.cpp-cpu")
    cpu = c.stacks["llama.cpp-cpu"]
    bus, cores = 80e9 * cpu.bus_fraction, 2 * c.cpu.gb_per_s_per_core["avx2"]["4bit-k"] * 1e9
    drawing = 128_256 * c.sampling_ns_per_logit * 1e-9
    seconds = 0.44e9 / (bus**-4 + cores**-4) ** -0.25 + 2 * 32 * cpu.layer_us * 1e-6 + drawing
    assert speed.decode_tokens_per_s.expected == pytest.approx(1 / seconds)
    assert seconds > 0.44e9 / 20e9  # less than 20 GB/s come through


def test_expert_coverage_of_eight_users():
    """8 of 128 experts, 8 users: 16 x (1 - (15/16)^8) = 6.45 times the experts of one token."""
    assert formulas.expert_coverage(8, 128, 8) == pytest.approx(16 * (1 - 0.9375**8))
    assert formulas.expert_coverage(1, 128, 8) == pytest.approx(1.0)
    assert formulas.expert_coverage(1e6, 128, 8) == pytest.approx(16.0)
    assert formulas.expert_coverage(5, 0, 0) == 1.0


def test_whole_requests():
    """4 users, 100 tokens each, prompts of 0.5 s one after another, steps of 20 ms: 400 tokens in 4 s."""
    assert formulas.aggregate_rate(4, 100, 0.5, 0.02) == pytest.approx(100.0)


def test_ring_of_four_cards():
    """2 x 3/4 x 1 token x 5120 x 2 bytes = 15 360 bytes."""
    assert formulas.ring_bytes(1, 5120, 4) == 15_360


@pytest.mark.parametrize(
    ("row", "measured", "quant_class", "read_gb", "depth", "build"),
    [
        ("T0018 RTX 3090, Llama-3-8B Q4_K_M, May 2024", 115.42, "4bit-k", 4.623, 256, "May 2024"),
        ("T0021 RTX 3090, Llama-3-8B F16, May 2024", 47.4, "16bit", 15.012, 256, "May 2024"),
    ],
)
def test_measured_rows_of_a_card_lie_in_the_range(row, measured, quant_class, read_gb, depth, build):
    speed = on_3090(read=read_gb * GB, quant_class=quant_class, depth=depth, engine_build=build).decode_tokens_per_s
    assert speed.low <= measured <= speed.high, row


def test_a_measured_cpu_lies_in_the_range():
    """T1072: Core i5-9500, 2 channels of DDR4-2666 = 42.7 GB/s, Llama-3-8B Q4_K_M: 6.51 tok/s."""
    uses = (use("ram0", LLAMA_Q4_READ, layers=32),)
    hardware = host(cores=6, ram_bandwidth=42.7e9, isa=("avx2",))
    speed = ask(llama_3_8b(), hardware, uses, (ram_pool(),), CPU, stack="llama.cpp-cpu", depth=64)
    assert speed.decode_tokens_per_s.low <= 6.51 <= speed.decode_tokens_per_s.high


def test_a_measured_prefill_lies_in_the_range():
    """T0018: 512 tokens at 4030 tok/s on an RTX 3090 with a build of May 2024."""
    speed = on_3090(engine_build="May 2024").prefill_tokens_per_s
    assert speed.low <= 4030.4 <= speed.high


def test_first_token_is_the_prompt_at_the_prefill_rate():
    speed = on_3090(prompt=2048)
    assert speed.ttft_s.expected == pytest.approx(2048 / speed.prefill_tokens_per_s.expected)


def test_an_8_bit_card_without_tensor_facts_has_a_wider_prefill():
    plain = on_3090(hardware=host(rtx_3090(fp16_flops_per_s=None, fp32_flops_per_s=None)))
    known = on_3090()
    ratio = plain.prefill_tokens_per_s.high / plain.prefill_tokens_per_s.low
    assert ratio > known.prefill_tokens_per_s.high / known.prefill_tokens_per_s.low
    assert any("FP16 peak unknown" in source for source in plain.sources)
