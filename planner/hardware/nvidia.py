"""NVIDIA boards as facts: from NVML's answers, from a capture of them, or from pasted nvidia-smi output."""

from __future__ import annotations

from typing import Literal

import msgspec

from planner.hardware.facts import FactState, Gpu, Link, Memory, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.pci import make_link, normal_address

MemoryState = Literal["known", "not_supported", "denied", "unknown"]

# Chips whose GPU computes in system memory; NVML answers NOT_SUPPORTED, or a small carve-out (N1X).
INTEGRATED = ("GB10", "(nvgpu)", "Orin", "Xavier", "Thor", "Tegra", "N1X", "Jetson")
# NVLink-C2C of Grace: 900 GB/s both ways together (NVIDIA Grace Hopper Superchip data sheet), so half in one direction.
C2C_BYTES_PER_S = 450e9
MIG_COMPUTE_SLICES = 7  # a MIG-capable board divides its multiprocessors in sevenths (NVIDIA MIG user guide)


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One MIG slice: name (`1g.10gb` form inside), UUID, memory, and compute slices of seven."""

    name: str
    uuid: str | None = None
    total_bytes: int | None = None
    reserved_bytes: int | None = None
    free_bytes: int | None = None
    compute_slices: int | None = None


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """Plain answers of the driver for one board; None for what it did not answer."""

    name: str
    uuid: str | None = None
    bus_id: str | None = None
    memory_state: MemoryState = "unknown"
    total_bytes: int | None = None
    reserved_bytes: int | None = None
    free_bytes: int | None = None
    compute_capability: str | None = None
    generation: int | None = None
    width: int | None = None
    current_generation: int | None = None
    current_width: int | None = None
    memory_clock_mhz: int | None = None
    memory_bus_bits: int | None = None
    numa_node: int | None = None
    addressing: str | None = None
    mig: bool = False
    slices: tuple[Slice, ...] = ()
    virtualization: str | None = None
    nvlink_peers: tuple[int, ...] = ()
    p2p_peers: tuple[int, ...] = ()
    ecc: bool | None = None
    power_watts: float | None = None
    display: bool | None = None
    architecture: str | None = None
    cores: int | None = None


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """The boards in PCI order with the driver's version, or the reason why there are none; remarks for the person."""

    boards: tuple[Board, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    source: str = "NVML"


def gpus_from_driver(
    driver: Driver, memory: Memory, nodes: tuple[NumaNode, ...], findings: Findings, first_index: int = 0
) -> tuple[Gpu, ...]:
    """The boards as GPUs, MIG slices in place of their board. Sources are filed under `gpus.<index>`."""
    for note in (*driver.notes, *([driver.problem] if driver.problem else [])):
        findings.note(note)
    gpus: list[Gpu] = []
    place_of: dict[int, int] = {}
    for number, board in enumerate(driver.boards):
        if not board.mig:  # slices reach no other GPU
            place_of[number] = first_index + len(gpus)
        gpus += _gpus_of_board(board, driver, memory, nodes, findings, first_index + len(gpus))
    for number, place in place_of.items():
        board, here = driver.boards[number], place - first_index
        gpus[here] = msgspec.structs.replace(
            gpus[here],
            nvlink_peers=_places(board.nvlink_peers, place_of),
            p2p_peers=_places(board.p2p_peers, place_of),
        )
    for i, gpu in enumerate(gpus):
        findings.cover(f"gpus.{first_index + i}", gpu, "read", driver.source)
    return tuple(gpus)


def _places(boards: tuple[int, ...], place_of: dict[int, int]) -> tuple[int, ...]:
    return tuple(place_of[board] for board in boards if board in place_of)


def _gpus_of_board(
    board: Board, driver: Driver, memory: Memory, nodes: tuple[NumaNode, ...], findings: Findings, index: int
) -> list[Gpu]:
    whole = _gpu(board, driver, memory, nodes, findings, index)
    if board.virtualization and board.virtualization not in {"None", "N/A"}:
        findings.note(f"{board.name}: virtualization mode {board.virtualization}; its memory is what this machine gets")
    if not board.mig:
        return [whole]
    if not board.slices:
        findings.note(f"{board.name}: MIG is on and holds no slice, so nothing can run on it")
        return []
    return [_slice(whole, board, part, findings) for part in board.slices]


def _gpu(
    board: Board, driver: Driver, memory: Memory, nodes: tuple[NumaNode, ...], findings: Findings, index: int
) -> Gpu:
    unified = is_unified(board, memory)
    path = f"gpus.{index}"
    gpu = Gpu(
        vendor="nvidia",
        name=board.name,
        backend="cuda",
        uuid=board.uuid,
        architecture=board.architecture,
        compute_capability=board.compute_capability,
        bandwidth_bytes_per_s=_clock_bandwidth(board, findings, path),
        cores=board.cores,
        power_watts=board.power_watts,
        numa_node=_numa_node(board.numa_node, nodes),
        link=_link(board, unified),
        unified=unified,
        display=board.display,
        ecc=board.ecc,
        bus_id=normal_address(board.bus_id) if board.bus_id else None,
        driver_version=driver.driver_version,
        cuda_version=driver.cuda_version,
    )
    if unified:
        return _unified(gpu, memory, findings, path)
    if board.memory_state != "known" and not board.mig:
        state: FactState = "denied" if board.memory_state == "denied" else "unknown"
        findings.unknown(f"{path}.memory_bytes", f"{driver.source} does not tell the memory", state)
    return msgspec.structs.replace(
        gpu, memory_bytes=board.total_bytes, reserved_bytes=board.reserved_bytes, free_bytes=board.free_bytes
    )


def is_unified(board: Board, memory: Memory) -> bool:
    """True for a known integrated chip that has no memory of its own: NOT_SUPPORTED, or a carve-out far below the
    machine's. An unknown device, a lost GPU or a missing permission never counts."""
    if not any(mark in board.name for mark in INTEGRATED):
        return False
    if board.memory_state == "not_supported":
        return True
    if board.total_bytes is None or memory.total_bytes is None:
        return False
    return board.total_bytes < memory.total_bytes // 4


def _unified(gpu: Gpu, memory: Memory, findings: Findings, path: str) -> Gpu:
    for name, source in (
        ("memory_bytes", "MemTotal"),
        ("free_bytes", "MemAvailable"),
        ("working_set_bytes", "MemTotal"),
    ):
        findings.fact(f"{path}.{name}", "derived", f"GPU and CPU share the memory: {source} of /proc/meminfo")
    return msgspec.structs.replace(
        gpu,
        memory_bytes=memory.total_bytes,
        free_bytes=memory.available_bytes,
        working_set_bytes=memory.total_bytes,
    )


def _slice(whole: Gpu, board: Board, part: Slice, findings: Findings) -> Gpu:
    share = part.compute_slices / MIG_COMPUTE_SLICES if part.compute_slices else None
    if share:
        findings.note(f"{part.name}: a MIG slice with {part.compute_slices}/{MIG_COMPUTE_SLICES} of {board.name}")
    return msgspec.structs.replace(
        whole,
        name=part.name,
        uuid=part.uuid,
        memory_bytes=part.total_bytes,
        reserved_bytes=part.reserved_bytes,
        free_bytes=part.free_bytes,
        bandwidth_bytes_per_s=None,
        cores=round(board.cores * share) if board.cores and share else None,
        slice_of=board.name,
    )


def _clock_bandwidth(board: Board, findings: Findings, path: str) -> float | None:
    """2 transfers x memory clock x bus width / 8. NVML's clock has GDDR6X/7's factor in it on some cards only, so the
    device table goes before this."""
    if not board.memory_clock_mhz or not board.memory_bus_bits:
        return None
    findings.fact(
        f"{path}.bandwidth_bytes_per_s", "derived", "2 x memory clock x bus width / 8, unchecked", state="suspect"
    )
    return 2 * board.memory_clock_mhz * 1e6 * board.memory_bus_bits / 8


def _numa_node(stated: int | None, nodes: tuple[NumaNode, ...]) -> int | None:
    """-1 on desktops and in VMs: then the only node, or unknown with several."""
    if stated is not None and stated >= 0:
        return stated
    return nodes[0].id if len(nodes) == 1 else None


def _link(board: Board, unified: bool) -> Link | None:
    """Grace's link is C2C: its PCIe width reads 1x and says nothing."""
    if unified:
        return Link(kind="on-die")
    if "GH200" in board.name or "GB200" in board.name or "GB300" in board.name or board.addressing == "ATS":
        return Link(kind="nvlink-c2c", bytes_per_s=C2C_BYTES_PER_S)
    if board.generation is None and board.width is None:
        return None
    return make_link(board.generation, board.width, board.current_generation, board.current_width)


def visible_boards(driver: Driver, visible: str | None, order: str | None) -> Driver:
    """Boards left by CUDA_VISIBLE_DEVICES: UUIDs or prefixes of them, MIG UUIDs, or indexes. CUDA stops at the first
    entry that it does not know."""
    if visible is None or not driver.boards:
        return driver
    chosen: list[int] = []
    notes: dict[str, None] = {}
    for word in (part.strip() for part in visible.split(",")):
        number = _board_number(driver, word)
        if number is None:
            break
        chosen.append(number)
        if word.isdecimal() and order != "PCI_BUS_ID" and len({board.name for board in driver.boards}) > 1:
            notes["CUDA_VISIBLE_DEVICES counts the fastest GPU first, the driver by PCI address: use UUIDs"] = None
    numbers = sorted(set(chosen))
    if len(numbers) < len(driver.boards):
        notes[f"CUDA_VISIBLE_DEVICES leaves {len(numbers)} of {len(driver.boards)} NVIDIA GPUs"] = None
    new_place = {old: new for new, old in enumerate(numbers)}
    boards = tuple(
        msgspec.structs.replace(
            driver.boards[i],
            nvlink_peers=_places(driver.boards[i].nvlink_peers, new_place),
            p2p_peers=_places(driver.boards[i].p2p_peers, new_place),
            slices=tuple(s for s in driver.boards[i].slices if "MIG-" not in visible or (s.uuid or "") in visible),
        )
        for i in numbers
    )
    return msgspec.structs.replace(driver, boards=boards, notes=tuple(notes))


def _board_number(driver: Driver, word: str) -> int | None:
    if word.isdecimal():
        return int(word) if len(word) < 5 and int(word) < len(driver.boards) else None
    if not word.startswith(("GPU-", "MIG-")):
        return None
    for number, board in enumerate(driver.boards):
        names = [board.uuid or "", *(part.uuid or "" for part in board.slices)]
        if any(name.startswith(word) for name in names):
            return number
    return None
