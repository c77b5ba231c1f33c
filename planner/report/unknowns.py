"""What a machine's facts leave open, and the command or file that tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.hardware.facts import Gpu, Hardware

LEARN_GPU_MEMORY = {
    "nvidia": "`nvidia-smi -q -x > gpus.xml` there, then `planner probe --import gpus.xml`",
    "amd": "the amdgpu driver of a newer kernel states it; or save what `rocm-smi` prints and give it to --import",
}


def unknown_facts(hardware: Hardware) -> list[str]:
    """One sentence each: the unknown fact, then how to learn it."""
    found = [*_processors(hardware), *_nodes(hardware), *_modules(hardware), *_gpus(hardware)]
    return [*_doubtful(hardware), *found]


def _doubtful(hardware: Hardware) -> list[str]:
    """What the question mark behind a bandwidth means here."""
    nodes = [hardware.sources.get(f"numa_nodes.{i}.bandwidth_bytes_per_s") for i, _ in enumerate(hardware.numa_nodes)]
    kinds = {fact.source for fact in nodes if fact is not None and fact.state == "suspect"}
    if "measured" in kinds:
        return ["figures with ?: measured while the machine was busy: `planner probe` on it when it is idle"]
    if kinds:
        return ["figures with ?: a theoretical peak, not measured: `planner probe` on the machine measures it"]
    return []


def _processors(hardware: Hardware) -> list[str]:
    missing = [name for name in ("model", "sockets", "cores", "threads") if getattr(hardware.cpu, name) is None]
    if not missing:
        return []
    return [f"CPU {', '.join(missing)}: save what `lscpu` prints there, then `planner probe --import FILE`"]


def _nodes(hardware: Hardware) -> list[str]:
    found = []
    unmeasured = [
        node.id for node in hardware.numa_nodes if node.bandwidth_bytes_per_s is None and not node.memory_only
    ]
    if unmeasured:
        how = "`planner probe` on the machine measures it (without --no-bandwidth and --root)"
        found.append(f"read bandwidth of {_named(unmeasured)}: {how}")
    odd = [node.id for node in hardware.numa_nodes if node.kind == "unknown"]
    if odd:
        found.append(f"kind of memory of {_named(odd)}: its data sheet; plans leave it alone")
    unsized = [node.id for node in hardware.numa_nodes if node.memory_bytes is None]
    if unsized:
        found.append(f"memory of {_named(unsized)}: `numactl -H` on the machine shows it")
    return found


def _modules(hardware: Hardware) -> list[str]:
    memory = hardware.memory
    facts = (("type", memory.type), ("channels", memory.channels), ("MT/s", memory.mt_per_s))
    missing = [name for name, value in facts if value is None]
    if not missing or hardware.unified or any("dmidecode" in note for note in hardware.notes):
        return []
    how = "`sudo dmidecode -t 17 > modules.txt` there, then `planner probe --import modules.txt`"
    return [f"{', '.join(missing)} of the memory modules: {how}"]


def _gpus(hardware: Hardware) -> list[str]:
    found = []
    nodes = {node.id for node in hardware.numa_nodes}
    for number, gpu in enumerate(hardware.gpus):
        if gpu.memory_bytes is None:
            how = LEARN_GPU_MEMORY.get(gpu.vendor, "install its driver and probe again")
            found.append(f"memory of gpu {number}: {how}")
        if gpu.bandwidth_bytes_per_s is None:
            found.append(f"bandwidth of gpu {number}: its data sheet; a what-if machine takes it as --gpu-bandwidth")
        if gpu.link is None and not gpu.unified:
            found.append(f"link of gpu {number}: {_lspci(gpu)} shows it as LnkCap")
        if gpu.numa_node not in nodes and len(nodes) > 1:
            found.append(f"NUMA node of gpu {number}: {_affinity(gpu)}")
    return found


def _lspci(gpu: Gpu) -> str:
    return f"`sudo lspci -vv -s {gpu.bus_id}`" if gpu.bus_id else "`sudo lspci -vv`"


def _affinity(gpu: Gpu) -> str:
    if gpu.vendor == "nvidia":
        return "`nvidia-smi topo -m` on the machine shows it (NUMA Affinity)"
    return f"{_lspci(gpu)} on the machine shows it (NUMA node)"


def _named(ids: list[int]) -> str:
    return f"node{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"
