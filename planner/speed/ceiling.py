"""Rates that no placement of a model on a machine can exceed: what memories and cores allow at their best."""

from __future__ import annotations

from operator import le
from typing import TYPE_CHECKING, NamedTuple

from planner.sizing.records import Placement
from planner.speed.constants import load_constants
from planner.speed.devices import cpu_reader
from planner.speed.formulas import expert_coverage
from planner.speed.rates import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.catalog.records.quant import Quant, QuantClass
    from planner.hardware.facts import Hardware
    from planner.sizing.least import LeastBytes
    from planner.sizing.records import ModelShape, Pool
    from planner.speed.constants import SpeedConstants, Stack
    from planner.speed.devices import Reader


class _Way(NamedTuple):
    """One way to use RAM: what it holds, how fast weights are read, and the cores that work together."""

    held_bytes: int
    bytes_per_s: float | None
    cores: float


class Ceiling:
    """The best rates of one machine's memories and cores under some engines (`stacks`: keys of the speed constants for
    a placement on the CPU). Rates are None where a figure that counts is not known."""

    def __init__(self, hardware: Hardware, pools: tuple[Pool, ...], stacks: Iterable[str]) -> None:
        ram = tuple(pool for pool in pools if pool.kind == "ram")
        devices = [pool for pool in pools if pool.kind != "ram"]
        self._device_bytes = sum(pool.usable_bytes for pool in devices)
        self._device_rate = _sum([pool.bandwidth_bytes_per_s for pool in devices])
        self._constants = constants = load_constants()
        self._stacks = [_on_cpu(name, hardware, constants) for name in stacks]
        self._readers = _ram_readers(hardware, ram)
        self._known_ways: dict[QuantClass, tuple[_Way, ...]] = {}
        # A machine that was measured faster than predicted may be that much faster.
        self._measured = max([1.0, *(row.measured_over_predicted for row in hardware.calibration)])
        self._copies = max(1, len([node for node in hardware.numa_nodes if not node.memory_only]))
        cores = None if hardware.gpus else self._core_flops_per_s()
        self._prompt_flops_per_s = cores and cores * max((one.prefill_factor for one in self._stacks), default=1.0)
        self._batch_flops_per_s = cores and cores * max(
            (one.batch_compute_fraction for one in self._stacks), default=1.0
        )
        self._ram_bytes_per_s = _most([reader.bandwidth_bytes_per_s for _, reader in self._readers])
        self._layer_us = min((one.layer_us for one in self._stacks), default=0.0) if cores else 0.0
        self._expert_us = min((one.moe_layer_us for one in self._stacks), default=0.0) if cores else 0.0

    def decode_tokens_per_s(
        self, least: LeastBytes, shape: ModelShape, quant_class: QuantClass, users: int = 1
    ) -> float | None:
        """One user's tokens per second with GPUs side by side at full bandwidth and RAM read as fast as any of the
        engines reads it; what GPUs cannot hold is read from RAM, experts first, since a token reads few of them. Where
        only the CPU computes, users beyond one per copy (at most one copy per NUMA node) cost the arithmetic of their
        tokens, and its cores wait for each other."""
        in_ram = _read_from_ram(least, self._device_bytes)
        on_devices = least.expert_read + least.dense_read - in_ram if self._device_bytes else 0.0
        ways = [way for way in self._ways(quant_class) if way.held_bytes >= least.resident - self._device_bytes]
        ram_rate = _most([way.bytes_per_s for way in ways])
        # RAM may be the faster one: then nothing needs to lie on the devices.
        device_rate = self._device_rate and max(self._device_rate, ram_rate or 0.0)
        if (in_ram > 0 and ram_rate is None) or (on_devices > 0 and device_rate is None):
            return None
        seconds = 0.0
        if self._batch_flops_per_s:
            seconds += 2.0 * shape.read_parameters * max(0, users - self._copies) / self._batch_flops_per_s
        if device_rate:
            seconds += on_devices / device_rate
        if in_ram > 0:
            # What each core that works adds, since all wait for the slowest.
            core_s = (shape.layers * self._layer_us + shape.moe_layers * self._expert_us) * 1e-6
            seconds += min(in_ram / way.bytes_per_s + way.cores * core_s for way in ways if way.bytes_per_s)
        return self._measured / seconds if seconds else None

    def lightest(self, quants: Iterable[Quant]) -> list[Quant]:
        """The few quants that no other of them beats in size and in the time that RAM takes for a parameter: what a
        model reaches in any quant, it reaches in one of these."""
        kept: list[tuple[tuple[float, ...], Quant]] = []
        for quant in quants:
            costs = (quant.nominal_bits, *self._costs(quant))
            if any(all(map(le, other, costs)) for other, _ in kept):
                continue
            kept = [(other, one) for other, one in kept if not all(map(le, costs, other))]
            kept.append((costs, quant))
        return [quant for _, quant in kept]

    def _costs(self, quant: Quant) -> Iterable[float]:
        """Time per parameter in each way to use RAM, in any unit."""
        rates = (way.bytes_per_s for way in self._ways(quant.speed_class))
        return (quant.nominal_bits / rate if rate else 0.0 for rate in rates)

    def _ways(self, quant_class: QuantClass) -> tuple[_Way, ...]:
        """Every way to use RAM, for weights of a class."""
        if quant_class not in self._known_ways:
            self._known_ways[quant_class] = tuple(
                _Way(held, self._read_rate(reader, quant_class), reader.cores or 0.0) for held, reader in self._readers
            )
        return self._known_ways[quant_class]

    def _read_rate(self, reader: Reader, quant_class: QuantClass) -> float | None:
        """Bytes per second of weights in RAM, under the engine that reads and unpacks them fastest."""
        if reader.bandwidth_bytes_per_s is None:
            return None
        known, bandwidth = self._constants, reader.bandwidth_bytes_per_s
        factor = max(1.0, known.several.split_cpu_fraction)
        rates = [
            unpacked(reader, bandwidth * factor * self._bus_share(reader, stack), quant_class, stack, known)
            * max(1.0, stack.expert_fraction)
            for stack in self._stacks
        ]
        return max(rates, default=bandwidth)

    def _bus_share(self, reader: Reader, stack: Stack) -> float:
        return self._constants.cpu.measured_bus_fraction if reader.measured else stack.bus_fraction

    def prefill_floor_s(self, least: LeastBytes, shape: ModelShape, tokens: int) -> float | None:
        """Seconds that a prompt takes at the least where only the CPU computes: its arithmetic on the engine that does
        it fastest, and its weights read once at full bandwidth. None beside GPUs."""
        if self._prompt_flops_per_s is None:
            return None
        prefill = self._constants.prefill
        rate = self._prompt_flops_per_s * (prefill.cpu_moe_factor if shape.experts else 1.0)
        experts = least.expert_read * expert_coverage(tokens, shape.experts, shape.active_experts)
        read = prefill.stream_fraction * (least.dense_read + experts)
        read_s = read / self._ram_bytes_per_s if self._ram_bytes_per_s else 0.0
        return 2.0 * shape.read_parameters * tokens / rate + read_s

    def _core_flops_per_s(self) -> float | None:
        """The most that the cores of one way to read RAM calculate; None where some are not known."""
        per_core = self._constants.cpu.prefill_gflops_per_core
        return _most([reader.cores and reader.cores * per_core[reader.isa] * 1e9 for _, reader in self._readers])


def _on_cpu(name: str, hardware: Hardware, constants: SpeedConstants) -> Stack:
    """The constants of an engine on the CPU: for one that only GPUs run, those of the part in RAM."""
    stack, _ = constants.stack(name, hardware.gpus[0].vendor if hardware.gpus else None, hardware.os.name)
    return stack if stack.device == "cpu" else constants.stacks[stack.host]


def _ram_readers(hardware: Hardware, ram: tuple[Pool, ...]) -> tuple[tuple[int, Reader], ...]:
    """Every way to read RAM, with the bytes it can hold: bound to a node, or spread over all."""
    constants = load_constants().cpu
    nodes = tuple(node.id for node in hardware.numa_nodes if not node.memory_only)
    ways: list[tuple[tuple[Pool, ...], Placement]] = [(ram, Placement(kind="cpu"))]
    if len(nodes) > 1:
        ways = [(ram, Placement(kind="cpu", numa="interleave", numa_nodes=nodes))]
        ways += [
            ((pool,), Placement(kind="cpu", numa="bind", numa_nodes=(pool.node,)))
            for pool in ram
            if pool.node is not None
        ]
    return tuple(
        (sum(pool.usable_bytes for pool in pools), cpu_reader(hardware, placement, pools, constants))
        for pools, placement in ways
    )


def _sum(rates: list[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known and len(known) == len(rates) else None


def _most(rates: list[float | None]) -> float | None:
    """The largest; None where one is not known."""
    known = [rate for rate in rates if rate]
    return max(known) if known and len(known) == len(rates) else None


def _read_from_ram(least: LeastBytes, on_devices: int) -> float:
    overflow = max(least.resident - on_devices, 0.0)
    if not overflow:
        return 0.0
    experts = min(overflow, least.experts)
    return (experts * least.expert_read / least.experts if least.experts else 0.0) + overflow - experts
