"""The memory that planning may use: the machine's pools after the person's caps and after services already placed."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from planner.errors import UsageError, near_misses
from planner.hardware.facts import Hardware
from planner.planning.constraints import Constraints
from planner.planning.placement import Site
from planner.planning.plan import PoolPlan
from planner.sizing.pools import machine_pools
from planner.sizing.records import Footprint, Pool


def site_of(hardware: Hardware, constraints: Constraints) -> Site:
    """All pools that a plan may use, with headroom. Raises UsageError when a cap names no pool."""
    pools = machine_pools(hardware)
    _check_caps(pools, constraints)
    capped = tuple(_capped(pool, constraints) for pool in pools)
    kept = {pool.id: constraints.headroom.of(pool) for pool in capped}
    return Site(hardware=hardware, pools=capped, kept_free=kept, gpu_only=constraints.gpu_only)


def _capped(pool: Pool, constraints: Constraints) -> Pool:
    usable = pool.usable_bytes
    if constraints.memory == "now" and pool.free_bytes is not None:
        usable = min(usable, pool.free_bytes)
    caps = [size for name, size in constraints.max_memory.items() if _names(name, pool)]
    return replace(pool, usable_bytes=min([usable, *caps]))


def _names(name: str, pool: Pool) -> bool:
    return name in {"", pool.id.casefold(), pool.kind} or (name == "vram" and pool.kind == "gpu")


def _check_caps(pools: tuple[Pool, ...], constraints: Constraints) -> None:
    for name in constraints.max_memory:
        if not any(_names(name, pool) for pool in pools):
            known = ["vram", "ram", "unified", *(pool.id for pool in pools)]
            if name in {"vram", "ram", "unified"}:
                continue
            close = near_misses(name, known)
            hint = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"
            raise UsageError(f"no memory pool called {name!r}", hint=hint)


def after(site: Site, footprints: Iterable[Footprint]) -> Site:
    """The site with what some services use taken away; the headroom stays."""
    used: dict[str, int] = {}
    for footprint in footprints:
        for use in footprint.pools:
            used[use.pool] = used.get(use.pool, 0) + use.total_bytes
    left = tuple(replace(pool, usable_bytes=max(pool.usable_bytes - used.get(pool.id, 0), 0)) for pool in site.pools)
    return replace(site, pools=left)


def pool_plans(site: Site, footprints: Iterable[Footprint]) -> tuple[PoolPlan, ...]:
    """The memory bars of a plan: every pool that some service uses."""
    used: dict[str, int] = {}
    for footprint in footprints:
        for use in footprint.pools:
            used[use.pool] = used.get(use.pool, 0) + use.total_bytes
    return tuple(
        PoolPlan(pool=pool, used_bytes=used[pool.id], headroom_bytes=site.kept_free.get(pool.id, 0))
        for pool in site.pools
        if used.get(pool.id)
    )
