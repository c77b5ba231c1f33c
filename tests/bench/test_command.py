"""`planner bench` as a person types it: output, exit codes, and where a calibration goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import planner
from planner.cli.app import build
from planner.hardware.calibrations import load_calibrations
from planner.hardware.files import hardware_json
from planner.hardware.findings import Findings
from tests.bench.server import Script, serving
from tests.bench.test_bench import llama_script

SHORT = ("--concurrency", "1,2", "--prompt", "60", "--output", "5", "--rounds", "1")


def run(script: Script, *arguments: str) -> Result:
    with serving(script):
        runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"})
        return runner.invoke(build(), ["bench", script.url, *SHORT, *arguments])


@pytest.fixture
def hardware_file(tmp_path: Path) -> Path:
    machine = planner.what_if(cores=8, ram="32GiB", ram_bandwidth="40GB/s")
    file = tmp_path / "machine.json"
    file.write_bytes(hardware_json(machine))
    return file


def test_the_screen_names_model_server_and_verdict(hardware_file: Path) -> None:
    result = run(llama_script(), "--hardware", str(hardware_file))
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    for word in ("qwen3-0.6b Q8_0 on llama-server b11669-abc", "tok/s", "80 % range", "own figures"):
        assert word in result.stdout
    assert "1 user ..." in result.stderr
    assert not planner.load_hardware(hardware_file).calibration


def test_json_holds_no_address(hardware_file: Path) -> None:
    result = run(llama_script(), "--hardware", str(hardware_file), "--json")
    document = json.loads(result.stdout)
    assert document["format_version"] == "1.0"
    assert document["bench"]["model"] == "qwen3-0.6b"
    assert [level["concurrency"] for level in document["bench"]["levels"]] == [1, 2]
    assert "127.0.0.1" not in result.stdout


def test_save_goes_into_the_hardware_file_once(hardware_file: Path, own_folders: Path) -> None:
    for _ in range(2):
        result = run(llama_script(), "--hardware", str(hardware_file), "--save")
        assert result.exit_code == 0, result.stderr
    machine = planner.load_hardware(hardware_file)
    (row,) = machine.calibration
    assert (row.engine, row.model, row.quant) == ("llama.cpp-cpu", "qwen3-0.6b", "Q8_0")
    assert machine.sources["calibration.0"].source == "calibrated"
    assert not (own_folders / "state" / "planner" / "calibrations").exists()
    speed = planner.estimate("qwen3-0.6b", "Q8_0", machine)
    assert any("calibrated on this machine" in source for source in speed.sources)


def test_save_without_a_file_is_what_probe_reads(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = planner.what_if(cores=8, ram="32GiB", ram_bandwidth="40GB/s")
    monkeypatch.setattr("planner.cli.progress.probe_with_progress", lambda *_: machine)
    result = run(llama_script(), "--save")
    assert result.exit_code == 0, result.stderr
    findings = Findings()
    (row,) = load_calibrations(own_folders / "state" / "planner", findings)
    assert not findings.notes
    assert (row.engine, row.placement_class, row.model, row.quant) == ("llama.cpp-cpu", "cpu", "qwen3-0.6b", "Q8_0")
    assert (row.build, row.rows) == ("b11669-abc", 1)


def test_exit_codes(hardware_file: Path) -> None:
    assert run(Script(), "--save", "--hardware", str(hardware_file)).exit_code == 1
    assert run(Script(key="k")).exit_code == 1
    assert run(Script(), "--concurrency", "one").exit_code == 2
    assert run(Script(), "--quant", "Q9").exit_code == 1
    assert run(Script(), "--server", "llama").exit_code == 1
    assert run(Script(), "--hardware", "/nowhere.json").exit_code == 1
