"""How fast a device reads weights and caches, and how fast it calculates."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from planner.speed import formulas
from planner.speed.model_facts import ModelFacts, model_facts
from planner.speed.reads import Share, kv_element_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from planner.sizing.records import ExpandedModel, KvType, Placement
    from planner.speed.constants import SpeedConstants, Stack
    from planner.speed.devices import Reader

T = TypeVar("T")


class Step(msgspec.Struct, kw_only=True, eq=False, dict=True):
    """Everything that seconds depend on, gathered once; what follows from it for every sum is worked out once too."""

    expanded: ExpandedModel
    shares: tuple[Share, ...]
    placement: Placement
    stack: Stack
    constants: SpeedConstants
    quant_class: str
    kv_type: KvType
    extra_token_s: float = 0.0
    host_logits: int = 0
    weight_factor: float = 1.0
    attention_factor: float = 1.0
    latent_factor: float = 1.0
    kv_factor: float = 1.0
    prefill_factor: float = 1.0
    copied_bytes_per_weight: float = 0.0
    unfused_layer_us: float = 0.0
    launch_factor: float = 1.0

    @cached_property
    def memory(self) -> dict[Hashable, Any]:
        """What `once` has worked out."""
        return {}

    def once(self, key: Hashable, build: Callable[[], T]) -> T:
        """What does not depend on the depth, by everything that it does depend on: worked out at the first call."""
        try:
            found: T = self.memory[key]
        except KeyError:
            found = self.memory[key] = build()
        return found

    @cached_property
    def facts(self) -> ModelFacts:
        """The model, counted."""
        return model_facts(self.expanded)

    @cached_property
    def rates(self) -> tuple[tuple[float, float], ...]:
        """Bytes per second of weights and of the cache on each share's device."""
        return tuple((weight_rate(self, share), cache_rate(self, share)) for share in self.shares)


def device_stack(step: Step, reader: Reader) -> Stack:
    """The engine's constants on this device: the CPU part of a GPU stack is read as on its `host` stack."""
    if reader.device == "cpu" and step.stack.device != "cpu":
        return step.constants.stacks[step.stack.host]
    return step.stack


def weight_rate(step: Step, share: Share) -> float:
    """Bytes per second at which weights are read and unpacked on this device."""
    reader, constants = share.reader, step.constants
    stack = device_stack(step, reader)
    bandwidth = reader.bandwidth_bytes_per_s or 0.0
    if reader.device == "cpu":
        rate = _cpu_rate(step, reader, bandwidth, stack)
    else:
        bus = bandwidth * stack.bus_fraction * bridge_fraction(step, reader)
        quant = quant_factor(step, reader, constants.cores.quant_factors)
        rate = bus * quant if reader.unit_clock_per_s is None else _core_limited(step, reader, bus, quant)
    return rate * step.weight_factor


def bridge_fraction(step: Step, reader: Reader) -> float:
    """What is left of the bus where two dies read each other's memory."""
    return step.constants.cores.fused_dies_fraction if reader.fused_dies else 1.0


def quant_factor(step: Step, reader: Reader, families: dict[str, dict[str, float]]) -> float:
    """What the quant's format costs: of the chip's generation, else of the engine's kernels, else of the device."""
    names = (reader.architecture, step.stack.quant_family, reader.device)
    family = next(families[name] for name in names if name in families)
    return family.get(step.quant_class, 1.0)


def _core_limited(step: Step, reader: Reader, bus: float, quant: float) -> float:
    table = step.constants.cores.bytes_per_clock
    per_clock = of_architecture(table, reader, table[step.stack.device])
    return formulas.bandwidth_under(bus, (reader.unit_clock_per_s or 0.0) * per_clock * quant)


def _cpu_rate(step: Step, reader: Reader, bandwidth: float, stack: Stack) -> float:
    fraction = step.constants.cpu.measured_bus_fraction if reader.measured else stack.bus_fraction
    if step.stack.device != "cpu":
        fraction *= step.constants.several.split_cpu_fraction
    return unpacked(reader, bandwidth * fraction, step.quant_class, stack, step.constants)


def unpacked(
    reader: Reader, bus_bytes_per_s: float, quant_class: str, stack: Stack, constants: SpeedConstants
) -> float:
    """Bytes per second that a CPU reads and unpacks where its bus delivers so many: within what the links of its dies
    carry, and its cores, where these are known."""
    if reader.links_bytes_per_s:
        bus_bytes_per_s = formulas.bandwidth_under(bus_bytes_per_s, reader.links_bytes_per_s)
    if reader.cores is None:
        return bus_bytes_per_s
    per_core = constants.cpu.gb_per_s_per_core[reader.isa][quant_class] * stack.unpack_factor * 1e9
    return formulas.bandwidth_under(bus_bytes_per_s, reader.cores * per_core)


def cache_rate(step: Step, share: Share) -> float:
    """Bytes per second at which attention reads the cache on this device; CPU cores have to calculate with them too."""
    reader = share.reader
    stack = device_stack(step, reader)
    ratio = step.facts.query_ratio
    efficiency = stack.kv_fraction * (step.constants.cores.mla_cache_factor if step.facts.latent else 1.0)
    bus = (reader.bandwidth_bytes_per_s or 0.0) * efficiency * bridge_fraction(step, reader)
    if reader.device != "cpu":
        if reader.unit_clock_per_s is None:
            return bus * step.kv_factor
        # 2 operations per element of a key and of a value, for each of the `ratio` heads that share it
        flops_per_byte = 2.0 * ratio / kv_element_bytes(step.kv_type.k)
        flops_per_s = reader.unit_clock_per_s * stack.decode_attention_flops_per_clock * step.attention_factor
        flops_per_s *= step.latent_factor if step.facts.latent else 1.0
        return formulas.bandwidth_under(bus, flops_per_s / flops_per_byte) * step.kv_factor
    if not reader.cores:
        return bus
    # one core's score (a query head at a cached token) reads its part of a key and a value shared by `ratio` heads
    head_width = step.facts.head_width
    bytes_per_score = 2.0 * head_width * kv_element_bytes(step.kv_type.k) / ratio
    return formulas.bandwidth_under(bus, reader.cores * bytes_per_score / cpu_score_s(step, head_width))


def cpu_score_s(step: Step, head_width: float) -> float:
    """Seconds that one core takes for one score while decoding: a fixed part (two calls, an exponential, a rescaling),
    then 4 operations per element of the head."""
    cpu = step.constants.cpu
    fixed_ns = cpu.attention_ns_per_score["flash" if step.kv_factor == 1.0 else "plain"]
    return (fixed_ns + 4.0 * head_width / cpu_attention_gflops(step)) * 1e-9


def cpu_attention_gflops(step: Step) -> float:
    """GFLOP/s of one core on the elements of 16-bit or quantized caches."""
    table = step.constants.cpu.attention_gflops_per_core
    return table["16bit" if step.kv_type.k in {"f16", "bf16", "auto"} else "quantized"]


def elements_read(step: Step, share: Share) -> tuple[float, float]:
    """Weight elements that one token uses on this device, those of routed experts apart: its parts, by bytes."""
    shape = step.expanded.shape
    experts = shape.expert_parameters * shape.active_experts / shape.experts if shape.experts else 0.0
    dense_bytes = sum(other.dense_bytes for other in step.shares)
    expert_bytes = sum(other.expert_bytes for other in step.shares)
    dense = (shape.read_parameters - experts) * share.dense_bytes / dense_bytes if dense_bytes else 0.0
    return dense, experts * share.expert_bytes / expert_bytes if expert_bytes else 0.0


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
    """FP16 peak (Apple: what matrix products reach); unknown: from the bandwidth, as a usual card has it."""
    if reader.device == "apple" and reader.unit_clock_per_s:
        return reader.unit_clock_per_s * flops_per_clock(reader, constants)
    if reader.flops_per_s:
        return reader.flops_per_s
    return (reader.bandwidth_bytes_per_s or 0.0) * constants.prefill.assumed_flops_per_byte


def matrix_flops(reader: Reader, constants: SpeedConstants) -> float:
    """FLOPs per second of large matrix products on a GPU: units x clock x what the architecture reaches per clock."""
    if reader.unit_clock_per_s:
        return reader.unit_clock_per_s * flops_per_clock(reader, constants)
    return peak_flops(reader, constants) * constants.prefill.assumed_share


def flops_per_clock(reader: Reader, constants: SpeedConstants) -> float:
    """FLOPs of matrix products per unit and clock: of the architecture, else of the vendor."""
    table = constants.prefill.flops_per_clock
    vendor = reader.gpu.vendor if reader.gpu else "nvidia"
    return of_architecture(table, reader, table.get(vendor, table["nvidia"]))


def of_architecture(table: dict[str, float], reader: Reader, otherwise: float) -> float:
    """The entry of the compute capability, else the one whose key begins the architecture's name, the longest first
    (`rdna 3.5` before `rdna 3`)."""
    capability = f"sm {reader.gpu.compute_capability}" if reader.gpu else ""
    if capability in table:
        return table[capability]
    name = reader.architecture
    if name in table:
        return table[name]
    keys = [key for key in table if name.startswith(key)]
    return table[max(keys, key=len)] if keys else otherwise


def reduce_bytes_per_s(step: Step) -> float:
    """What an all-reduce moves per second and card: NVLink where every card has peers, else PCIe."""
    several = step.constants.several
    gpus = [share.reader.gpu for share in step.shares if share.reader.gpu is not None]
    nvlink = bool(gpus) and all(gpu.nvlink_peers for gpu in gpus)
    return (several.nvlink_gb_per_s if nvlink else several.reduce_gb_per_s) * 1e9
