"""One decode step: seconds per token, term by term, over the devices that hold the model."""

from __future__ import annotations

from planner.sizing.records import ExpandedModel, KvType, Placement, Record
from planner.speed import formulas
from planner.speed.constants import SpeedConstants, Stack
from planner.speed.devices import Reader
from planner.speed.reads import Share, cache_bytes, state_bytes
from planner.speed.records import BoundBy, Term


class Step(Record, kw_only=True):
    """Everything a decode step depends on, gathered once; `seconds` and `terms` are functions of it."""

    expanded: ExpandedModel
    shares: tuple[Share, ...]
    placement: Placement
    stack: Stack
    constants: SpeedConstants
    quant_class: str
    kv_type: KvType
    extra_token_s: float = 0.0
    weight_factor: float = 1.0
    kv_factor: float = 1.0
    prefill_factor: float = 1.0


class Cost(Record, kw_only=True):
    """A term and what kind of limit it is."""

    term: Term
    bound: BoundBy


def step_seconds(step: Step, depth: float, sequences: float) -> float:
    """Seconds of one step in which each of `sequences` users gets a token at `depth`."""
    return sum(cost.term.seconds for cost in step_costs(step, depth, sequences))


def step_costs(step: Step, depth: float, sequences: float = 1.0) -> tuple[Cost, ...]:
    """The terms of one step. Several terms of tensor-parallel cards run at once: only the slowest card counts."""
    per_share = [_share_costs(step, share, depth, sequences) for share in step.shares]
    if step.placement.tensor_parallel > 1:
        gpu = [costs for costs, share in zip(per_share, step.shares, strict=True) if share.reader.device != "cpu"]
        rest = [costs for costs, share in zip(per_share, step.shares, strict=True) if share.reader.device == "cpu"]
        slowest = max(gpu, key=lambda costs: sum(cost.term.seconds for cost in costs), default=[])
        per_share = [slowest, *rest]
    costs = [cost for costs in per_share for cost in costs]
    return (*costs, *_launch(step), *_between(step, sequences))


def _share_costs(step: Step, share: Share, depth: float, sequences: float) -> list[Cost]:
    shape = step.expanded.shape
    coverage = formulas.expert_coverage(sequences, shape.experts, shape.active_experts)
    expert_bytes = min(share.expert_bytes * coverage, max(share.expert_bytes, share.expert_resident_bytes))
    rate = weight_rate(step, share)
    costs = [
        _read("weights", share, share.dense_bytes, rate),
        _read("experts", share, expert_bytes, rate * step.stack.expert_fraction),
    ]
    whole = cache_bytes(step.expanded, step.kv_type, depth, step.placement.tensor_parallel)
    cache = whole * _cache_part(step, share) * sequences
    costs.append(_read("cache", share, cache, cache_rate(step, share)))
    state = state_bytes(step.expanded) * share.cache_share * sequences
    costs.append(_read("state", share, state, rate))
    if sequences > 1:
        costs.append(_arithmetic(step, share, sequences))
    return [cost for cost in costs if cost.term.seconds > 0]


def _cache_part(step: Step, share: Share) -> float:
    """The part of the (already divided) cache in this pool: all of a card's own part under tensor parallelism."""
    return 1.0 if step.placement.tensor_parallel > 1 and share.cache_share else share.cache_share


def weight_rate(step: Step, share: Share) -> float:
    """Bytes per second at which weights are read and unpacked on this device."""
    reader, constants = share.reader, step.constants
    stack = device_stack(step, reader)
    bandwidth = reader.bandwidth_bytes_per_s or 0.0
    if reader.device == "cpu":
        rate = _cpu_rate(step, reader, bandwidth, stack)
    else:
        bus = bandwidth * stack.bus_fraction
        quant = constants.cores.quant_factors[stack.device].get(step.quant_class, 1.0)
        rate = bus * quant if reader.unit_clock_per_s is None else _core_limited(step, reader, bus, quant)
    return rate * step.weight_factor


def _core_limited(step: Step, reader: Reader, bus: float, quant: float) -> float:
    per_clock = step.constants.cores.bytes_per_clock[step.stack.device]
    return formulas.bandwidth_under(bus, (reader.unit_clock_per_s or 0.0) * per_clock * quant)


def _cpu_rate(step: Step, reader: Reader, bandwidth: float, stack: Stack) -> float:
    fraction = step.constants.cpu.measured_bus_fraction if reader.measured else stack.bus_fraction
    if step.stack.device != "cpu":
        fraction *= step.constants.several.split_cpu_fraction
    bus = bandwidth * fraction
    if reader.cores is None:
        return bus
    per_core = step.constants.cpu.gb_per_s_per_core[reader.isa][step.quant_class] * 1e9
    return formulas.bandwidth_under(bus, reader.cores * per_core)


def device_stack(step: Step, reader: Reader) -> Stack:
    """The engine's constants on this device: the CPU part of a GPU stack is read as on llama.cpp's CPU backend."""
    if reader.device == "cpu" and step.stack.device != "cpu":
        return step.constants.stacks["llama.cpp-cpu"]
    return step.stack


def cache_rate(step: Step, share: Share) -> float:
    """Bytes per second at which attention reads the cache on this device."""
    reader = share.reader
    stack = device_stack(step, reader)
    ratio = query_ratio(step.expanded)
    efficiency = formulas.kv_efficiency(stack.kv_fraction, ratio, stack.gqa_exponent) * step.kv_factor
    if any(cache.mla for cache in step.expanded.caches):
        efficiency *= step.constants.cores.mla_cache_factor
    return (reader.bandwidth_bytes_per_s or 0.0) * efficiency


def query_ratio(expanded: ExpandedModel) -> float:
    """Query heads behind one cached head; 4, the neutral ratio, where that is unknown or the cache is a latent."""
    heads = [cache.heads for cache in expanded.caches if cache.kind != "recurrent" and cache.heads and not cache.mla]
    return expanded.shape.heads / min(heads) if heads and expanded.shape.heads else 4.0


def _read(name: str, share: Share, quantity: float, rate: float) -> Cost:
    seconds = quantity / rate if quantity else 0.0
    where = share.reader.name
    text = (
        f"{quantity / 1e9:.3f} GB / {rate / 1e9:.1f} GB/s = {seconds * 1e3:.2f} ms" if quantity else "nothing to read"
    )
    return Cost(term=Term(name=f"{name} on {where}", seconds=seconds, text=text), bound="bandwidth")


def _arithmetic(step: Step, share: Share, sequences: float) -> Cost:
    """FLOPs of the users beyond the first: 2 per weight element read, at the share of the peak that batches reach."""
    flops = 2.0 * elements_read(step, share) * (sequences - 1.0)
    rate = batch_flops_per_s(step, share)
    seconds = flops / rate if rate else 0.0
    text = f"{sequences - 1:.0f} more x {flops / (sequences - 1) / 1e9:.1f} GFLOP / {rate / 1e12:.2f} TFLOP/s"
    name = f"arithmetic on {share.reader.name}"
    return Cost(term=Term(name=name, seconds=seconds, text=f"{text} = {seconds * 1e3:.2f} ms"), bound="compute")


def elements_read(step: Step, share: Share) -> float:
    """Weight elements that one token uses on this device: its part of the model's, by bytes."""
    mine = share.dense_bytes + share.expert_bytes
    total = sum(other.dense_bytes + other.expert_bytes for other in step.shares)
    return step.expanded.shape.read_parameters * mine / total if total else 0.0


def batch_flops_per_s(step: Step, share: Share) -> float:
    """Arithmetic of small batches; 0 when nothing is known of the device."""
    reader = share.reader
    if reader.device == "cpu":
        per_core = step.constants.cpu.prefill_gflops_per_core[reader.isa] * 1e9
        return (reader.cores or 0.0) * per_core * device_stack(step, reader).batch_compute_fraction
    stack = step.stack
    fraction = stack.batch_compute_fraction * (stack.batch_4bit_factor if step.quant_class.startswith("4bit") else 1.0)
    if step.expanded.shape.experts:
        fraction *= stack.batch_moe_factor
    return peak_flops(reader, step.constants) * fraction


def peak_flops(reader: Reader, constants: SpeedConstants) -> float:
    """FP16 peak (Apple: what the cores reach); unknown: from the bandwidth, as a usual card has it."""
    if reader.device == "apple" and reader.apple_cores:
        table = constants.prefill.apple_gflops_per_core
        per_core = table.get(reader.architecture) or max(table.values())
        return reader.apple_cores * per_core * 1e9
    if reader.flops_per_s:
        return reader.flops_per_s
    return (reader.bandwidth_bytes_per_s or 0.0) * constants.prefill.assumed_flops_per_byte


def _launch(step: Step) -> list[Cost]:
    shape, stack = step.expanded.shape, step.stack
    dense, moe = shape.layers, shape.moe_layers
    recurrent = sum(len(cache.layers) for cache in step.expanded.caches if cache.kind == "recurrent")
    recurrent = recurrent if stack.recurrent_layer_us else 0
    micros = dense * stack.layer_us + moe * stack.moe_layer_us + recurrent * stack.recurrent_layer_us + stack.token_us
    seconds = micros * 1e-6
    text = f"{dense} layers x {stack.layer_us:g} us"
    if moe:
        text += f" + {moe} expert layers x {stack.moe_layer_us:g} us"
    if recurrent:
        text += f" + {recurrent} recurrent layers x {stack.recurrent_layer_us:g} us"
    if stack.token_us:
        text += f" + {stack.token_us:g} us"
    costs = [Cost(term=Term(name="launch", seconds=seconds, text=f"{text} = {seconds * 1e3:.2f} ms"), bound="launch")]
    if step.extra_token_s:
        text = f"{step.extra_token_s * 1e3:.2f} ms per token in the server around the engine"
        costs.append(Cost(term=Term(name="server", seconds=step.extra_token_s, text=text), bound="launch"))
    return costs


def _between(step: Step, sequences: float) -> list[Cost]:
    """What moving between devices costs: cards of a layer split, all-reduces, layers handed to the CPU."""
    several, placement, shape = step.constants.several, step.placement, step.expanded.shape
    cards = sum(1 for share in step.shares if share.reader.device != "cpu")
    costs: list[Cost] = []
    if placement.tensor_parallel > 1:
        costs.append(_reduce(step, placement.tensor_parallel, sequences))
    elif cards > 1:
        seconds = (cards - 1) * several.card_us * 1e-6
        text = f"{cards - 1} more cards x {several.card_us:g} us = {seconds * 1e3:.2f} ms"
        costs.append(Cost(term=Term(name="between cards", seconds=seconds, text=text), bound="link"))
    handed = handed_layers(placement, shape.layers) if cards else 0
    if handed:
        seconds = handed * several.handoff_us * 1e-6
        text = f"{handed} layers x {several.handoff_us:g} us = {seconds * 1e3:.2f} ms"
        costs.append(Cost(term=Term(name="GPU to CPU and back", seconds=seconds, text=text), bound="link"))
    return costs


def handed_layers(placement: Placement, layers: int) -> int:
    """Layers that wait for the CPU: those whose experts lie in RAM, or that lie there whole."""
    if placement.cpu_expert_layers:
        return min(placement.cpu_expert_layers, layers)
    return max(0, layers - placement.gpu_layers) if placement.gpu_layers is not None else 0


def _reduce(step: Step, cards: int, sequences: float) -> Cost:
    several, shape = step.constants.several, step.expanded.shape
    rate = reduce_bytes_per_s(step)
    moved = formulas.ring_bytes(sequences, shape.hidden_size, cards)
    seconds = 2 * shape.layers * (several.reduce_us * 1e-6 + moved / rate)
    text = (
        f"2 x {shape.layers} all-reduces x ({several.reduce_us:g} us + {moved / 1e3:.0f} kB / {rate / 1e9:.1f} GB/s)"
        f" = {seconds * 1e3:.2f} ms"
    )
    return Cost(term=Term(name="all-reduce", seconds=seconds, text=text), bound="link")


def reduce_bytes_per_s(step: Step) -> float:
    """What an all-reduce moves per second and card: NVLink where every card has peers, else PCIe."""
    several = step.constants.several
    gpus = [share.reader.gpu for share in step.shares if share.reader.gpu is not None]
    nvlink = bool(gpus) and all(gpu.nvlink_peers for gpu in gpus)
    return (several.nvlink_gb_per_s if nvlink else several.reduce_gb_per_s) * 1e9


def bound_by(costs: tuple[Cost, ...]) -> BoundBy:
    """The kind of limit with the most seconds."""
    totals: dict[BoundBy, float] = {}
    for cost in costs:
        totals[cost.bound] = totals.get(cost.bound, 0.0) + cost.term.seconds
    return max(totals, key=lambda kind: totals[kind]) if totals else "unknown"
