"""A captured machine replays elsewhere with the same facts, and does not tell whose it is."""

from __future__ import annotations

import tarfile

import msgspec
import pytest

from planner.errors import ProbeError
from planner.hardware import bandwidth
from planner.hardware.bandwidth_cache import Measurement
from planner.hardware.capture import write_capture
from planner.hardware.findings import Findings
from planner.hardware.linux import read_linux
from planner.hardware.nvidia import Board, Driver
from planner.hardware.probe import probe
from planner.hardware.tree import Tree
from tests.hardware.test_amd import strix_halo


@pytest.mark.parametrize(
    "name",
    ["qemu-hbm-nvm-tiers", "power9-v100-gpu-nodes", "hybrid-raptorlake", "ryzen1600-radeon", "xeon-e5-2680-dimms"],
)
def test_a_tree_survives_its_capture(machine, tmp_path, name):
    archive = tmp_path / "machine.tar.gz"
    original = probe(machine(name), capture=archive)
    replayed = probe(archive)
    left_out = {"memory", "sources", "notes", "numa_nodes"} if name == "xeon-e5-2680-dimms" else set()
    for field in msgspec.structs.fields(type(original)):
        if field.name not in left_out:
            assert getattr(replayed, field.name) == getattr(original, field.name), field.name


def test_links_keep_their_place(build, tmp_path):
    archive = tmp_path / "machine.tar.gz"
    original = probe(build(strix_halo(512, 65024, 130560)), capture=archive)
    (gpu,) = probe(archive).gpus
    assert gpu == original.gpus[0]
    assert gpu.bus_id == "0000:c5:00.0"


def test_driver_answers_and_bandwidth_travel(build, tmp_path):
    root = build(strix_halo(512, 65024, 130560))
    tree, findings = Tree(root), Findings()
    driver = Driver(boards=(Board(name="NVIDIA L4", uuid="GPU-secret", memory_state="known", total_bytes=24 * 10**9),))
    hardware = read_linux(tree, findings, None, driver)
    measured = Measurement(nodes={0: 80e9}, upper={0: 90e9}, single=12e9, threads=2)
    hardware = bandwidth.apply(hardware, measured, findings, "measured here")
    hardware = msgspec.structs.replace(hardware, sources=findings.sources)
    archive = tmp_path / "machine.tar.gz"
    write_capture(archive, tree, hardware, driver)
    replayed = probe(archive)
    assert [gpu.name for gpu in replayed.gpus] == ["NVIDIA L4", "Radeon 8060S"]
    assert replayed.numa_nodes[0].bandwidth_bytes_per_s == 80e9
    assert replayed.sources["numa_nodes.0.bandwidth_bytes_per_s"].note.startswith("measured when captured")
    assert b"secret" not in archive.read_bytes()


def test_serials_are_taken_out(build, tmp_path):
    root = build({"proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd0b\nSerial\t\t: 10000000abcdef\n"})
    archive = tmp_path / "machine.tar.gz"
    probe(root, capture=archive)
    with tarfile.open(archive) as packed:
        text = packed.extractfile("machine/proc/cpuinfo").read().decode()
    assert "abcdef" not in text
    assert "removed" in text


def test_live_capture(tmp_path):
    """This machine, read twice: once live, once from its capture."""
    archive = tmp_path / "machine.tar.gz"
    live = probe(measure_bandwidth=False, capture=archive)
    replayed = probe(archive)
    assert replayed.cpu == live.cpu
    assert replayed.os == live.os
    assert replayed.memory.total_bytes == live.memory.total_bytes
    assert [(n.id, n.cpus, n.memory_bytes) for n in replayed.numa_nodes] == [
        (n.id, n.cpus, n.memory_bytes) for n in live.numa_nodes
    ]
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert not any("machine-id" in name or "serial" in name for name in names)


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_broken_archives(tmp_path, content):
    archive = tmp_path / "machine.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(ProbeError, match=r"machine\.tar\.gz"):
        probe(archive)


def test_an_archive_that_reaches_outside_is_refused(tmp_path):
    archive = tmp_path / "machine.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo("../outside")
        packed.addfile(member)
    with pytest.raises(ProbeError, match="not a usable capture"):
        probe(archive)
    assert not (tmp_path.parent / "outside").exists()


def test_another_file_is_no_root(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("x")
    with pytest.raises(ProbeError, match="is not a folder"):
        probe(file)
