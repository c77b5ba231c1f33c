"""Limits of a launch: memory to allow, prompt cache to keep, time to wait until it is up."""

from __future__ import annotations

import math

from planner.catalog.records import Model
from planner.errors import RenderError
from planner.hardware.facts import Hardware
from planner.servers.records import Objection, Service
from planner.sizing.pools import machine_pools
from planner.sizing.records import Pool
from planner.units import GIB, MIB

# Read rates of the disk that holds the models. Assumed: a hard disk reads 150 MB/s in sequence, a SATA or shared
# solid disk 500 MB/s; NVMe is faster, and the budget is an upper bound.
HARD_DISK_BYTES_PER_S, SOLID_DISK_BYTES_PER_S = 150e6, 500e6

# A twentieth and a gibibyte above what is planned: page tables, sockets, log buffers, growth that nobody counted.
MARGIN_FRACTION, MARGIN_BYTES = 0.05, GIB

# llama-server's own default for its prompt cache (`--cache-ram`, tools/server/README.md).
LARGEST_PROMPT_CACHE_BYTES = 8192 * MIB


def pools_by_id(hardware: Hardware) -> dict[str, Pool]:
    """The machine's memory pools."""
    return {pool.id: pool for pool in machine_pools(hardware)}


def context_objections(model: Model, context_tokens: int | None) -> tuple[Objection, ...]:
    """An objection when more context is wanted than the model was trained for."""
    if model.context is None or context_tokens is None or context_tokens <= model.context.native_tokens:
        return ()
    text = f"cannot stretch a model to {context_tokens} tokens that was trained for {model.context.native_tokens}"
    return (Objection(reason_id="context", text=text),)


def check_trained(service: Service, model: Model) -> None:
    """Raises RenderError when the planned context is beyond what the model was trained for."""
    for objection in context_objections(model, service.context):
        hint = "plan with a smaller --context, or --server llama-server where the model has a YaRN extension"
        raise RenderError(f"{service.name}: {service.server} {objection.text}", hint=hint)


def used_ram_bytes(service: Service, hardware: Hardware) -> int:
    """What the plan puts into system memory, unified memory included."""
    pools = pools_by_id(hardware)
    uses = service.footprint.pools
    return sum(use.total_bytes for use in uses if use.pool not in pools or pools[use.pool].kind != "gpu")


def memory_limit_bytes(service: Service, hardware: Hardware, own_bytes: int) -> int | None:
    """The memory limit of one instance: planned bytes in RAM, what the server's processes need (`own_bytes`),
    and a margin; never more than the machine has. None on unified memory, where the GPU's share is not counted."""
    if any(pool.kind == "unified" for pool in pools_by_id(hardware).values()):
        return None
    planned = used_ram_bytes(service, hardware) // max(1, service.placement.instances) + own_bytes
    limit = math.ceil((planned * (1 + MARGIN_FRACTION) + MARGIN_BYTES) / (256 * MIB)) * 256 * MIB
    return limit if hardware.ram_bytes is None else min(limit, hardware.ram_bytes)


def prompt_cache_bytes(service: Service, hardware: Hardware) -> int:
    """How much RAM a server may keep for prompts of idle slots: an eighth of what nine tenths of the RAM leave
    beside the plan, at most the server's default; 0 when the RAM is not known. Whole MiB."""
    if hardware.ram_bytes is None:
        return 0
    left = 0.9 * hardware.ram_bytes - used_ram_bytes(service, hardware)
    return int(min(LARGEST_PROMPT_CACHE_BYTES, max(0.0, left / 8)) // (64 * MIB)) * 64 * MIB


def start_seconds(service: Service, hardware: Hardware, engine_s: float) -> int:
    """The load budget: weights at the disk's rate plus the engine's own time, doubled, in steps of 30 s, at least
    60 s. A download is never inside."""
    rotational = hardware.disk.rotational if hardware.disk else None
    rate = HARD_DISK_BYTES_PER_S if rotational else SOLID_DISK_BYTES_PER_S
    seconds = 2 * (service.footprint.weights_bytes / rate + engine_s)
    return max(60, math.ceil(seconds / 30) * 30)
