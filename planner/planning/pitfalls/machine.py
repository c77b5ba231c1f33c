"""Pitfalls of the machine: its kernel, its memory, its links, its disk."""

from __future__ import annotations

from collections.abc import Iterator

from planner.planning.pitfalls.scene import Scene, Sign
from planner.units import GIB, format_gib

# Below this a model of today's usual size does not fit on the disk beside the system.
LITTLE_DISK_BYTES = 20 * GIB

# What a system uses with nothing open: half of the 4 GB that Ubuntu Desktop 24.04 and Windows 11 ask for. Assumed.
SYSTEM_BYTES = 2 * GIB

# A few cold pages lie in the swap of any machine that has been up for weeks; a gibibyte is memory that was short.
SWAP_IN_USE_BYTES = GIB

# Lanes of PCIe at which the all-reduces of a tensor split outweigh the arithmetic: risers and M.2 adapters.
NARROW_LANES = 4

# How files write that a port is open on every address.
EVERY_ADDRESS = frozenset({None, "", "0.0.0.0", "::"})  # noqa: S104 - what is looked for, not what is bound

# Drivers whose `powersave` is the governor that adapts (admin-guide/pm/intel_pstate.rst, amd-pstate.rst).
ADAPTIVE_DRIVERS = frozenset({"intel_pstate", "amd-pstate-epp"})


def numa_balancing(scene: Scene) -> Iterator[Sign]:
    """The kernel moves pages between nodes."""
    hardware = scene.hardware
    if hardware and hardware.os.numa_balancing and len(hardware.numa_nodes) > 1 and scene.ram_matters:
        yield Sign("automatic NUMA balancing moves pages that a plan has placed", key="os.numa_balancing")


def huge_pages(scene: Scene) -> Iterator[Sign]:
    """Transparent huge pages are switched off."""
    if scene.hardware and scene.hardware.os.transparent_hugepages == "never" and scene.ram_matters:
        text = "transparent huge pages are off: weights in RAM are read through 4 KiB pages"
        yield Sign(text, key="os.transparent_hugepages")


def power_saving(scene: Scene) -> Iterator[Sign]:
    """The CPUs are told to save power."""
    if scene.hardware is None or not scene.ram_matters:
        return
    cpu = scene.hardware.cpu
    if "powersave" in cpu.governors and cpu.frequency_driver not in ADAPTIVE_DRIVERS:
        yield Sign("the governor powersave keeps CPUs at their lowest clock", key="cpu.governors")
    if "power" in cpu.energy_preferences:
        text = "the energy preference `power` holds the CPUs' clocks down"
        fix = "set energy_performance_preference to performance"
        yield Sign(text, key="cpu.energy_preferences", fix=fix)


def swap(scene: Scene) -> Iterator[Sign]:
    """There is swap: of a plan only where memory is short, of a machine always."""
    hardware = scene.hardware
    if hardware is None or not hardware.memory.swap_total_bytes or hardware.unified:
        return
    size = format_gib(hardware.memory.swap_total_bytes)
    if not scene.setups:
        yield Sign(f"{size} of swap: weights that are paged out are read back at disk speed", key="memory.swap")
    elif any(short for _, _, short in short_bars(scene)):
        text = f"{size} of swap: a model that does not fit RAM crawls instead of failing"
        yield Sign(text, severity="warning", fix="free memory first; limit the service (MemorySwapMax=0)")


def swap_in_use(scene: Scene) -> Iterator[Sign]:
    """Memory has been short on this machine."""
    hardware = scene.hardware
    used = hardware.memory.swap_used_bytes if hardware else None
    if hardware and used and used >= SWAP_IN_USE_BYTES and not hardware.unified and scene.ram_matters:
        yield Sign(f"{format_gib(used)} lie in swap: memory was short on this machine", key="memory.swap_used_bytes")


def short_bars(scene: Scene) -> Iterator[tuple[str, str, bool]]:
    """Memories with less free now than the plan uses: id, what is short, and whether it is RAM."""
    for bar in scene.bars:
        free = bar.pool.free_bytes
        if free is not None and free < bar.used_bytes:
            text = f"{format_gib(free)} free now, the plan uses {format_gib(bar.used_bytes)}"
            yield bar.pool.id, text, bar.pool.kind != "gpu"


def less_free_now(scene: Scene) -> Iterator[Sign]:
    """Less memory is free now than the plan will use."""
    for pool, text, _ in short_bars(scene):
        yield Sign(f"{pool}: {text}")


def ram_tight(scene: Scene) -> Iterator[Sign]:
    """Where nobody has looked what is free: the plan leaves an operating system less than it uses."""
    hardware = scene.hardware
    if hardware is None or hardware.ram_bytes is None or hardware.unified or hardware.memory.limit_bytes is not None:
        return
    ram = [bar for bar in scene.bars if bar.pool.kind == "ram"]
    left = hardware.ram_bytes - sum(bar.used_bytes for bar in ram)
    if ram and left < SYSTEM_BYTES and all(bar.pool.free_bytes is None for bar in ram):
        yield Sign(f"{format_gib(left)} of RAM is left to the system and all other programs")


def container_limit(scene: Scene) -> Iterator[Sign]:
    """A container's limit is below the machine's memory."""
    memory = scene.hardware.memory if scene.hardware else None
    if memory and memory.limit_bytes and memory.total_bytes and memory.limit_bytes < memory.total_bytes:
        text = f"this container may use {format_gib(memory.limit_bytes)} of the host's {format_gib(memory.total_bytes)}"
        yield Sign(text, key="memory.limit")


def disk_full(scene: Scene) -> Iterator[Sign]:
    """Little space for what has to be downloaded; without a plan, little at all."""
    disk = scene.hardware.disk if scene.hardware else None
    if disk is None or disk.free_bytes is None:
        return
    free = format_gib(disk.free_bytes)
    if not scene.setups:
        if disk.free_bytes < LITTLE_DISK_BYTES:
            yield Sign(f"{free} are free where the models lie", key="disk")
        return
    files = {(one.footprint.model, one.footprint.quant): one.footprint for one in scene.setups if one.footprint}
    weights = sum(footprint.file_bytes for footprint in files.values())
    images = {one.image.reference: one.image for one in scene.setups if one.image}.values()
    sizes = [(image, image.disk_bytes) for image in images if image.disk_bytes]
    text = f"{free} are free where the models lie, the weights take {format_gib(weights)}"
    if disk.free_bytes < weights:
        yield Sign(f"{text}, images of containers not counted")
    elif disk.free_bytes < weights + sum(size for _, size in sizes):
        listed = "; ".join(f"{image.reference} about {format_gib(size)} ({image.disk_source})" for image, size in sizes)
        yield Sign(f"{text}; if images of containers lie there too: {listed}")


def gpu_display(scene: Scene) -> Iterator[Sign]:
    """A GPU in use also drives a screen."""
    for index, gpu in enumerate(scene.hardware.gpus if scene.hardware else ()):
        if not gpu.display or gpu.unified:
            continue
        text = f"{gpu.name} drives a display, which takes memory and stutters under load"
        for setup in scene.setups or (None,):
            if setup is None or index in setup.gpus:
                yield Sign(text, setup, key=f"gpus.{index}" if setup is None else "")


def narrow_link(scene: Scene) -> Iterator[Sign]:
    """A card on few lanes, where cards exchange activations at every layer."""
    gpus = scene.hardware.gpus if scene.hardware else ()
    splits = [setup for setup in scene.setups if setup.placement and setup.placement.tensor_parallel > 1]
    for index, gpu in enumerate(gpus):
        link = gpu.link
        if len(gpus) < 2 or link is None or link.kind != "pcie" or not link.width or link.width > NARROW_LANES:
            continue
        if any(peer != index for peer in gpu.nvlink_peers):
            continue
        text = f"{gpu.name} hangs on PCIe x{link.width}: tensor parallel waits for it at every layer"
        for setup in splits if scene.setups else (None,):
            if setup is None or index in setup.gpus:
                yield Sign(text, setup, key=f"gpus.{index}.link" if setup is None else "")


def unknown_bandwidth(scene: Scene) -> Iterator[Sign]:
    """The read rate of RAM was never measured."""
    nodes = scene.hardware.numa_nodes if scene.hardware else ()
    if any(node.bandwidth_bytes_per_s is None for node in nodes if not node.memory_only):
        yield Sign("RAM bandwidth is not known, so no speed on the CPU can be told", key="numa_nodes")


def port_taken(scene: Scene) -> Iterator[Sign]:
    """Two services publish one port, or some program listens on it already."""
    listening = (scene.hardware.os.listening_ports if scene.hardware else None) or ()
    taken: list[tuple[int, str | None]] = []
    for setup in scene.setups:
        for port in setup.ports:
            if any(_clash(port, other) for other in taken):
                fix = "give each service a port of its own"
                yield Sign(f"port {port[0]} is published by another service too", setup, "ports", fix)
            elif port[0] in listening:
                text = f"port {port[0]} is listened on already: by this service itself, or it cannot start"
                yield Sign(text, setup, "ports", severity="warning")
        taken.extend(setup.ports)


def _clash(one: tuple[int, str | None], other: tuple[int, str | None]) -> bool:
    """Whether two ports are one: on the same address, or on every address."""
    return one[0] == other[0] and (one[1] == other[1] or bool({one[1], other[1]} & EVERY_ADDRESS))
