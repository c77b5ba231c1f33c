"""RAM read bandwidth of each NUMA node, measured in under two seconds and kept by machine.

Headline: the 95th percentile of 10 ms windows in which every thread was reading. Bytes over wall time reads 2.5 to 8
times low on shared vCPUs; the best chunk of each thread, summed, reads high because the threads need not overlap, and
is kept as the upper bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from planner.hardware.bandwidth_cache import Measurement, load_measurement, machine_key, save_measurement
from planner.hardware.bandwidth_windows import best_rate, chunk_rate, window_rates
from planner.hardware.cpu import physical_cores
from planner.hardware.facts import Cpu, FactState, Hardware, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.memory_reader import Buffer, Sample, is_musl, library, read_all, touch_all
from planner.hardware.state_folders import cache_folder
from planner.hardware.tree import Tree
from planner.units import MIB

Progress = Callable[[str, float], None]

ALL_S, SINGLE_S, REMOTE_S, TOUCH_S = 0.40, 0.15, 0.08, 0.5
GOOD_RATIO = 1.25
MOST_PASSES = 3
BUSY_RATIO = 1.5  # sum of the threads' own rates over the headline: beyond it they hardly ever ran together
STOLEN_SHARE = 0.1  # of the CPU time asked for
_LEAST_BUFFER_BYTES = 64 * MIB
_SHARE_OF_AVAILABLE = 0.05
_CACHE_FACTOR = 4  # a buffer below 4 x its share of the last cache level partly measures the cache
SAVED_FILE = "planner/bandwidth.json"


def with_measured(
    tree: Tree, hardware: Hardware, findings: Findings, progress: Progress | None, *, numa_matrix: bool = False
) -> tuple[Hardware, Measurement | None]:
    """The hardware with measured bandwidths, and the measurement: from the cache where this machine was measured
    before."""
    cache = cache_folder()
    file = cache / f"bandwidth-{machine_key(tree, hardware)}.json" if cache else None
    measured = load_measurement(file) if file else None
    if measured is None or (numa_matrix and not holds_matrix(measured)):
        try:
            measured = measure(tree, hardware, progress, numa_matrix=numa_matrix)
        except (OSError, MemoryError, RuntimeError, AttributeError) as error:  # no memory, no threads, no libc
            findings.note(f"memory bandwidth could not be measured: {error}")
            measured = None
        if measured is not None and measured.trusted and file:
            save_measurement(file, measured)
    if measured is None:
        for i, _ in enumerate(hardware.numa_nodes):
            findings.unknown(f"numa_nodes.{i}.bandwidth_bytes_per_s", "could not be measured")
        return hardware, None
    return apply(hardware, measured, findings), measured


def holds_matrix(measured: Measurement) -> bool:
    """True when every pair of the measured nodes is in it."""
    count = len(measured.nodes)
    return len(measured.remote) == count * (count - 1)


def with_saved(tree: Tree, hardware: Hardware, findings: Findings) -> tuple[Hardware, Measurement | None]:
    """The hardware with the bandwidths that a capture holds (never on the live machine), and those."""
    content = tree.data(SAVED_FILE)[1] if not tree.live else b""
    if not content:
        return hardware, None
    try:
        measured = msgspec.json.decode(content, type=Measurement)
    except msgspec.MsgspecError:
        findings.note(f"{SAVED_FILE} of the capture is broken and left out")
        return hardware, None
    return apply(hardware, measured, findings), measured


def apply(hardware: Hardware, measured: Measurement, findings: Findings) -> Hardware:
    """Puts the figures into nodes and memory, each with its source."""
    how = f"95th percentile of 10 ms windows, {measured.threads} threads reading (memcmp)"
    state: FactState = "known" if measured.trusted else "suspect"
    nodes = []
    for i, node in enumerate(hardware.numa_nodes):
        rate = measured.nodes.get(node.id)
        remote = {other: rate for (reader, other), rate in measured.pairs().items() if reader == node.id}
        if rate is not None:
            findings.fact(f"numa_nodes.{i}.bandwidth_bytes_per_s", "measured", how, state)
        if remote:
            findings.fact(f"numa_nodes.{i}.remote_bandwidth_bytes_per_s", "measured", how, state)
        nodes.append(msgspec.structs.replace(node, bandwidth_bytes_per_s=rate, remote_bandwidth_bytes_per_s=remote))
    findings.fact("memory.bandwidth_single_bytes_per_s", "measured", "one thread, 95th percentile of chunks")
    upper = sum(measured.upper.values()) or None
    findings.fact("memory.bandwidth_upper_bytes_per_s", "measured", "each thread's best chunk, summed")
    if measured.remark:
        findings.note(measured.remark)
    memory = msgspec.structs.replace(
        hardware.memory, bandwidth_single_bytes_per_s=measured.single, bandwidth_upper_bytes_per_s=upper
    )
    return msgspec.structs.replace(hardware, numa_nodes=tuple(nodes), memory=memory)


def measure(
    tree: Tree, hardware: Hardware, progress: Progress | None = None, *, numa_matrix: bool = False
) -> Measurement | None:
    """Measures now; None when no CPU may be used. Takes 0.6 to 1.8 s, and 0.08 s for each remote pair: one for each
    distinct distance, all of them with `numa_matrix`."""
    say = progress or (lambda _what, _done: None)
    plan = reader_plan(hardware, physical_cores(tree))
    cpus = [cpu for _, cpu in plan]
    if not cpus:
        return None
    buffers = [Buffer(size) for size in [_buffer_bytes(hardware, len(cpus))] * len(cpus)]
    try:
        say("touching memory", 0.05)
        touch_all(cpus, buffers, TOUCH_S)
        say("one thread", 0.40)
        alone = read_all(cpus[:1], buffers[:1], SINGLE_S)
        say("all threads", 0.60)
        stolen, began = _stolen_s(tree), time.perf_counter()
        together = _read_together(plan, cpus, buffers)
        stolen = (_stolen_s(tree) - stolen) / ((time.perf_counter() - began) * len(cpus))
        remote = _remote(hardware, plan, buffers, numa_matrix)
        touched = min(buffer.touched_bytes for buffer in buffers)
    finally:
        for buffer in buffers:
            buffer.close()
        say("done", 1.0)
    return _summary(tree, hardware, plan, alone, together, remote, touched, stolen)


def _read_together(plan: list[tuple[int, int]], cpus: list[int], buffers: list[Buffer]) -> list[list[Sample]]:
    """The best of up to three passes: another one only while the threads hardly ran together, as on a shared host."""
    groups = node_groups(plan)
    best: list[list[Sample]] = []
    best_total = -1.0
    for _ in range(MOST_PASSES):
        samples = read_all(cpus, buffers, ALL_S)
        total = sum(window_rates(samples, groups).values())
        if total > best_total:
            best, best_total = samples, total
        if total and sum(chunk_rate(thread) for thread in samples) <= GOOD_RATIO * total:
            break
    return best


def node_groups(plan: list[tuple[int, int]]) -> dict[int, list[int]]:
    """Thread numbers by node id."""
    groups: dict[int, list[int]] = {}
    for number, (node, _) in enumerate(plan):
        groups.setdefault(node, []).append(number)
    return groups


def _summary(
    tree: Tree,
    hardware: Hardware,
    plan: list[tuple[int, int]],
    alone: list[list[Sample]],
    together: list[list[Sample]],
    remote: dict[str, float],
    touched: int,
    stolen: float,
) -> Measurement:
    groups = node_groups(plan)
    rates = window_rates(together, groups)
    best = {node: sum(best_rate(together[i]) for i in members) for node, members in groups.items()}
    apart = sum(chunk_rate(thread) for thread in together)
    problems = _problems(tree, hardware, len(plan), sum(rates.values()), apart, touched, stolen)
    return Measurement(
        nodes=rates,
        upper=best,
        single=chunk_rate(alone[0]) or None,
        remote=remote,
        threads=len(plan),
        trusted=not problems,
        remark="; ".join(problems) or None,
    )


def reader_plan(hardware: Hardware, cores: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
    """(node id, CPU) of every reading thread: the first allowed CPU of each physical core, fewer under a quota."""
    allowed = set(hardware.cpu.allowed_cpus)
    firsts = [min(usable) for core in cores if (usable := allowed.intersection(core))]
    where = {cpu: node.id for node in hardware.numa_nodes for cpu in node.cpus}
    plan = [(where[cpu], cpu) for cpu in sorted(firsts) if cpu in where]
    quota = hardware.cpu.quota_cpus
    if quota is not None and quota < len(plan):
        count = max(1, int(quota))
        plan = [plan[i * len(plan) // count] for i in range(count)]
    return plan


def _buffer_bytes(hardware: Hardware, threads: int) -> int:
    """max(64 MiB, 2 x last cache level / threads) for each thread, all together at most 5 % of available memory."""
    wanted = max(_LEAST_BUFFER_BYTES, 2 * _last_level_bytes(hardware.cpu) // threads)
    available = hardware.memory.available_bytes
    if available is not None:
        wanted = min(wanted, int(available * _SHARE_OF_AVAILABLE) // threads)
    return max(2 * MIB, wanted // (2 * MIB) * (2 * MIB))


def _last_level_bytes(cpu: Cpu) -> int:
    last = max((cache.level for cache in cpu.caches), default=0)
    return sum(cache.size_bytes * cache.instances for cache in cpu.caches if cache.level == last)


def _remote(
    hardware: Hardware, plan: list[tuple[int, int]], buffers: list[Buffer], numa_matrix: bool
) -> dict[str, float]:
    """The CPUs of one node read what the other's touched."""
    members = node_groups(plan)
    found: dict[str, float] = {}
    for reader, owner in remote_pairs(hardware.numa_nodes, tuple(members), every=numa_matrix):
        count = min(len(members[reader]), len(members[owner]))
        cpus = [plan[i][1] for i in members[reader][:count]]
        samples = read_all(cpus, [buffers[i] for i in members[owner][:count]], REMOTE_S)
        rates = window_rates(samples, {reader: list(range(count))})
        if reader in rates:
            found[f"{reader}>{owner}"] = rates[reader]
    return found


def remote_pairs(
    nodes: tuple[NumaNode, ...], measured: tuple[int, ...], *, every: bool = False
) -> list[tuple[int, int]]:
    """(reader, memory) pairs of measured nodes: one for each distinct distance, or `every` one."""
    distances = {node.id: node.distances for node in nodes}
    pairs = [(node.id, other) for node in nodes for other in measured if node.id in measured and other != node.id]
    if every:
        return pairs
    firsts: dict[int | None, tuple[int, int]] = {}
    for reader, owner in pairs:
        firsts.setdefault(distances[reader].get(owner), (reader, owner))
    return list(firsts.values())


def _problems(
    tree: Tree, hardware: Hardware, threads: int, rate: float, apart: float, touched: int, stolen: float
) -> list[str]:
    """Reasons to doubt the figure, for the person."""
    found = []
    if not rate:
        return ["the reading threads never ran together: the machine is too busy to measure"]
    if apart / rate > BUSY_RATIO or stolen > STOLEN_SHARE:
        found.append(
            f"machine busy while measuring memory bandwidth: the threads' own rates add up to {apart / rate:.1f} times "
            "the figure; probe again when idle, or trust the theoretical one"
        )
    if touched < _CACHE_FACTOR * _last_level_bytes(hardware.cpu) // threads and touched < _LEAST_BUFFER_BYTES:
        found.append("memory bandwidth was measured on small buffers, so caches may flatter it")
    if tree.live and is_musl(library()):
        found.append("memory bandwidth is a lower bound: this C library (musl) reads slower than memory")
    return found


def _stolen_s(tree: Tree) -> float:
    """CPU time taken by other virtual machines so far: the eighth number of /proc/stat, in hundredths of a second."""
    words = (tree.text("proc/stat") or "").splitlines()[:1]
    fields = words[0].split() if words else []
    return int(fields[8]) / 100 if len(fields) > 8 and fields[8].isdecimal() else 0.0
