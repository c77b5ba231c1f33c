"""A captured machine replays elsewhere with the same facts, and does not tell whose it is."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import msgspec
import pytest

from planner.errors import ProbeError
from planner.hardware import bandwidth
from planner.hardware.bandwidth_cache import Measurement
from planner.hardware.capture import unpack, write_capture
from planner.hardware.facts import Hardware
from planner.hardware.files import hardware_json
from planner.hardware.findings import Findings
from planner.hardware.linux import read_linux
from planner.hardware.nvidia import Board, Driver, Slice
from planner.hardware.probe import probe
from planner.hardware.tree import Tree
from tests.hardware.conftest import MACHINES
from tests.hardware.test_amd import strix_halo

NAMES = sorted(
    path.name.removesuffix(".tar.gz") for kind in ("sysfs", "kfd") for path in (MACHINES / kind).glob("*.gz")
)


def with_aliases(hardware: Hardware, replayed: Hardware) -> Hardware:
    """The hardware with the replay's ids in place of its own, which must be as many different ones."""
    ours, theirs = ([gpu.uuid for gpu in machine.gpus] for machine in (hardware, replayed))
    assert [uuid is None for uuid in ours] == [uuid is None for uuid in theirs]
    assert len(set(ours)) == len(set(theirs))
    pairs = zip(hardware.gpus, theirs, strict=True)
    gpus = tuple(msgspec.structs.replace(gpu, uuid=alias) for gpu, alias in pairs)
    return msgspec.structs.replace(hardware, gpus=gpus)


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_survives_its_capture(machine, tmp_path, devices, name):
    """Byte for byte, and the capture of the capture is the same archive."""
    archive, second = tmp_path / "machine.tar.gz", tmp_path / "again.tar.gz"
    original = probe(machine(name), devices=devices, capture=archive)
    replayed = probe(archive, devices=devices, capture=second)
    assert hardware_json(replayed).decode() == hardware_json(with_aliases(original, replayed)).decode()
    assert second.read_bytes() == archive.read_bytes()


def test_modules_travel_without_serial_numbers(machine, tmp_path):
    """The Dell's raw structures name modules and their serials."""
    root = machine("xeon-e5-2680-dimms")
    structures = [file.read_bytes() for file in (root / "sys/firmware/dmi/entries").glob("17-*/raw")]
    serials = {raw[raw[1] :].split(b"\0")[raw[0x18] - 1] for raw in structures if raw[0x18]}
    assert len(serials) > 7
    archive = tmp_path / "machine.tar.gz"
    probe(root, capture=archive)
    with tarfile.open(archive) as packed:
        texts = [packed.extractfile(member).read() for member in packed if member.isfile()]
    told = [serial for serial in serials if serial.strip() and any(serial in text for text in texts)]
    assert told == []


def test_links_keep_their_place(build, tmp_path):
    archive = tmp_path / "machine.tar.gz"
    original = probe(build(strix_halo(512, 65024, 130560)), capture=archive)
    (gpu,) = probe(archive).gpus
    assert gpu == original.gpus[0]
    assert gpu.bus_id == "0000:c5:00.0"


SECRET_DRIVER = Driver(
    boards=(
        Board(name="NVIDIA L4", uuid="GPU-secret", memory_state="known", total_bytes=24 * 10**9),
        Board(name="NVIDIA A100", uuid="GPU-2", mig=True, slices=(Slice(name="1g", uuid="MIG-secret"),)),
    ),
    notes=("CUDA_VISIBLE_DEVICES leaves 2 of 3 NVIDIA GPUs",),
)


def test_driver_answers_and_bandwidth_travel(build, tmp_path):
    """Also a doubtful measurement, with its doubt."""
    root = build(strix_halo(512, 65024, 130560))
    tree, findings = Tree(root), Findings()
    hardware = read_linux(tree, findings, None, SECRET_DRIVER)
    measured = Measurement(
        nodes={0: 80e9}, upper={0: 90e9}, single=12e9, threads=2, trusted=False, remark="machine busy"
    )
    hardware = bandwidth.apply(hardware, measured, findings)
    sources = dict(sorted(findings.sources.items()))
    hardware = msgspec.structs.replace(hardware, sources=sources, notes=tuple(findings.notes))
    archive = tmp_path / "machine.tar.gz"
    write_capture(archive, tree, hardware, SECRET_DRIVER, measured)
    replayed = probe(archive)
    assert [gpu.name for gpu in replayed.gpus] == ["NVIDIA L4", "1g", "Radeon 8060S"]
    assert replayed.numa_nodes[0].bandwidth_bytes_per_s == 80e9
    assert {"machine busy", *SECRET_DRIVER.notes} <= set(replayed.notes)
    assert hardware_json(with_aliases(hardware, replayed)) == hardware_json(replayed)
    with tarfile.open(archive) as packed:
        assert b"secret" not in packed.extractfile("machine/planner/nvml.json").read()


def test_board_ids_of_amd_become_aliases(build, tmp_path):
    card = "sys/devices/pci0000:00/0000:c5:00.0"
    root = build(strix_halo(512, 65024, 130560) | {f"{card}/unique_id": "79ccd55167a2124a\n"})
    archive = tmp_path / "machine.tar.gz"
    assert probe(root, capture=archive).gpus[0].uuid == "GPU-79ccd55167a2124a"
    assert probe(archive).gpus[0].uuid == "GPU-0000000000000001"


def test_names_of_pci_devices_travel(build, tmp_path):
    """A card that only the distribution's list names: its line travels, not the list."""
    listed = "# list\n1002  AMD/ATI\n\tffee  Fancy [Radeon New]\n\tffef  Other\n10df  Emulex\n\tffee  An adapter\n"
    files = strix_halo(512, 65024, 130560) | {"usr/share/misc/pci.ids": listed}
    files["sys/devices/pci0000:00/0000:c5:00.0/device"] = "0xffee\n"
    archive = tmp_path / "machine.tar.gz"
    probe(build(files), capture=archive)
    assert [gpu.name for gpu in probe(archive).gpus] == ["Radeon New"]
    with tarfile.open(archive) as packed:
        names = packed.extractfile("machine/usr/share/misc/pci.ids").read()
    assert names == b"#\n1002  AMD/ATI\n\tffee  Fancy [Radeon New]\n"


def test_serials_are_taken_out(build, tmp_path):
    root = build({"proc/cpuinfo": "processor\t: 0\nCPU part\t: 0xd0b\nSerial\t\t: 10000000abcdef\n"})
    archive = tmp_path / "machine.tar.gz"
    probe(root, capture=archive)
    with tarfile.open(archive) as packed:
        text = packed.extractfile("machine/proc/cpuinfo").read().decode()
    assert "abcdef" not in text
    assert "removed" in text


def test_live_capture(tmp_path, monkeypatch):
    """This machine, read twice: once live, measured and with a file that it would not show; once from its capture."""
    measured = Measurement(nodes={0: 80e9}, upper={0: 90e9}, single=12e9, threads=2)
    monkeypatch.setattr(bandwidth, "measure", lambda *_args, **_kwargs: measured)
    monkeypatch.setenv("PLANNER_CACHE", "off")
    monkeypatch.setattr(os, "open", refusing("/proc/sys/kernel/numa_balancing"))
    archive = tmp_path / "machine.tar.gz"
    live = probe(capture=archive, state_dir=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(bandwidth, "measure", None)
    replayed = probe(archive)
    assert hardware_json(replayed).decode() == hardware_json(with_aliases(live, replayed)).decode()
    assert "no permission to read: /proc/sys/kernel/numa_balancing" in replayed.notes
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert not any("machine-id" in name or "serial" in name for name in names)


def refusing(path: str):
    """`os.open` without the permission to open one file."""
    real = os.open

    def opened(name, *args, **kwargs):
        if name == path:
            raise PermissionError
        return real(name, *args, **kwargs)

    return opened


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


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    "members",
    [
        [_member("../outside")],
        [_member("/outside")],
        [_member("machine/link", tarfile.SYMTYPE, "../../outside")],
        [_member("machine/link", tarfile.SYMTYPE, "/etc/hostname")],
        [_member("machine/link", tarfile.LNKTYPE, "../outside")],
        [_member("up", tarfile.SYMTYPE, "."), _member("up/further", tarfile.SYMTYPE, "..")],
        [_member("machine/pipe", tarfile.FIFOTYPE)],
        [_member("machine/device", tarfile.CHRTYPE)],
    ],
    ids=lambda members: members[-1].name + members[-1].linkname,
)
@pytest.mark.parametrize("filtered", [True, False], ids=["with Python's filter", "without"])
def test_no_member_of_an_archive_leads_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[tarfile.TarInfo], filtered: bool
) -> None:
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    archive, inside = tmp_path / "bad.tar", tmp_path / "inside"
    with tarfile.open(archive, "w") as packed:
        for member in members:
            packed.addfile(member)
    inside.mkdir()
    with tarfile.open(archive) as packed, pytest.raises(tarfile.TarError):
        unpack(packed, inside)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar", "inside"]
