"""What checks need to know of a model's size: its share of each memory, and the 4-bit file beside a 16-bit one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from planner.catalog.records import Model, Quant
from planner.hardware.facts import Hardware
from planner.planning.pitfalls.scene import Lighter, Need
from planner.servers.checkpoints import checkpoints
from planner.sizing.artifact import PLAIN
from planner.sizing.quantize import quantize_as
from planner.sizing.records import Footprint, ModelShape, Pool
from planner.sizing.tensors import expand

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog


def needs_of(
    full: Footprint, request: Footprint, pools: Iterable[Pool], shape: ModelShape, hardware: Hardware
) -> tuple[Need, ...]:
    """The needs of one service, memory by memory: `full` with every slot in use, `request` with one."""
    one = {use.pool: use.total_bytes for use in request.pools}
    known = {pool.id: pool for pool in pools}
    active = shape.active_experts / shape.experts if shape.experts else 1.0
    return tuple(
        Need(
            pool=_named(known[use.pool], hardware),
            usable_bytes=known[use.pool].usable_bytes,
            weights_bytes=use.weights_bytes,
            request_bytes=one.get(use.pool, 0),
            full_bytes=use.total_bytes,
            capacity_bytes=known[use.pool].capacity_bytes,
            active_weights_bytes=round(use.weights_bytes - use.expert_bytes * (1 - active)) if shape.experts else 0,
        )
        for use in full.pools
        if use.pool in known
    )


def _named(pool: Pool, hardware: Hardware) -> str:
    return pool.id if pool.gpu is None else f"{pool.id} ({hardware.gpus[pool.gpu].name})"


def ram_bytes(footprint: Footprint, pools: Mapping[str, Pool]) -> int:
    """What lies in system memory of its own."""
    return sum(use.total_bytes for use in footprint.pools if use.pool not in pools or pools[use.pool].kind == "ram")


def lighter_of(model: Model, quant: Quant, catalog: Catalog) -> Lighter | None:
    """The 4-bit file of the same format beside 16-bit weights of a language model, None where there is none."""
    if quant.speed_class != "16bit" or model.kind != "llm" or (model.architecture is None and not model.tensors):
        return None
    named = _four_bits(model, quant.format)
    lighter = catalog.find_quant(named, quant.format) if named else None
    if lighter is None:
        return None
    expanded = expand(model)
    theirs, own = (quantize_as(expanded, each, PLAIN).tensor_bytes for each in (lighter, quant))
    return Lighter(lighter, theirs, own)


def _four_bits(model: Model, file_format: str) -> str | None:
    match file_format:
        case "gguf":
            return "Q4_K_M" if model.artifacts.gguf else None
        case "mlx":
            return "MLX-4bit" if model.artifacts.mlx_4bit else None
        case _:
            return next((name for name in ("AWQ", "GPTQ-INT4") if name in checkpoints(model)), None)
