"""The three worked rows of docs/speed.md, redone from the facts of device and model and the stored constants."""

from __future__ import annotations

import pytest

from planner.speed.constants import Stack, load_constants
from tools.speed_table import PAGE

C = load_constants()
LLAMA_CACHE = 2 * 1024 * 2 * 32  # keys and values of 8 heads of 128 in f16 over 32 layers: bytes per token


def together(bus: float, core: float) -> float:
    return (bus**-4 + core**-4) ** -0.25


def attending(unit_clocks: float, stack: Stack, ratio: int) -> float:
    """Cache bytes per second that the units can calculate with: a 16-bit element meets `ratio` query heads at 2
    operations each."""
    return unit_clocks * stack.decode_attention_flops_per_clock * 2 / (2 * ratio)


def rtx_5090() -> float:
    """1792 GB/s, 104.8 TFLOP/s FP32 / 256 = 409.4 G unit-clocks; 16.077 GB of Q4_K_M per token (16.815 GB file less
    the embedding of 248 320 x 5120 at 4.5 bits and the metadata); of 64 layers 16 attend (4 heads of 256), 48 keep
    48 x 128 x 128 of state and 10 240 x 3 of convolution in F32, read and written; 6 query heads share a cached one."""
    stack = C.stacks["llama.cpp-cuda"]
    quant = C.cores.quant_factors["gpu"]["4bit-k"]
    rate = together(1792e9 * stack.bus_fraction, 104.8e12 / 256 * C.cores.bytes_per_clock["gpu"] * quant)
    cache = 8256 * 16 * 2 * 4 * 256 * 2
    cache_rate = together(1792e9 * stack.kv_fraction, attending(104.8e12 / 256, stack, 6))
    state = 48 * (48 * 128 * 128 + 10_240 * 3) * 4 * 2
    norms = 2 + (16 * 2 + 48) / 64  # on top of two per layer: queries and keys where attended, the gate where not
    launch = 64 * stack.layer_us * (1 + stack.norm_share * (norms - 2)) + 48 * stack.recurrent_layer_us
    return 16.077e9 / rate + cache / cache_rate + state / rate + launch * 1e-6


def rx_7900_xtx() -> float:
    """960 GB/s, 61.39 TFLOP/s FP32 / 256; 4.617 GB of Q4_K_M per token; 4 query heads share a cached one."""
    stack = C.stacks["llama.cpp-rocm"]
    quant = C.cores.quant_factors["amd"]["4bit-k"]
    rate = together(960e9 * stack.bus_fraction, 61.39e12 / 256 * C.cores.bytes_per_clock["gpu"] * quant)
    cache_rate = together(960e9 * stack.kv_fraction, attending(61.39e12 / 256, stack, 4))
    return 4.617e9 / rate + 4128 * LLAMA_CACHE / cache_rate + 32 * stack.layer_us * 1e-6


def core_i5_9500() -> float:
    """42.7 GB/s, 6 AVX2 cores; a score reads a key and a value of 128 elements of 2 bytes, shared by 4 query heads."""
    stack = C.stacks["llama.cpp-cpu"]
    rate = together(42.7e9 * stack.bus_fraction, 6 * C.cpu.gb_per_s_per_core["avx2"]["4bit-k"] * 1e9)
    score_ns = C.cpu.attention_ns_per_score["flash"] + 4 * 128 / C.cpu.attention_gflops_per_core["16bit"]
    attention = 6 * (2 * 128 * 2 / 4) / (score_ns * 1e-9)
    cache_rate = together(42.7e9 * stack.kv_fraction, attention)
    return 4.617e9 / rate + 64 * LLAMA_CACHE / cache_rate + 6 * 32 * stack.layer_us * 1e-6


@pytest.mark.parametrize(
    ("row", "seconds", "measured"),
    [("T1690", rtx_5090, 75.54), ("T1098", rx_7900_xtx, 98.54), ("T1072", core_i5_9500, 6.51)],
)
def test_the_page_redone(row, seconds, measured):
    """The page's sum is the paper's to a hundredth of a millisecond in ten, and within a quarter of the measurement."""
    block = PAGE.read_text(encoding="utf-8").split(f"(row {row}):")[1].split("together")[1].splitlines()[0]
    milliseconds, rest = block.split(" ms = ")
    assert float(milliseconds) == pytest.approx(seconds() * 1e3, rel=1e-3)
    rate, _, published = rest.partition(" tok/s; measured ")
    assert float(rate) == pytest.approx(1e3 / float(milliseconds), abs=0.1)
    assert float(published) == measured
    assert 1e3 / float(milliseconds) == pytest.approx(measured, rel=0.25)
