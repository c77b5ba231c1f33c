"""The probe against lscpu, lstopo and numactl, field by field: on this machine, and on the captured trees."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest

import planner
from planner.hardware.facts import Hardware
from planner.hardware.probe import probe
from planner.hardware.tree import parse_cpu_list
from planner.units import MIB

pytestmark = pytest.mark.tools

SYSFS = Path(__file__).parents[1] / "machines" / "sysfs"
NAMES = sorted(path.name.removesuffix(".tar.gz") for path in SYSFS.glob("*.tar.gz"))
Facts = dict[str, object]

# (tree, peer, field): why the peer says something else. A row that no longer differs fails its test.
DIFFERENCES: dict[tuple[str, str, str], str] = {
    (
        "harpertown-buggy-numa",
        "lstopo",
        "nodes",
    ): "eight nodes claim the same CPUs; hwloc keeps the first, as a plan does",
    ("harpertown-buggy-numa", "lstopo", "node memory"): "of that one node only",
    ("arm-2c-no-numa", "lscpu", "nodes"): "no node folder; lscpu states no node, a plan needs one to bind to",
    ("arm-2c-no-numa", "lscpu", "node CPUs"): "the same",
    ("arm-2c-no-numa", "lscpu", "model"): "lscpu names the ARM part by its own table, the probe what the kernel prints",
    ("kunpeng920-128c", "lscpu", "model"): "lscpu names the ARM part by its own table, the probe the number",
    ("nvidia-dgx-gb10", "lscpu", "model"): "lscpu prints a dash for a part that its table lacks, the probe the number",
    (
        "nvidia-dgx-gb10",
        "lscpu",
        "cores",
    ): "lscpu counts core numbers, which repeat in each cluster; hwloc counts 20 too",
}
# The trees on which lscpu ends with an error, and what it asks for.
LSCPU_NEEDS = {
    "cascadelake-snc2-pmem-kmem": "/proc/cpuinfo",
    "ryzen1600-radeon": "/sys/devices/system/cpu/possible",
    "vm-tesla-p100": "/sys/devices/system/cpu/possible",
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every captured tree, unpacked."""
    folder = tmp_path_factory.mktemp("trees")
    for name in NAMES:
        with tarfile.open(SYSFS / f"{name}.tar.gz") as packed:
            packed.extraction_filter = getattr(tarfile, "tar_filter", None)  # Python before 3.11.4 has none
            packed.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def here() -> Hardware:
    return planner.probe(measure_bandwidth=False)


def output(*command: str, **variables: str) -> str:
    environment = {**os.environ, "LC_ALL": "C", **variables}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def lstopo(root: Path | None = None) -> Facts:
    """What hwloc finds; of a tree also the CPUs and nodes outside the cpuset, and the nodes that GPUs own."""
    asked: dict[str, str] = {}
    if root is not None:
        asked = {"HWLOC_FSROOT": str(root), "HWLOC_COMPONENTS": "linux,stop", "HWLOC_THISSYSTEM": "0"}
    command = ("lstopo", "--disallowed", "--of", "xml")
    topology = Xml.fromstring(output(*command, HWLOC_KEEP_NVIDIA_GPU_NUMA_NODES="1", **asked))
    objects = list(topology.iter("object"))
    nodes = [item for item in objects if item.get("type") == "NUMANode"]
    counts = [sum(item.get("type") == kind for item in objects) for kind in ("Package", "Core", "PU")]
    memory = {int(node.get("os_index", "")): int(node.get("local_memory", "0")) or None for node in nodes}
    models = {info.get("value") for info in topology.iter("info") if info.get("name") == "CPUModel"}
    return {
        **dict(zip(("sockets", "cores", "threads"), counts, strict=True)),
        "nodes": sorted(memory),
        "node memory": memory,
        "model": re.sub(r"\s+", " ", models.pop() or "") if len(models) == 1 else None,
    }


def lscpu(root: Path | None = None) -> Facts:
    """What lscpu finds of the CPUs that are online."""
    where = ("--sysroot", str(root)) if root is not None else ()
    lines = [line.split(",") for line in output("lscpu", *where, "--parse=CPU,CORE,SOCKET").splitlines()]
    rows = [line for line in lines if not line[0].startswith("#")]
    entries = json.loads(output("lscpu", *where, "-J"))["lscpu"]
    stated = {str(entry["field"]): entry["data"] for entry in entries}
    nodes = {int(match[1]): match[0] for name in stated if (match := re.fullmatch(r"NUMA node(\d+) CPU\(s\):", name))}
    return {
        "sockets": len({row[2] for row in rows}),
        "cores": len({row[1] for row in rows}),
        "threads": len(rows),
        "nodes": sorted(nodes),
        "node CPUs": {node: parse_cpu_list(stated[name] or "") for node, name in nodes.items()},
        "model": re.sub(r"\s+", " ", stated["Model name:"]),
    }


def probed(hardware: Hardware) -> Facts:
    """The same fields of a probe, as firmware states the nodes."""
    nodes = hardware.firmware_nodes or hardware.numa_nodes
    return {
        "sockets": hardware.cpu.sockets,
        "cores": hardware.cpu.cores,
        "threads": hardware.cpu.threads,
        "nodes": [node.id for node in nodes],
        "node memory": {node.id: node.memory_bytes for node in nodes},
        "node CPUs": {node.id: node.cpus for node in nodes},
        "model": re.sub(r"\s+", " ", hardware.cpu.model or "") or None,
    }


def compare(tree: str, peer: str, theirs: Facts, ours: Facts) -> None:
    """Every field of the peer that it knows equals ours, but for the rows of DIFFERENCES, which must differ."""
    known = {field: value for field, value in theirs.items() if value is not None}
    differing = {field: (value, ours[field]) for field, value in known.items() if value != ours[field]}
    explained = {field for name, tool, field in DIFFERENCES if (name, tool) == (tree, peer)}
    assert {field: both for field, both in differing.items() if field not in explained} == {}
    assert explained <= set(differing), "a difference that the table explains is gone"


def test_lscpu_here(here: Hardware) -> None:
    compare("here", "lscpu", lscpu(), probed(here))


def test_lstopo_here(here: Hardware) -> None:
    compare("here", "lstopo", lstopo(), probed(here))


def test_numactl_here(here: Hardware) -> None:
    """Nodes, their CPUs, their memory in whole MiB, and the distances."""
    text = output("numactl", "-H")
    cpus = dict(re.findall(r"^node (\d+) cpus:(.*)$", text, re.MULTILINE))
    sizes = dict(re.findall(r"^node (\d+) size: (\d+) MB$", text, re.MULTILINE))
    rows = dict(re.findall(r"^ +(\d+):([\d ]+)$", text, re.MULTILINE))
    nodes = here.firmware_nodes or here.numa_nodes
    assert {str(node.id): sorted(node.cpus) for node in nodes} == {
        node: [int(cpu) for cpu in listed.split()] for node, listed in cpus.items()
    }
    assert {str(node.id): (node.memory_bytes or 0) // MIB for node in nodes} == {
        node: int(size) for node, size in sizes.items()
    }
    assert {str(node.id): [node.distances[other] for other in sorted(node.distances)] for node in nodes} == {
        node: [int(distance) for distance in row.split()] for node, row in rows.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_lstopo_of_a_tree(trees: Path, name: str) -> None:
    compare(name, "lstopo", lstopo(trees / name), probed(probe(trees / name)))


@pytest.mark.parametrize("name", NAMES)
def test_lscpu_of_a_tree(trees: Path, name: str) -> None:
    if name in LSCPU_NEEDS:
        with pytest.raises(subprocess.CalledProcessError) as failed:
            lscpu(trees / name)
        assert LSCPU_NEEDS[name] in failed.value.stderr
        return
    compare(name, "lscpu", lscpu(trees / name), probed(probe(trees / name)))
