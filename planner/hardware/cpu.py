"""Processors of a Linux tree: online CPUs, cores, sockets, core types, caches, instruction sets."""

from __future__ import annotations

from collections import Counter

import msgspec

from planner.hardware.cpuinfo import ARM_PARTS, CpuInfo, parse_cpuinfo
from planner.hardware.facts import Cache, CoreType, Cpu
from planner.hardware.findings import Findings
from planner.hardware.tree import Tree, parse_cpu_mask

CPU_DIR = "sys/devices/system/cpu"


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """The processors with what other readers need: online CPUs, thread sets per core, packages in CPU order."""

    cpu: Cpu
    info: CpuInfo
    online: tuple[int, ...] = ()
    cores: tuple[tuple[int, ...], ...] = ()
    packages: tuple[tuple[int, ...], ...] = ()

    def package_of(self, cpus: tuple[int, ...]) -> int | None:
        """Index of the socket that holds the first of `cpus`."""
        return next((i for i, package in enumerate(self.packages) if cpus and cpus[0] in package), None)


def read_topology(tree: Tree, findings: Findings) -> Topology:
    """The processors of the tree. Counts are of online CPUs; a missing file leaves its fact unknown."""
    info = parse_cpuinfo(tree.text("proc/cpuinfo") or "")
    online = _online(tree, info)
    cores = _sibling_sets(tree, online, ("core_cpus", "thread_siblings"))
    packages = _sibling_sets(tree, online, ("package_cpus", "core_siblings"))
    present = tree.cpus(f"{CPU_DIR}/present")
    if present is None:
        present = _numbered(tree)
    cpu = Cpu(
        model=info.model,
        vendor=info.vendor,
        architecture=_architecture(tree, info),
        sockets=len(packages) or len({package for package, _ in info.core_keys}) or None,
        cores=len(cores) or len(set(info.core_keys)) or None,
        threads=len(online) or None,
        offline_cpus=tuple(cpu for cpu in present if cpu not in online),
        isa=info.isa,
        core_types=_core_types(tree, cores, info),
        caches=_caches(tree, online),
    )
    _explain(cpu, findings, bool(cores))
    return Topology(cpu=cpu, info=info, online=online, cores=cores, packages=packages)


def _explain(cpu: Cpu, findings: Findings, from_sysfs: bool) -> None:
    for name in ("model", "vendor", "isa"):
        if getattr(cpu, name):
            findings.fact(f"cpu.{name}", "read", "/proc/cpuinfo")
        else:
            findings.unknown(f"cpu.{name}", "/proc/cpuinfo does not say")
    if cpu.architecture:
        findings.fact("cpu.architecture", "derived", "from the form of /proc/cpuinfo or the CPU's modalias")
    where = f"/{CPU_DIR}/cpu*/topology, distinct sibling sets of online CPUs" if from_sysfs else "/proc/cpuinfo"
    for name in ("sockets", "cores"):
        findings.fact(f"cpu.{name}", "derived", where) if getattr(cpu, name) else findings.unknown(f"cpu.{name}", where)
    if cpu.threads is None:
        findings.note(f"the processors are unknown: neither /{CPU_DIR} nor /proc/cpuinfo names one")
    findings.cover("cpu", cpu, "read", f"/{CPU_DIR}")


def _numbered(tree: Tree) -> tuple[int, ...]:
    names = [name[3:] for name in tree.names(CPU_DIR) if name.startswith("cpu") and name[3:].isdecimal()]
    return tuple(sorted(int(name) for name in names if len(name) < 6))


def _online(tree: Tree, info: CpuInfo) -> tuple[int, ...]:
    """Online CPUs: the list file, else folders without an `online` flag of 0 (absent means online), else cpuinfo."""
    listed = tree.cpus(f"{CPU_DIR}/online")
    if listed:
        return listed
    folders = tuple(cpu for cpu in _numbered(tree) if tree.integer(f"{CPU_DIR}/cpu{cpu}/online") != 0)
    return folders or tuple(sorted(set(info.processors)))


def _sibling_sets(tree: Tree, online: tuple[int, ...], names: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Distinct sets of online siblings, in CPU order. `names`: the file's newer and older name; each has a list and a
    mask form. CPUs already named by a sibling's list are not read again."""
    alive, seen, sets = set(online), set[int](), []
    for cpu in online:
        if cpu in seen:
            continue
        siblings = _siblings(tree, cpu, names)
        if siblings is None:
            continue
        group = tuple(sorted(alive.intersection(siblings) | {cpu}))
        seen.update(group)
        sets.append(group)
    return tuple(sets)


def _siblings(tree: Tree, cpu: int, names: tuple[str, ...]) -> tuple[int, ...] | None:
    for name in names:
        listed = tree.cpus(f"{CPU_DIR}/cpu{cpu}/topology/{name}_list")
        if listed is not None:
            return listed
        mask = tree.text(f"{CPU_DIR}/cpu{cpu}/topology/{name}")
        if mask is not None:
            return parse_cpu_mask(mask)
    return None


def _architecture(tree: Tree, info: CpuInfo) -> str | None:
    if info.architecture:
        return info.architecture
    modalias = tree.text(f"{CPU_DIR}/modalias") or ""
    if "type:x86," in modalias:
        return "x86_64"
    return "aarch64" if "type:aarch64" in modalias else None


def _core_types(tree: Tree, cores: tuple[tuple[int, ...], ...], info: CpuInfo) -> tuple[CoreType, ...]:
    """Kinds of cores, none when all are alike. Firmware's word first (PMU folders, MIDR); maximum frequencies are not
    asked: favoured cores differ inside one kind."""
    kind_of = _pmu_kinds(tree) or _midr_kinds(tree, cores) or _smt_kinds(cores, info)
    cores_by_kind: Counter[str] = Counter()
    threads_by_kind: Counter[str] = Counter()
    for core in cores:
        kind = kind_of.get(core[0])
        if kind is not None:
            cores_by_kind[kind] += 1
            threads_by_kind[kind] += len(core)
    if len(cores_by_kind) < 2:
        return ()
    return tuple(CoreType(name=kind, cores=n, threads=threads_by_kind[kind]) for kind, n in cores_by_kind.items())


def _pmu_kinds(tree: Tree) -> dict[int, str]:
    found = {}
    for folder, kind in (("cpu_core", "P"), ("cpu_atom", "E"), ("cpu_lowpower", "LP-E")):
        for cpu in tree.cpus(f"sys/devices/{folder}/cpus") or ():
            found[cpu] = kind
    return found


def _midr_kinds(tree: Tree, cores: tuple[tuple[int, ...], ...]) -> dict[int, str]:
    """Arm: implementer in bits 24-31 and part number in bits 4-15 of MIDR_EL1 (Arm ARM, D19.2)."""
    found = {}
    for core in cores:
        midr = tree.integer(f"{CPU_DIR}/cpu{core[0]}/regs/identification/midr_el1")
        if midr is None:
            return {}
        implementer, part = f"0x{midr >> 24 & 0xFF:x}", f"0x{midr >> 4 & 0xFFF:03x}"
        found[core[0]] = ARM_PARTS.get((implementer, part), part)
    return found


def _smt_kinds(cores: tuple[tuple[int, ...], ...], info: CpuInfo) -> dict[int, str]:
    """Intel hybrids without PMU folders: P cores have two threads, E cores one. Only when both kinds are many, or an
    offline sibling would look like an E core."""
    widths = Counter(len(core) for core in cores)
    if info.vendor != "GenuineIntel" or set(widths) != {1, 2} or widths[1] % 2:
        return {}
    return {core[0]: "P" if len(core) == 2 else "E" for core in cores}


def _caches(tree: Tree, online: tuple[int, ...]) -> tuple[Cache, ...]:
    """Data and unified caches, one entry per level and size; each shared set is read once."""
    covered: dict[str, set[int]] = {}
    counts: Counter[tuple[int, int]] = Counter()
    indexes = next((n for cpu in online[:1] if (n := tree.names(f"{CPU_DIR}/cpu{cpu}/cache"))), ())
    for index in (name for name in indexes if name.startswith("index")):
        for cpu in online:
            if cpu in covered.setdefault(index, set()):
                continue
            folder = f"{CPU_DIR}/cpu{cpu}/cache/{index}"
            shared = tree.cpus(f"{folder}/shared_cpu_list")
            if shared is None:
                shared = parse_cpu_mask(tree.text(f"{folder}/shared_cpu_map") or "") or ()
            covered[index].update(shared, (cpu,))
            level, size = tree.integer(f"{folder}/level"), _cache_bytes(tree.text(f"{folder}/size"))
            if level and size and tree.text(f"{folder}/type") != "Instruction":
                counts[level, size] += 1
    return tuple(Cache(level=level, size_bytes=size, instances=n) for (level, size), n in sorted(counts.items()))


def _cache_bytes(text: str | None) -> int | None:
    """`32768K` (sysfs writes K and means KiB)."""
    if text is None or not text.rstrip("KM").isdecimal() or len(text) > 16:
        return None
    return int(text.rstrip("KM")) * {"K": 1024, "M": 1024**2}.get(text[-1], 1)


def physical_cores(tree: Tree) -> tuple[tuple[int, ...], ...]:
    """Online thread sets, one for each physical core; single CPUs where the topology is not told."""
    online = _online(tree, CpuInfo())
    return _sibling_sets(tree, online, ("core_cpus", "thread_siblings")) or tuple((cpu,) for cpu in online)
