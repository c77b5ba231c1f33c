"""Pitfalls of speed: assumed facts, missed targets, slow prefill, NUMA, slots, thin data."""

from __future__ import annotations

from collections.abc import Iterator

from planner.planning.pitfalls.scene import Scene, Setup, Sign
from planner.units import format_rate, format_tokens

# A wait on a prompt that people call hanging; the plan says so when the CPU reads the prompt.
SLOW_PREFILL_S = 30.0

# Ranges wider than this factor between low and high rest on few measurements.
WIDE_RANGE = 3.0

# Roles whose speed is not told in tokens per second.
NO_DECODE = frozenset({"embedding", "image"})


def assumed_bandwidth(scene: Scene) -> Iterator[Sign]:
    """A bandwidth that nobody measured or named stands behind the speed."""
    gpus = {index for setup in scene.setups for index in setup.gpus}
    for path, fact in sorted(scene.hardware.sources.items()) if scene.hardware else ():
        if fact.source != "assumed" or "bandwidth" not in path:
            continue
        gpu = path.startswith("gpus.")
        if (gpu and int(path.split(".")[1]) not in gpus) or (not gpu and not scene.ram_matters):
            continue
        option, what = ("--gpu-bandwidth", "GPU") if gpu else ("--ram-bandwidth", "RAM")
        text = f"{what} bandwidth is assumed ({fact.note or path}), so the speed is a guess"
        yield Sign(text, fix=f"name it with {option}, or run planner probe on the machine")
        if not gpu:
            break


def assumed_cpu(scene: Scene) -> Iterator[Sign]:
    """The CPU computes and its cores are not known."""
    if scene.ram_matters and scene.hardware is not None and scene.hardware.cpu.cores is None:
        yield Sign("the number of CPU cores is not known, so prefill in RAM is a guess")


def targets_missed(scene: Scene) -> Iterator[Sign]:
    """The best plan misses a target."""
    for setup in scene.setups:
        for missed in setup.missed_targets if setup.role != "image" else ():
            yield Sign(f"{setup.role}: {missed}", setup)


def slow_prefill(scene: Scene) -> Iterator[Sign]:
    """The CPU reads the prompt."""
    for setup in scene.setups:
        wait = setup.speed.ttft_s if setup.speed else None
        if not setup.uses_ram or setup.role == "embedding" or wait is None or wait.expected < SLOW_PREFILL_S:
            continue
        assert setup.speed is not None
        tokens = format_tokens(setup.speed.prompt_tokens)
        text = f"prompts are read by the CPU: {tokens} tokens take about {wait.expected:.0f} s to the first token"
        yield Sign(text, setup)


def image_on_cpu(scene: Scene) -> Iterator[Sign]:
    """Image generation without a GPU."""
    for setup in scene.setups:
        if setup.role == "image" and setup.model and setup.placement and setup.placement.kind == "cpu":
            yield Sign(f"{setup.model.name} has no room in VRAM and runs on the CPU: minutes per image", setup)


def numa_unbound(scene: Scene) -> Iterator[Sign]:
    """Several NUMA nodes, and the share in RAM is tied to none of them."""
    for setup, nodes in _over_nodes(scene):
        if setup.numa == "none":
            yield Sign(f"{nodes} NUMA nodes, {setup.name} bound to none: remote reads cost speed", setup)


def numa_interleaved(scene: Scene) -> Iterator[Sign]:
    """A service that is larger than one node, and so lies on several."""
    for setup, _ in _over_nodes(scene):
        largest = (
            max((node.memory_bytes or 0 for node in scene.hardware.numa_nodes), default=0) if scene.hardware else 0
        )
        if setup.numa == "interleave" and (setup.ram_bytes or 0) > largest > 0:
            text = f"{setup.name} is larger than one NUMA node: interleaved, so part of every read is remote"
            yield Sign(text, setup)


def _over_nodes(scene: Scene) -> Iterator[tuple[Setup, int]]:
    """Services with a share in RAM, on a machine of several nodes with CPUs; the number of these."""
    nodes = len(scene.hardware.compute_nodes) if scene.hardware else 0
    for setup in scene.setups:
        if nodes > 1 and setup.uses_ram:
            yield setup, nodes


def single_slot(scene: Scene) -> Iterator[Sign]:
    """One request at a time for several people."""
    for setup in scene.setups:
        copies = setup.placement.instances if setup.placement else 1
        users = setup.users or scene.users or 1
        if users > 1 and setup.slots == 1 and copies == 1:
            text = f"one slot for {users} users: every request waits until those before it are done"
            yield Sign(text, setup)


def speed_unknown(scene: Scene) -> Iterator[Sign]:
    """A speed that is not known."""
    for setup in scene.setups:
        if setup.role not in NO_DECODE and setup.speed and setup.speed.decode_tokens_per_s is None:
            option = "--gpu-bandwidth" if setup.gpus else "--ram-bandwidth"
            text = f"{setup.role}: the speed is not known, since a memory bandwidth is not"
            yield Sign(text, setup, fix=f"name it with {option}")


def thin_data(scene: Scene) -> Iterator[Sign]:
    """A speed that is known only within a wide range."""
    for setup in scene.setups:
        rate = setup.speed.decode_tokens_per_s if setup.speed else None
        if setup.role not in NO_DECODE and rate is not None and rate.high > WIDE_RANGE * rate.low:
            low, high = format_rate(rate.low), format_rate(rate.high)
            yield Sign(
                f"{setup.role}: {low} to {high} tok/s rests on few measurements of this kind of placement", setup
            )
