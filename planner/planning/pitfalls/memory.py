"""Pitfalls of what a service puts into memory: weights, caches, slots, limits."""

from __future__ import annotations

from collections.abc import Iterator

from planner.planning.pitfalls.scene import Need, Scene, Setup, Severity, Sign
from planner.units import GIB, MIB, format_gib, format_tokens

# A slot with less cuts off what people paste; also Ollama's own default for small cards.
LEAST_SLOT_TOKENS = 4096
USUAL_SLOT_TOKENS = 8192

# Ollama's context where none is set, by the VRAM of the machine (server/routes.go, v0.33).
OLLAMA_CONTEXTS = ((47 * GIB, 262_144), (23 * GIB, 32_768), (0, 4096))


def _too_small(scene: Scene) -> Iterator[tuple[Setup, Need]]:
    """Per service the memory that lacks most, where one lacks anything."""
    for setup in scene.setups:
        worst = max(setup.needs, key=lambda need: need.full_bytes - need.usable_bytes, default=None)
        if worst is not None and worst.full_bytes > worst.usable_bytes:
            yield setup, worst


def _named(setup: Setup) -> str:
    name = setup.model.name if setup.model else setup.name
    return f"{name} {setup.quant.id}" if setup.quant else name


def _seems_active(need: Need) -> bool:
    """Whether the experts that one token uses would fit where the whole model does not."""
    return 0 < need.active_weights_bytes <= need.usable_bytes < need.weights_bytes


def weights_over_memory(scene: Scene) -> Iterator[Sign]:
    """The weights alone do not fit."""
    for setup, need in _too_small(scene):
        if need.weights_bytes > need.usable_bytes and not _seems_active(need):
            yield Sign(_does_not_fit(setup, need), setup, severity=_moved(setup))


def moe_by_active(scene: Scene) -> Iterator[Sign]:
    """Of a mixture of experts only what a token reads would fit."""
    for setup, need in _too_small(scene):
        if _seems_active(need):
            text = f"{_does_not_fit(setup, need)}: all experts lie in memory, though a token reads about "
            yield Sign(text + f"{format_gib(need.active_weights_bytes)}", setup, severity=_moved(setup))


def _does_not_fit(setup: Setup, need: Need) -> str:
    weights, room = format_gib(need.weights_bytes), format_gib(need.usable_bytes)
    return f"{_named(setup)}: {weights} of weights do not fit the {room} of {need.pool}"


def _moved(setup: Setup) -> Severity | None:
    """A server that moves layers into RAM by itself starts all the same."""
    return "warning" if setup.makes_room else None


def context_over_memory(scene: Scene) -> Iterator[Sign]:
    """The weights fit, but not with the cache of one request of full length."""
    for setup, need in _too_small(scene):
        if need.weights_bytes <= need.usable_bytes < need.request_bytes:
            context = _context(setup)
            text = (
                f"{_named(setup)}: with the cache of one request of {context} it takes "
                f"{format_gib(need.request_bytes)}, {need.pool} offers {format_gib(need.usable_bytes)}"
            )
            yield Sign(text, setup, fix=_shorter(setup), severity=_moved(setup))


def kv_unbudgeted(scene: Scene) -> Iterator[Sign]:
    """One request fits, but not every slot at full length."""
    for setup, need in _too_small(scene):
        if need.request_bytes <= need.usable_bytes < need.full_bytes and (setup.slots or 1) > 1:
            waits = setup.server == "vllm"
            text = (
                f"{setup.slots} slots of {_context(setup)} need {format_gib(need.full_bytes)}, {need.pool} offers "
                f"{format_gib(need.usable_bytes)}" + (": full requests wait or are computed again" if waits else "")
            )
            yield Sign(text, setup, fix=_shorter(setup), severity="warning" if waits else _moved(setup))


def _context(setup: Setup) -> str:
    return f"{format_tokens(setup.context_tokens)} tokens" if setup.context_tokens else "the model's full length"


def _shorter(setup: Setup) -> str | None:
    if not setup.reach_tokens:
        return None
    return f"at most {setup.reach_tokens} tokens each fit; or a smaller cache type, or fewer slots"


def slots_share_context(scene: Scene) -> Iterator[Sign]:
    """A total context that leaves each slot too little."""
    for setup in scene.setups:
        slots, total = setup.slots or 0, setup.shared_tokens or 0
        if slots > 1 and 0 < total // slots < LEAST_SLOT_TOKENS:
            text = f"{slots} slots share {total} tokens: {total // slots} each, the rest of a longer prompt is cut off"
            yield Sign(text, setup, "command", f"--ctx-size {USUAL_SLOT_TOKENS * slots}")


def ollama_context(scene: Scene) -> Iterator[Sign]:
    """Ollama chooses the context, and longer prompts lose their beginning in silence."""
    for setup in scene.setups:
        if setup.server == "ollama" and setup.context_tokens is None and setup.starts_server:
            text = f"no context length is set, so it is {_ollama_default(scene, setup)}: longer prompts lose their"
            yield Sign(f"{text} beginning without a message", setup)


def _ollama_default(scene: Scene, setup: Setup) -> str:
    if scene.hardware is None or setup.placement is None:
        return "4k to 256k tokens by the VRAM that it finds"
    vram = sum(scene.hardware.gpus[index].memory_bytes or 0 for index in setup.gpus)
    return f"{format_tokens(next(tokens for least, tokens in OLLAMA_CONTEXTS if vram >= least))} tokens here"


def limit_below_need(scene: Scene) -> Iterator[Sign]:
    """A service may use less memory than its model takes."""
    for setup in scene.setups:
        limit, need = setup.memory_limit_bytes, setup.ram_bytes
        if limit is not None and need is not None and limit < need:
            text = f"limited to {format_gib(limit)}, while {_named(setup)} puts {format_gib(need)} into RAM"
            yield Sign(text, setup)


def lock_limit(scene: Scene) -> Iterator[Sign]:
    """A server that locks its weights, under a limit that forbids it."""
    for setup in scene.setups:
        limit = setup.lock_limit_bytes
        weights = setup.footprint.weights_bytes if setup.footprint else GIB
        if setup.locks_memory and limit is not None and limit < weights:
            yield Sign(f"locks its weights, but may lock {limit // MIB} MiB only: they stay unlocked", setup)


def gpu_shared(scene: Scene) -> Iterator[Sign]:
    """Two services on one GPU that do not fit it together, as far as their needs are known."""
    for index, setup in enumerate(scene.setups):
        for other in scene.setups[:index]:
            if setup.server and other.server and _share(setup, other) and not _fit_together(setup, other):
                yield Sign(f"reserves the GPUs that {other.name} reserves", setup)


def _share(one: Setup, other: Setup) -> bool:
    if not one.devices or not other.devices:
        return False
    return bool(one.devices & other.devices) or "all" in one.devices | other.devices


def _fit_together(one: Setup, other: Setup) -> bool:
    mine, theirs = ({need.pool: need for need in setup.needs} for setup in (one, other))
    if not mine or not theirs:
        return False
    pools = mine.keys() & theirs.keys()
    return all(_claim(mine[pool]) + _claim(theirs[pool]) <= mine[pool].usable_bytes for pool in pools)


def _claim(need: Need) -> int:
    return need.full_bytes if need.claimed_bytes is None else need.claimed_bytes
