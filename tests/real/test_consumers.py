"""Every rendered example passes its real consumer: Docker Compose itself, systemd's verifier and sandbox rating."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.tools

EXAMPLES = Path(__file__).parents[2] / "examples"
COMPOSE = sorted(EXAMPLES.glob("*/bundle/compose"))
SYSTEMD = sorted(EXAMPLES.glob("*/bundle/systemd"))
CPU_EXPOSURE, GPU_EXPOSURE = 20, 30
PROGRAMS = ("usr/bin/numactl", "usr/bin/python3", "usr/bin/llama-server", "usr/bin/ollama", "bin/sh", "usr/bin/env")


def name(path: Path) -> str:
    return path.parts[-3]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", COMPOSE, ids=name)
def test_docker_compose_accepts_a_fresh_bundle(folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(folder, bundle)
    compose = shutil.which("docker-compose")
    assert compose, "docker-compose is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    for profile in ((), ("--profile", "*")):
        done = run(
            compose, "-f", bundle / "compose.yaml", "--env-file", bundle / ".env.example", *profile, "config", "-q"
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A root folder that holds the units and a stub for each program that they start."""
    root = tmp_path / "root"
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    folder: Path = request.param
    for unit in folder.rglob("*"):
        if unit.suffix in {".service", ".slice", ".timer", ".conf"} and unit.is_file():
            target = units / unit.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(unit, target)
    for program in {*PROGRAMS, *started(units)}:
        stub = root / program
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("#!/bin/sh\n")
        stub.chmod(0o755)
    return root


def started(units: Path) -> set[str]:
    """The absolute programs behind `Exec…=`."""
    found = set()
    for unit in units.rglob("*.service"):
        for line in unit.read_text().splitlines():
            if line.startswith("Exec") and "=" in line:
                word = line.split("=", 1)[1].split()[0].strip('"').lstrip("-+!:@")
                found.add(word.lstrip("/"))
    return found


@pytest.mark.parametrize("stage", SYSTEMD, ids=name, indirect=True)
def test_systemd_verifies_every_unit_without_a_word(stage: Path) -> None:
    units = sorted((stage / "etc/systemd/system").glob("*.service"))
    assert units
    for unit in units:
        instance = unit.name.replace("@.service", "@0.service")
        done = run("systemd-analyze", "verify", f"--root={stage}", "--man=no", "--recursive-errors=no", instance)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


@pytest.mark.parametrize("folder", SYSTEMD, ids=name)
def test_every_unit_is_sandboxed(folder: Path) -> None:
    for unit in sorted(folder.glob("*.service")):
        exposure = GPU_EXPOSURE if "DeviceAllow=" in unit.read_text() else CPU_EXPOSURE
        done = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={exposure}", unit)
        assert done.returncode == 0, done.stdout[-400:]


def test_there_are_examples() -> None:
    assert len(COMPOSE) >= 4
    assert len(SYSTEMD) >= 4
