"""The speed model over arrays of measured rows: the sums of planner.speed.decode and planner.speed.prefill, built from
the same formulas, so that all rows cost one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner.speed import formulas

Constants = dict[str, Any]
Rows = dict[str, Any]
Array = np.ndarray


def by_row(rows: Rows, key: str, table: dict[str, float]) -> Array:
    """One constant per row, looked up by a column."""
    names, inverse = _codes(rows, key)
    return np.array([table[name] for name in names])[inverse]


def _codes(rows: Rows, key: str) -> tuple[Array, Array]:
    """The distinct values of a column and each row's place among them, found once per set of rows."""
    known = rows.setdefault("codes", {})
    if key not in known:
        known[key] = np.unique(rows[key], return_inverse=True)
    return known[key]


def stack_constant(rows: Rows, c: Constants, field: str, default: float = 0.0) -> Array:
    return by_row(rows, "stack", {name: float(stack.get(field, default)) for name, stack in c["stacks"].items()})


def quant_factor(rows: Rows, c: Constants) -> Array:
    table = {}
    for device in ("gpu", "apple"):
        for quant, value in c["cores"]["quant_factors"][device].items():
            table[f"{device} {quant}"] = value
    return by_row(rows, "device_quant", table)


def gpu_rate(rows: Rows, c: Constants) -> Array:
    """Bytes per second of weights on one card."""
    bus = rows["bandwidth"] * stack_constant(rows, c, "bus_fraction")
    quant = quant_factor(rows, c)
    per_clock = np.where(
        rows["device_class"] == "apple", c["cores"]["bytes_per_clock"]["apple"], c["cores"]["bytes_per_clock"]["gpu"]
    )
    known = rows["clock"] > 0
    core = np.where(known, rows["clock"], 1.0) * per_clock * quant
    rate = np.where(known, formulas.bandwidth_under(bus, core), bus * quant)
    return rate * np.where(rows["old"], c["builds"]["weight_factor"], 1.0)


def cpu_rate(rows: Rows, c: Constants) -> Array:
    """Bytes per second of weights on the CPU of the row."""
    cpu = c["cpu"]
    table = {f"{isa} {quant}": rate for isa, rates in cpu["gb_per_s_per_core"].items() for quant, rate in rates.items()}
    per_core = by_row(rows, "isa_quant", table) * 1e9
    fraction = np.where(rows["hybrid"], c["several"]["split_cpu_fraction"], 1.0)
    numa = numa_factor(rows, c)
    bus = rows["host_bandwidth"] * c["stacks"]["llama.cpp-cpu"]["bus_fraction"] * fraction * numa
    known = rows["cores"] > 0
    rate = np.where(known, formulas.bandwidth_under(bus, np.where(known, rows["cores"], 1.0) * per_core), bus)
    return rate * np.where(rows["ik"], cpu["ik_factor"], 1.0)


def numa_factor(rows: Rows, c: Constants) -> Array:
    """Share of the sockets' summed bandwidth: pages interleaved, or wherever the system put them."""
    several = np.where(rows["unplaced"], c["cpu"]["unplaced_factor"], c["cpu"]["interleave_factor"])
    return np.where(rows["nodes"] > 1, several, 1.0)


def coverage(rows: Rows, sequences: Array) -> Array:
    share = np.where(rows["experts"] > 0, rows["active"] / np.maximum(rows["experts"], 1), 1.0)
    return (1.0 - (1.0 - share) ** sequences) / share


def weight_seconds(rows: Rows, c: Constants) -> Array:
    sequences = rows["batch"]
    expert = np.minimum(rows["expert"] * coverage(rows, sequences), np.maximum(rows["resident"], rows["expert"]))
    expert_fraction = stack_constant(rows, c, "expert_fraction")
    on_cpu = rows["on_cpu"]
    moe = rows["experts"] > 0
    all_cpu = rows["kind"] == "cpu"
    cpu_expert = np.where(all_cpu, expert, np.where(moe, np.minimum(on_cpu, rows["expert"]), 0.0))
    cpu_dense = np.where(all_cpu, rows["dense"], on_cpu - np.where(moe, cpu_expert, 0.0))
    gpu_dense, gpu_expert = rows["dense"] - cpu_dense, expert - cpu_expert
    gpu = (gpu_dense + gpu_expert / expert_fraction) / gpu_rate(rows, c) / rows["tensor"]
    # the CPU part of a GPU stack keeps the GPU stack's expert fraction, as decode._share_costs does
    cpu = (cpu_dense + cpu_expert / expert_fraction) / cpu_rate(rows, c)
    return np.where(all_cpu, 0.0, gpu) + cpu


def cache_seconds(rows: Rows, c: Constants) -> Array:
    """Seconds per sequence of reading the cache."""
    fraction = stack_constant(rows, c, "kv_fraction")
    exponent = stack_constant(rows, c, "gqa_exponent")
    efficiency = fraction * (rows["gqa"] / 4.0) ** -exponent
    efficiency = efficiency * np.where(rows["no_flash"], c["builds"]["kv_factor"], 1.0)
    efficiency = efficiency * np.where(rows["ik"] & (rows["kind"] == "cpu"), c["cpu"]["ik_cache_factor"], 1.0)
    efficiency = efficiency * np.where(rows["mla"], c["cores"]["mla_cache_factor"], 1.0)
    numa = np.where(rows["kind"] == "cpu", numa_factor(rows, c), 1.0)
    return rows["cache"] / (rows["bandwidth"] * efficiency * numa)


def step_seconds(rows: Rows, c: Constants) -> Array:
    """Seconds of one decode step of `batch` sequences."""
    batch, several = rows["batch"], c["several"]
    state = rows["state"] / rows["tensor"] / np.where(rows["kind"] == "cpu", cpu_rate(rows, c), gpu_rate(rows, c))
    compute = (batch - 1.0) * 2.0 * rows["elements"] / np.maximum(batch_flops(rows, c), 1.0)
    launch = (
        rows["layers"] * stack_constant(rows, c, "layer_us")
        + rows["moe_layers"] * stack_constant(rows, c, "moe_layer_us")
        + rows["recurrent_layers"] * stack_constant(rows, c, "recurrent_layer_us")
        + stack_constant(rows, c, "token_us")
    ) * 1e-6
    cards, tensor = rows["cards"], rows["tensor"]
    layer_split = np.where((cards > 1) & (tensor == 1), (cards - 1) * several["card_us"] * 1e-6, 0.0)
    moved = formulas.ring_bytes(batch, rows["hidden"], tensor)
    reduce = 2 * rows["layers"] * (several["reduce_us"] * 1e-6 + moved / (several["reduce_gb_per_s"] * 1e9))
    handoff = rows["moved_layers"] * several["handoff_us"] * 1e-6
    server = np.where(rows["ollama"], c["ollama_token_us"] * 1e-6, 0.0)
    between = layer_split + np.where(tensor > 1, reduce, 0.0) + handoff + server
    return weight_seconds(rows, c) + batch * (cache_seconds(rows, c) + state) + compute + launch + between


def batch_flops(rows: Rows, c: Constants) -> Array:
    peak = np.where(rows["kind"] == "cpu", cpu_flops(rows, c), peak_flops(rows, c))
    four = np.where(np.char.startswith(rows["quant"], "4bit"), stack_constant(rows, c, "batch_4bit_factor", 1.0), 1.0)
    moe = np.where(rows["experts"] > 0, stack_constant(rows, c, "batch_moe_factor", 1.0), 1.0)
    return peak * stack_constant(rows, c, "batch_compute_fraction") * four * moe * rows["tensor"]


def peak_flops(rows: Rows, c: Constants) -> Array:
    apple = c["prefill"]["apple_gflops_per_core"]
    generations = by_row(
        {"key": np.where(rows["kind"] == "apple", rows["architecture"], "none")}, "key", apple | {"none": 0.0}
    )
    known = np.where(rows["kind"] == "apple", rows["apple_cores"] * generations * 1e9, rows["peak"])
    return np.where(known > 0, known, rows["bandwidth"] * c["prefill"]["assumed_flops_per_byte"])


def cpu_flops(rows: Rows, c: Constants) -> Array:
    return rows["prefill_cores"] * by_row(rows, "isa", c["cpu"]["prefill_gflops_per_core"]) * 1e9


def decode_rate(rows: Rows, c: Constants) -> Array:
    """Tokens per second as each row counts them: one stream, or output of all users over whole requests."""
    step = step_seconds(rows, c)
    batched = rows["batch"] > 1
    whole = np.isin(rows["method"], ["server aggregate", "vllm throughput"]) & (rows["n_prompt"] > 0)
    shown = np.where(batched, stack_constant(rows, c, "batch_prefill_fraction", 1.0), 1.0)
    prefill = np.where(whole, prefill_seconds(rows, c, np.maximum(rows["n_prompt"], 1.0), 0.0), 0.0) * shown
    n_gen = np.where(whole & (rows["n_gen"] > 0), rows["n_gen"], 1.0)
    return formulas.aggregate_rate(rows["batch"], n_gen, prefill, step)


def prefill_flops(rows: Rows, c: Constants) -> Array:
    """FLOP/s of prompt processing of one card, or of the CPU."""
    prefill = c["prefill"]
    names, inverse = _codes(rows, "architecture")
    shares = np.array([_share(str(name), prefill) for name in names])[inverse]
    shares = np.where(rows["device_class"] == "apple", 1.0, shares)
    cpu = rows["kind"] == "cpu"
    rate = np.where(cpu, cpu_flops(rows, c), peak_flops(rows, c) * shares)
    moe = np.where(rows["kind"] == "apple", prefill["apple_moe_factor"], prefill["moe_factor"])
    moe = np.where(cpu, prefill["cpu_moe_factor"], moe)
    rate = (
        rate * np.where(rows["experts"] > 0, moe, 1.0) * np.where(rows["ik"] & cpu, c["cpu"]["ik_prefill_factor"], 1.0)
    )
    return (
        rate
        * stack_constant(rows, c, "prefill_factor", 1.0)
        * np.where(rows["old"], c["builds"]["prefill_factor"], 1.0)
    )


def _share(architecture: str, prefill: Constants) -> float:
    keys = [key for key in prefill["share"] if architecture.startswith(key)]
    return prefill["share"][max(keys, key=len)] if keys else prefill["default_share"]


def prefill_seconds(rows: Rows, c: Constants, tokens: Array, depth: Array | float) -> Array:
    """Seconds of processing `tokens` tokens after `depth` when everything lies on the cards (or on the CPU)."""
    prefill, several = c["prefill"], c["several"]
    rate = np.maximum(prefill_flops(rows, c), 1.0)
    peak = peak_flops(rows, c)
    on_cpu = rows["kind"] == "cpu"
    attention = np.where(on_cpu, rate * prefill["cpu_attention_factor"], peak * prefill["attention_share"])
    attention = attention * np.where(on_cpu, 1.0, stack_constant(rows, c, "attention_factor", 1.0))
    flops = rows["full_layers"] * rows["query_width"] * (depth + tokens / 2) + rows["window_layers"] * rows[
        "query_width"
    ] * (np.minimum(depth, rows["window"]) + tokens / 2)
    batches = np.ceil(tokens / 512)
    touched = np.minimum(
        rows["expert"] * coverage(rows, tokens / batches), np.maximum(rows["resident"], rows["expert"])
    )
    bandwidth = np.where(on_cpu, rows["host_bandwidth"], rows["bandwidth"])
    stream = batches * prefill["stream_fraction"] * (rows["dense"] + touched) / bandwidth
    own = 2 * rows["elements"] * tokens / rate + 4 * flops * tokens / attention + stream
    moved = formulas.ring_bytes(tokens, rows["hidden"], rows["tensor"])
    reduce = np.where(rows["tensor"] > 1, 2 * rows["layers"] * moved / (several["reduce_gb_per_s"] * 1e9), 0.0)
    return own / rows["tensor"] + reduce * several["prefill_reduce_share"] + prefill["fixed_ms"] * 1e-3
