"""Hardware files: canonical bytes, round trips, and errors that say file, key and what was expected."""

from __future__ import annotations

import json

import pytest

from planner.errors import ProbeError
from planner.hardware.files import hardware_json, load_hardware
from planner.hardware.probe import probe
from planner.hardware.what_if import what_if
from tests.hardware.conftest import SMALL_MACHINE


@pytest.fixture
def saved(build, tmp_path):
    def save(**changes):
        document = json.loads(hardware_json(probe(build(SMALL_MACHINE))))
        document.update(changes)
        file = tmp_path / "machine.json"
        file.write_text(json.dumps(document))
        return file

    return save


def test_round_trip_is_exact(build, tmp_path, devices):
    for hardware in (probe(build(SMALL_MACHINE)), what_if(devices, gpus=["RTX 3090:2"], ram="128GiB", numa_nodes=2)):
        file = tmp_path / "machine.json"
        file.write_bytes(hardware_json(hardware))
        again = load_hardware(file)
        assert again == hardware
        assert hardware_json(again) == hardware_json(hardware)
        assert file.read_bytes().endswith(b"}\n")


def test_another_major_version_is_refused(saved):
    with pytest.raises(ProbeError, match=r"machine\.json: \$\.format_version: 2\.0 is another format"):
        load_hardware(saved(format_version="2.0"))


@pytest.mark.parametrize("version", [None, 1, "x", "1"])
def test_a_missing_version_is_said(saved, version):
    with pytest.raises(ProbeError, match="format_version"):
        load_hardware(saved(format_version=version))


def test_a_newer_minor_version_is_read_with_a_note(saved):
    file = saved(format_version="1.7", quantum_cores=3, cpu={"model": "X", "hyper": [1], "core_types": []})
    hardware = load_hardware(file)
    assert hardware.cpu.model == "X"
    assert "newer planner (format 1.7); left out: hyper, quantum_cores" in hardware.notes[-1]


def test_unknown_keys_of_the_same_version_are_refused(saved):
    with pytest.raises(ProbeError, match=r"unknown key 'gpu', did you mean gpus"):
        load_hardware(saved(gpu=[]))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"cpu": {"cores": "eight"}}, r"\$\.cpu\.cores: expected `int \| null`, got `str`"),
        ({"numa_nodes": [{"id": 0, "kind": "tape"}]}, r"\$\.numa_nodes\[0\]\.kind: invalid enum value 'tape'"),
        ({"gpus": [{"vendor": "amd", "name": "x"}]}, r"missing required field `backend`"),
        ({"gpus": {}}, r"\$\.gpus: expected `array`"),
    ],
)
def test_a_wrong_value_names_its_key(saved, change, place):
    with pytest.raises(ProbeError, match=place):
        load_hardware(saved(**change))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'"x"', b"{", b"\xff\xfe", b"[" * 100000])
def test_no_hardware_file(tmp_path, content):
    file = tmp_path / "machine.json"
    file.write_bytes(content)
    with pytest.raises(ProbeError, match=r"machine\.json"):
        load_hardware(file)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ProbeError, match="No such file"):
        load_hardware(tmp_path / "absent.json")
    with pytest.raises(ProbeError):
        load_hardware(tmp_path)
