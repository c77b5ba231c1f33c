"""What one decoded token reads, device by device: weights, caches, state."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Final

from planner.errors import UsageError
from planner.hardware.facts import Hardware
from planner.sizing.blocks import BLOCKS
from planner.sizing.identity import IdentityCache
from planner.sizing.records import ExpandedModel, Footprint, KvType, LayerCache, Placement, Pool, PoolUse, Record
from planner.speed.constants import SpeedConstants, Stack
from planner.speed.devices import Reader, cpu_reader, gpu_reader

SERVER_KV_BYTES = {"auto": 2.0, "fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0, "int8": 1.0}
"""Bytes per cached element of types that are no ggml block (vLLM's `--kv-cache-dtype`)."""
STATE_BYTES_PER_ELEMENT = 4.0  # recurrent states are kept in F32

_readers: Final[IdentityCache[Reader]] = IdentityCache(512)


class Share(Record, kw_only=True):
    """What one device does for a token: bytes of weights read there, experts apart, and its part of the caches."""

    reader: Reader
    dense_bytes: float
    expert_bytes: float
    expert_resident_bytes: float
    weights_bytes: float
    layers: float
    cache_share: float


def cache_bytes(expanded: ExpandedModel, kv_type: KvType, depth: float, heads_divided_by: int = 1) -> float:
    """Bytes of keys and values that one token reads at `depth` tokens, over all layers."""
    return sum(_layer_cache_bytes(cache, kv_type, depth, heads_divided_by) for cache in expanded.caches)


def _layer_cache_bytes(cache: LayerCache, kv_type: KvType, depth: float, divided_by: int) -> float:
    if cache.kind == "recurrent":
        return 0.0
    tokens = min(depth, cache.window) if cache.kind == "window" and cache.window else depth
    element_k, element_v = kv_element_bytes(kv_type.k), kv_element_bytes(kv_type.v)
    per_token = cache.k_width * element_k + cache.v_width * element_v
    parts = 1 if cache.mla else min(divided_by, cache.heads)
    indexer = cache.indexer_width * element_k * depth
    return len(cache.layers) * (tokens / max(1, cache.compress) * per_token / parts + indexer)


@lru_cache(64)
def kv_element_bytes(kv_type: str) -> float:
    """Bytes of one cached element. Raises UsageError for a type that is neither a ggml block nor a server's own."""
    block = BLOCKS.get(kv_type.upper())
    if block is not None:
        return block.bytes / block.elements
    if kv_type.casefold() not in SERVER_KV_BYTES:
        raise UsageError(f"unknown cache type {kv_type!r}", hint="for example f16, q8_0 or fp8")
    return SERVER_KV_BYTES[kv_type.casefold()]


def state_bytes(expanded: ExpandedModel) -> float:
    """Bytes of recurrent state read and written per token and sequence."""
    elements = sum(
        len(cache.layers) * (cache.conv_elements + cache.state_elements)
        for cache in expanded.caches
        if cache.kind == "recurrent"
    )
    return 2.0 * STATE_BYTES_PER_ELEMENT * elements


def device_shares(
    footprint: Footprint,
    hardware: Hardware,
    pools: tuple[Pool, ...],
    placement: Placement,
    stack: Stack,
    constants: SpeedConstants,
) -> tuple[Share, ...]:
    """The pools of a placed footprint, by the device that computes from them; RAM pools count as one memory."""
    by_id = {pool.id: pool for pool in pools}
    on_gpu: list[Share] = []
    in_ram: list[PoolUse] = []
    for use in footprint.pools:
        pool = by_id.get(use.pool)
        index = None if stack.device == "cpu" else _gpu_index(pool, hardware, placement)
        if index is None:
            in_ram.append(use)
        else:
            build = partial(gpu_reader, hardware, index, pool, constants)
            reader = _readers.value((hardware, pool, constants), (index,), build)
            on_gpu.append(_share((use,), reader))
    working = [use for use in in_ram if use.dense_read_bytes or use.expert_read_bytes or use.cache_share]
    if working:
        ram = tuple(by_id[use.pool] for use in working if use.pool in by_id)
        if placement.instances > 1:
            working = working[:1]
        reader = _readers.value(
            (hardware, placement, constants, *ram),
            ("cpu",),
            lambda: cpu_reader(hardware, placement, ram, constants.cpu),
        )
        on_gpu.append(_share(tuple(working), reader))
    return tuple(on_gpu)


def _gpu_index(pool: Pool | None, hardware: Hardware, placement: Placement) -> int | None:
    if pool is None or pool.kind == "ram" or not hardware.gpus or placement.kind == "cpu":
        return None
    if pool.gpu is not None:
        return pool.gpu
    return placement.gpus[0] if placement.gpus else 0


def _share(uses: tuple[PoolUse, ...], reader: Reader) -> Share:
    return Share(
        reader=reader,
        dense_bytes=sum(use.dense_read_bytes for use in uses),
        expert_bytes=sum(use.expert_read_bytes for use in uses),
        expert_resident_bytes=sum(use.expert_bytes for use in uses),
        weights_bytes=sum(use.weights_bytes for use in uses),
        layers=sum(use.layers for use in uses),
        cache_share=sum(use.cache_share for use in uses),
    )
