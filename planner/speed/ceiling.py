"""Rates that no placement of a model on a machine can exceed: what memories and cores allow at their best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.sizing.records import Placement
from planner.speed.constants import load_constants
from planner.speed.devices import cpu_reader

if TYPE_CHECKING:
    from planner.hardware.facts import Hardware
    from planner.sizing.least import LeastBytes
    from planner.sizing.records import ModelShape, Pool
    from planner.speed.devices import Reader

# Room above the fitted arithmetic of a core, for factors of engines. The largest seen is 1.0 (vLLM); a test holds it.
ABOVE_CORE_RATE: Final = 1.15


class Ceiling:
    """The best rates of one machine's memories and cores. Rates are None where a figure that counts is not known."""

    def __init__(self, hardware: Hardware, pools: tuple[Pool, ...]) -> None:
        ram = tuple(pool for pool in pools if pool.kind == "ram")
        devices = [pool for pool in pools if pool.kind != "ram"]
        self._device_bytes = sum(pool.usable_bytes for pool in devices)
        self._device_rate = _sum([pool.bandwidth_bytes_per_s for pool in devices])
        self._readers = _ram_readers(hardware, ram)
        # A machine that was measured faster than predicted may be that much faster.
        self._measured = max([1.0, *(row.measured_over_predicted for row in hardware.calibration)])
        self._copies = max(1, len([node for node in hardware.numa_nodes if not node.memory_only]))
        self._flops_per_s = None if hardware.gpus else _arithmetic_flops_per_s([reader for _, reader in self._readers])
        constants = load_constants()
        self._batch_share = max(stack.batch_compute_fraction for stack in constants.stacks.values())
        self._experts_share = constants.prefill.cpu_moe_factor

    def decode_tokens_per_s(self, least: LeastBytes, shape: ModelShape, users: int = 1) -> float | None:
        """One user's tokens per second with every memory read at full bandwidth and GPUs side by side; what GPUs
        cannot hold is read from RAM, experts first, since a token reads few of them. Where only the CPU computes,
        users beyond one per copy (at most one copy per NUMA node) cost the arithmetic of their tokens."""
        in_ram = _read_from_ram(least, self._device_bytes)
        on_devices = least.expert_read + least.dense_read - in_ram
        seconds = self._arithmetic_s(shape, max(0, users - self._copies), self._batch_share) or 0.0
        for quantity, rate in ((on_devices, self._device_rate), (in_ram, self._ram_rate(least))):
            if quantity <= 0:
                continue
            if rate is None:
                return None
            seconds += quantity / rate
        return self._measured / seconds if seconds else None

    def _ram_rate(self, least: LeastBytes) -> float | None:
        """Of the ways to use RAM that hold what GPUs cannot, the fastest."""
        needed = least.resident - self._device_bytes
        rates = [reader.bandwidth_bytes_per_s for room_bytes, reader in self._readers if room_bytes >= needed]
        known = [rate for rate in rates if rate is not None]
        return max(known) if known and len(known) == len(rates) else None

    def prefill_floor_s(self, shape: ModelShape, tokens: int) -> float | None:
        """Seconds that the arithmetic of a prompt takes at the least where only the CPU computes: at `ABOVE_CORE_RATE`
        times the fitted rate of its cores. None beside GPUs."""
        return self._arithmetic_s(shape, tokens, ABOVE_CORE_RATE * (self._experts_share if shape.experts else 1.0))

    def _arithmetic_s(self, shape: ModelShape, tokens: int, share: float) -> float | None:
        """2 FLOPs per parameter and token at a share of what the cores do in a prompt; None beside GPUs."""
        if self._flops_per_s is None:
            return None
        return 2.0 * shape.read_parameters * tokens / (self._flops_per_s * share)


def _arithmetic_flops_per_s(readers: list[Reader]) -> float | None:
    """The most that the cores of one way to read RAM calculate in a prompt; None where some are not known."""
    per_core = load_constants().cpu.prefill_gflops_per_core
    rates = [reader.cores and reader.cores * per_core[reader.isa] * 1e9 for reader in readers]
    known = [rate for rate in rates if rate]
    return max(known) if known and len(known) == len(rates) else None


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


def _read_from_ram(least: LeastBytes, on_devices: int) -> float:
    overflow = max(least.resident - on_devices, 0.0)
    if not overflow:
        return 0.0
    experts = min(overflow, least.experts)
    return (experts * least.expert_read / least.experts if least.experts else 0.0) + overflow - experts
