"""Device files are written for people, units in the keys; here they become records in bytes, bytes/s and FLOP/s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from planner.catalog.convert import to_record
from planner.catalog.records import Device
from planner.catalog.records.base import Record
from planner.units import GIB, MIB


class DeviceEntry(Record, kw_only=True):
    """One device as `catalog/devices/*.yaml` states it: GiB, MiB, GB/s (1e9) and dense TFLOPS (1e12)."""

    id: str
    name: str
    vendor: str
    kind: Literal["gpu", "apple", "apu", "accelerator", "cpu"]
    architecture: str | None = None
    memory_gib: float | None = None
    driver_memory_mib: int | None = None
    memory_type: str | None = None
    memory_bandwidth_gb_per_s: float | None = None
    measured_bandwidth_gb_per_s: float | None = None
    fp16_tensor_tflops: float | None = None
    fp32_tflops: float | None = None
    bf16: bool | None = None
    fp8: bool | None = None
    fp4: bool | None = None
    compute_capability: str | None = None
    bus: str | None = None
    nvlink: bool | None = None
    power_watts: float | None = None
    gpu_cores: int | None = None
    memory_options_gib: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()
    usual: bool = False
    note: str | None = None
    source: str


def device_from_entry(entry: Mapping[str, object], name: str) -> Device:
    """The record of one entry. Raises CatalogError: file, id, key path, near misses."""
    read = to_record(entry, DeviceEntry, name)
    return Device(
        id=read.id,
        name=read.name,
        vendor=read.vendor,
        kind=read.kind,
        architecture=read.architecture,
        memory_bytes=_scaled_int(read.memory_gib, GIB),
        driver_memory_bytes=_scaled_int(read.driver_memory_mib, MIB),
        memory_type=read.memory_type,
        bandwidth_bytes_per_s=_scaled(read.memory_bandwidth_gb_per_s, 1e9),
        measured_bandwidth_bytes_per_s=_scaled(read.measured_bandwidth_gb_per_s, 1e9),
        fp16_flops_per_s=_scaled(read.fp16_tensor_tflops, 1e12),
        fp32_flops_per_s=_scaled(read.fp32_tflops, 1e12),
        bf16=read.bf16,
        fp8=read.fp8,
        fp4=read.fp4,
        compute_capability=read.compute_capability,
        bus=read.bus,
        nvlink=read.nvlink,
        power_watts=read.power_watts,
        gpu_cores=read.gpu_cores,
        memory_options_bytes=tuple(size * GIB for size in read.memory_options_gib),
        aliases=read.aliases,
        usual=read.usual,
        note=read.note,
        source=read.source,
    )


def _scaled(value: float | None, factor: float) -> float | None:
    """Rounded to whole units: 1008.4 GB/s is 1008400000000.0 bytes per second, not a neighbour of it."""
    return None if value is None else float(round(value * factor))


def _scaled_int(value: float | None, factor: int) -> int | None:
    return None if value is None else round(value * factor)
