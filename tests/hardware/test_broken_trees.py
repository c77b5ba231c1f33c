"""Captured machines with files broken at random: the probe never crashes, and says what it could not use."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import planner
from planner.hardware.capture import TOP, unpack
from planner.hardware.facts import Hardware
from planner.hardware.files import decode_hardware, hardware_json
from planner.hardware.findings import known_paths
from planner.hardware.probe import probe
from planner.hardware.tree import MOST_MEMORY_BYTES, Tree
from tests.hardware.conftest import Trees

# Small and large, every architecture, raw SMBIOS, sparse nodes, GPU nodes, PCI, KFD.
TREES = (
    "arm-2c-no-numa", "hybrid-raptorlake", "magnycours-sparse-nodes", "nvidia-dgx-gb10", "opteron6134-cgroup2-cpuset",
    "opteron865-cpuset-v1-offline", "power9-v100-gpu-nodes", "qemu-hbm-nvm-tiers", "ryzen1600-radeon", "vega10-x2",
    "vega64-drm-card0", "vm-tesla-p100", "xeon-e5-2680-dimms",
)  # fmt: skip
NUMBERS = ["-1", "0", "18446744073709551615", "9" * 30, "1e9", "0x", "0xffffffffffffffffffff"]
TEXTS = ["", "\0\0", "0-", "3-1", "0-99999999", "max max", "N/A", "MemTotal: 99999999999999999 kB", "é" * 50]
CONTENT = st.one_of(st.sampled_from([*NUMBERS, *TEXTS]), st.text(max_size=40), st.integers(-(2**70), 2**70).map(str))
FAULTS = st.one_of(
    CONTENT.map(lambda text: ("text", text)),
    st.integers(0, 40).map(lambda length: ("cut", length)),
    st.sampled_from(["gone", "folder", "pipe", "denied", "outward", "loop"]).map(lambda kind: (kind, None)),
)


@pytest.fixture(scope="module")
def files(machine: Trees, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[str]]]:
    """A copy of each tree as far as its probe reads it, and the names of those files."""
    folder, found = tmp_path_factory.mktemp("broken"), {}
    for name in TREES:
        archive = folder / f"{name}.tar.gz"
        probe(machine(name), capture=archive)
        with tarfile.open(archive) as packed:
            unpack(packed, folder / name)
        found[name] = (folder / name / TOP, read_files(folder / name / TOP))
    return found


def read_files(root: Path) -> list[str]:
    trees: list[Tree] = []

    class Recording(Tree):
        def __init__(self, where: str | Path = "/") -> None:
            super().__init__(where)
            trees.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.hardware.probe.Tree", Recording)
        probe(root)
    return sorted(name for name in trees[0].contents if (root / name).is_file() and not (root / name).is_symlink())


@contextlib.contextmanager
def broken(root: Path, faults: dict[str, tuple[str, object]]) -> Iterator[set[str]]:
    """The tree with these faults; gives the places that may not be opened, and mends all in the end."""
    kept = {name: (root / name).read_bytes() for name in faults}
    denied = set()
    try:
        for name, (kind, value) in faults.items():
            place = root / name
            if kind == "denied":
                denied.add(os.path.realpath(place))
            else:
                spoil(place, kind, value, kept[name])
        yield denied
    finally:
        for name, content in kept.items():
            place = root / name
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            else:
                place.unlink(missing_ok=True)
            place.write_bytes(content)


def spoil(place: Path, kind: str, value: object, content: bytes) -> None:
    if kind == "cut":
        place.write_bytes(content[: int(str(value))])
        return
    place.unlink()
    if kind == "text":
        place.write_text(str(value), encoding="utf-8", errors="replace")
    elif kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "outward":
        place.symlink_to("/etc/hostname")
    elif kind == "loop":
        place.symlink_to(place.name)


def refusing(places: set[str]):
    real = os.open

    def opened(name, *args, **kwargs):
        if os.path.realpath(name) in places:
            raise PermissionError
        return real(name, *args, **kwargs)

    return opened


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_fault_of_a_file_breaks_the_probe(files, devices, monkeypatch, data):
    """At every path: missing, empty, cut off, absurd, unreadable, a folder, a pipe, a link out of the root or in a
    circle. There is a machine with a node, every fact has a source, no figure is absurd, the file reads back."""
    root, names = files[data.draw(st.sampled_from(TREES))]
    faults = data.draw(st.dictionaries(st.sampled_from(names), FAULTS, min_size=1, max_size=12))
    with broken(root, faults) as denied, monkeypatch.context() as patch:
        patch.setattr("planner.hardware.tree.os.open", refusing(denied))
        hardware = probe(root, devices=devices)
    check(hardware)
    for kind, sentence in (("outward", "links that lead out of the tree"), ("denied", "no permission to read")):
        places = [name for name, fault in faults.items() if fault[0] == kind and "/dmi/" not in name]
        notes = [note for note in hardware.notes if note.startswith(sentence)]
        assert len(notes) <= 1
        if places and len(faults) == 1:
            assert f"/{places[0]}" in notes[0]


def check(hardware: Hardware) -> None:
    assert hardware.numa_nodes
    assert decode_hardware(hardware_json(hardware)) == hardware
    facts = [path for path in known_paths("", hardware) if not path.startswith(("sources", "notes", "format_version"))]
    assert [path for path in facts if path not in hardware.sources] == []
    sizes = [hardware.memory.total_bytes, hardware.memory.available_bytes, hardware.memory.hugepages_bytes]
    sizes += [node.memory_bytes for node in hardware.numa_nodes] + [gpu.memory_bytes for gpu in hardware.gpus]
    assert all(size is None or 0 <= size <= 2 * MOST_MEMORY_BYTES for size in sizes)
    assert all(value is None or value > 0 for value in (hardware.cpu.cores, hardware.cpu.threads, hardware.cpu.sockets))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_fault_of_a_file_breaks_the_plan(files, monkeypatch, data):
    """What such a probe finds is planned, or refused with an error that says why."""
    root, names = files[data.draw(st.sampled_from(TREES))]
    important = [
        name for name in names if "meminfo" in name or "cgroup" in name or "online" in name or "/node/" in name
    ]
    faults = data.draw(st.dictionaries(st.sampled_from(important or names), FAULTS, min_size=1, max_size=6))
    with broken(root, faults) as denied, monkeypatch.context() as patch:
        patch.setattr("planner.hardware.tree.os.open", refusing(denied))
        hardware = planner.probe(root)
    with contextlib.suppress(planner.PlannerError):
        planner.recommend(hardware, model="qwen3-0.6b")


@pytest.mark.parametrize("gone", ["proc", "sys", "sys/devices/system/node", "sys/devices/system/cpu"])
@pytest.mark.parametrize("name", ["power9-v100-gpu-nodes", "xeon-e5-2680-dimms"])
def test_whole_folders_are_gone(machine, tmp_path, name, gone):
    """Also a root without /proc: what is unknown is said."""
    shutil.copytree(machine(name), tmp_path / name, symlinks=True)
    shutil.rmtree(tmp_path / name / gone)
    hardware = probe(tmp_path / name)
    check(hardware)
    said = " ".join(hardware.notes)
    expected = {
        "proc": "the machine's memory is unknown: /proc/meminfo could not be read",
        "sys": "no NUMA information: one node holding everything is assumed",
        "sys/devices/system/node": "no NUMA information: one node holding everything is assumed",
    }
    assert expected.get(gone, "") in said


def test_broken_content_is_said(build):
    files = {
        "proc/meminfo": "MemTotal: 99999999999999999 kB\n",
        "sys/devices/system/cpu/online": "0-x\n",
        "sys/devices/system/node/online": "0\n",
        "sys/devices/system/node/node0/cpulist": "0\n",
        "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: lots\n",
        "secret": "->/etc/hostname",
        "sys/devices/system/node/possible": "->/etc/hostname",
    }
    notes = " ".join(probe(build(files)).notes)
    assert "the machine's memory is unknown" in notes
    assert "the processors are unknown" in notes
    assert "links that lead out of the tree are not followed: /sys/devices/system/node/possible" in notes
    listed = "/sys/devices/system/cpu/online, /sys/devices/system/node/node0/meminfo"
    assert f"not understood and left out: {listed}" in notes
