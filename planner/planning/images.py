"""Image pipelines: their memory from published bytes, since they are not expanded to tensors."""

from __future__ import annotations

from planner.catalog.records import Model, Quant
from planner.planning.eligibility import Refusal, refuse_model, rejected
from planner.planning.placement import Attempt, Site
from planner.planning.question import Question, Triple
from planner.planning.rank import Candidate
from planner.planning.search import Found, free_fraction
from planner.servers import SERVERS
from planner.servers.base import ServerRoom
from planner.sizing.records import Footprint, Part, Placement, Pool, PoolUse
from planner.speed.records import Speed
from planner.units import GIB

# The T5-XXL encoder of FLUX.1 in 16 bits (published bytes); other pipelines' encoders are of that order.
TEXT_ENCODER_BYTES = 9_524_621_312

# Activations of one 1024 x 1024 image and the decoder's tiles. Assumed.
WORK_BYTES = 2 * GIB


def weights_bytes(model: Model) -> tuple[int, str] | None:
    """Bytes of a pipeline in 16 bits and how they were found; None when nothing is published."""
    parts = model.components
    if parts and any("transformer" in name or "unet" in name for name in parts):
        return sum(parts.values()), "published bytes of its parts"
    nominal = model.published.nominal_parameters
    if nominal is None or not nominal.upper().endswith("B"):
        return None
    encoder = sum(parts.values()) or TEXT_ENCODER_BYTES
    return round(float(nominal[:-1]) * 2e9) + encoder, "2 bytes per nominal parameter and a text encoder, assumed"


def image_attempts(model: Model, quant: Quant, room: ServerRoom, site: Site) -> list[Attempt]:
    """Whole on the GPU with the most room, else in RAM; each with what is lacking."""
    known = weights_bytes(model)
    if known is None:
        return []
    gpus = [pool for pool in site.pools if pool.gpu is not None]
    roomiest = sorted(gpus, key=lambda pool: -site.available_bytes(pool))[:1]
    rams = [] if site.gpu_only else [pool for pool in site.pools if pool.kind == "ram"]
    found = []
    for pool in (*roomiest, *sorted(rams, key=lambda pool: -site.available_bytes(pool))[:1]):
        placement = _placement(pool, site)
        overhead = room.allocation(model, quant, site.hardware, placement).device_overhead_bytes
        footprint = _footprint(model, quant, room.id, pool, known, overhead)
        found.append(Attempt(placement=placement, footprint=footprint, missing=site.missing(footprint)))
    return found


def _placement(pool: Pool, site: Site) -> Placement:
    if pool.gpu is None:
        return Placement(kind="cpu", text="on the CPU")
    kind = "unified" if pool.kind == "unified" else "gpu"
    return Placement(kind=kind, gpus=(pool.gpu,), text=f"on {site.hardware.gpus[pool.gpu].name}")  # type: ignore[arg-type]


def _footprint(
    model: Model, quant: Quant, server: str, pool: Pool, known: tuple[int, str], overhead_bytes: int
) -> Footprint:
    weights, how = known
    use = PoolUse(pool=pool.id, weights_bytes=weights, compute_bytes=WORK_BYTES, overhead_bytes=overhead_bytes)
    return Footprint(
        model=model.id,
        quant=quant.id,
        server=server,
        file_bytes=weights,
        tensor_bytes=weights,
        weights_bytes=weights,
        kv_cache_bytes=0,
        state_bytes=0,
        compute_bytes=WORK_BYTES,
        overhead_bytes=overhead_bytes,
        bits_per_weight=16.0,
        read_bytes_per_token=0,
        kv_bytes_per_token=0,
        parts=(Part(name="pipeline", bytes=weights, basis="assumed", error_fraction=0.3, note=how),),
        pools=(use,),
        notes=(f"image pipeline: {how}",),
    )


def search_images(question: Question) -> Found:
    """The first image model of the shortlist that fits, in the row's order: nothing else tells them apart."""
    room = SERVERS["localai"]
    found = Found()
    order = {name: place for place, name in enumerate(question.ranking.row.shortlist)}
    images = [model for model in question.catalog.models.values() if model.kind == "image"]
    for model in sorted(images, key=lambda model: (order.get(model.id, len(order)), model.id)):
        refusal = refuse_model(model, "image", (), 0, question.constraints)
        if refusal is not None:
            found.rejected.append(rejected(model, refusal))
            continue
        _try_image(model, room.quants(model, question.site.hardware), question, found)
        if found.candidates:
            break
    return found


def _try_image(model: Model, quants: tuple[str, ...], question: Question, found: Found) -> None:
    room = SERVERS["localai"]
    for name in quants:
        quant = question.catalog.quant(name)
        for attempt in image_attempts(model, quant, room, question.site):
            why = room.supports(model, quant, question.site.hardware, attempt.placement)
            if why:
                found.rejected.append(
                    rejected(model, Refusal(reason_id=why[0].reason_id, text=why[0].text), name, room.id)
                )
                continue
            if not attempt.fits:
                found.misses.append((Triple((), model, quant, room.id, 0.0), attempt))
                continue
            found.candidates.append(
                Candidate(
                    model=model,
                    quant=quant,
                    server=room.id,
                    placement=attempt.placement,
                    footprint=attempt.footprint,
                    speed=Speed(placement=attempt.placement, sources=("not predicted for image models",)),
                    ability=0.0,
                    free_fraction=free_fraction(attempt, question.site),
                )
            )
            return
