"""Every rendered example passes its real consumer: Docker Compose itself, systemd's verifier and sandbox rating, and
the linters of YAML, Dockerfiles and property lists."""

from __future__ import annotations

import plistlib
import shutil
from pathlib import Path

import pytest

from tests.real.judges import compose_objections, run, stage, started, verifier_objections

pytestmark = pytest.mark.tools

EXAMPLES = Path(__file__).parents[2] / "examples"
COMPOSE = sorted(EXAMPLES.glob("*/bundle/compose"))
SYSTEMD = sorted(EXAMPLES.glob("*/bundle/systemd"))
CPU_EXPOSURE, GPU_EXPOSURE = 20, 30
PROGRAMS = ("usr/bin/numactl", "usr/bin/python3", "usr/bin/llama-server", "usr/bin/ollama", "bin/sh", "usr/bin/env")


def name(path: Path) -> str:
    return path.parts[-3]


@pytest.mark.parametrize("folder", COMPOSE, ids=name)
def test_docker_compose_accepts_a_fresh_bundle(folder: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(folder, tmp_path / "bundle")
    for profile in ((), ("--profile", "*")):
        assert compose_objections(bundle, *profile) == ""


@pytest.mark.parametrize("folder", SYSTEMD, ids=name)
def test_systemd_verifies_every_unit_without_a_word(folder: Path, tmp_path: Path) -> None:
    root = stage(folder, tmp_path / "root", {*PROGRAMS, *started(folder)})
    units = sorted((root / "etc/systemd/system").glob("*.service"))
    assert units
    for unit in units:
        instance = unit.name.replace("@.service", "@0.service")
        assert verifier_objections(root, instance) == ""


@pytest.mark.parametrize("folder", SYSTEMD, ids=name)
def test_every_unit_is_sandboxed(folder: Path) -> None:
    for unit in sorted(folder.glob("*.service")):
        exposure = GPU_EXPOSURE if "DeviceAllow=" in unit.read_text() else CPU_EXPOSURE
        done = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={exposure}", unit)
        assert done.returncode == 0, done.stdout[-400:]


def rendered(pattern: str) -> list[Path]:
    found = sorted(EXAMPLES.glob(f"*/bundle/**/{pattern}"))
    assert found
    return found


def test_yamllint_passes_the_yaml_of_every_target() -> None:
    rules = "{extends: default, rules: {line-length: disable, document-start: disable}}"
    files = rendered("*.yaml")
    assert {path.relative_to(EXAMPLES).parts[2] for path in files} >= {"compose", "kubernetes"}
    done = run("yamllint", "--strict", "-d", rules, *files)
    assert done.returncode == 0, done.stdout


def test_hadolint_passes_every_dockerfile() -> None:
    done = run("hadolint", *rendered("Dockerfile"))
    assert done.returncode == 0, done.stdout


def test_property_lists_are_agents_of_their_own_name() -> None:
    for path in rendered("*.plist"):
        assert plistlib.loads(path.read_bytes())["Label"] == path.stem


def test_there_are_examples() -> None:
    assert len(COMPOSE) >= 4
    assert len(SYSTEMD) >= 4
