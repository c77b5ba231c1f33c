"""Devices and processors whose figures are published."""

from typing import Literal, Protocol

from planner.catalog.records.base import Record


class Device(Record, kw_only=True):
    """A GPU, an Apple chip bin or an accelerator. Bandwidths in bytes per second, FLOP rates dense peaks.
    `driver_memory_bytes`: what the driver reports as total, where it is known; `usual`: the one meant by a bare
    family name (`H100`)."""

    id: str
    name: str
    vendor: str
    kind: Literal["gpu", "apple", "apu", "accelerator", "cpu"]
    architecture: str | None = None
    memory_bytes: int | None = None
    driver_memory_bytes: int | None = None
    memory_type: str | None = None
    bandwidth_bytes_per_s: float | None = None
    measured_bandwidth_bytes_per_s: float | None = None
    fp16_flops_per_s: float | None = None
    fp32_flops_per_s: float | None = None
    bf16: bool | None = None
    fp8: bool | None = None
    fp4: bool | None = None
    compute_capability: str | None = None
    bus: str | None = None
    nvlink: bool | None = None
    power_watts: float | None = None
    gpu_cores: int | None = None
    memory_options_bytes: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()
    usual: bool = False
    note: str | None = None
    source: str


class CpuSeries(Record, kw_only=True):
    """A CPU series: what its platform's memory can deliver at most. `match` are name fragments, all must appear
    (case ignored); theoretical bandwidth of one socket = channels x 8 bytes x MT/s."""

    id: str
    name: str
    match: tuple[str, ...]
    socket: str | None = None
    cores: int | None = None
    channels: int | None = None
    mt_per_s: int | None = None
    memory_type: str | None = None
    isa: tuple[str, ...] = ()
    source: str

    @property
    def socket_bandwidth_bytes_per_s(self) -> float | None:
        """Theoretical read bandwidth of one socket: channels x 8 bytes x transfers per second."""
        if self.channels is None or self.mt_per_s is None:
            return None
        return self.channels * 8 * self.mt_per_s * 1e6


class DeviceTable(Protocol):
    """Look-ups that hardware readers are handed: the catalog satisfies it."""

    def device(self, name: str) -> Device:
        """The device of that name; raises UnknownName or UsageError (several fit)."""

    def find_device(self, name: str, memory_bytes: int | None = None) -> Device | None:
        """As `device`, but None instead of an error; memory decides between variants."""

    def cpu_series(self, name: str) -> CpuSeries | None:
        """The series whose fragments all appear in the CPU's model name, the most specific first."""
