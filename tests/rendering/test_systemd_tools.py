"""systemd's own opinion of the rendered units."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from planner.rendering import RenderOptions, lay_out
from planner.rendering.write import write_bundle
from tests.rendering import plans

PROGRAMS = (
    "usr/bin/numactl",
    "bin/sh",
    "usr/local/bin/llama-server",
    "usr/local/bin/ollama",
    "opt/planner/venv/bin/vllm",
    "opt/planner/router-venv/bin/uvicorn",
)

CASES = [(case, style) for case in plans.CASES if case != "mac" for style in ("numactl", "directives")]


def staged(tmp_path: Path, case: str, style: str) -> Path:
    """A root with the units where they are installed and stand-ins where the programs are."""
    plan, units = plans.CASES[case]()
    for name in PROGRAMS:
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()
        program.chmod(0o755)
    folder = tmp_path / "etc" / "systemd" / "system"
    write_bundle(lay_out(plan, units, "systemd", RenderOptions(numa_style=style)), folder)
    return folder


@pytest.mark.tools
@pytest.mark.parametrize(("case", "style"), CASES)
def test_units_verify_without_a_word(tmp_path: Path, case: str, style: str) -> None:
    for path in sorted(staged(tmp_path, case, style).glob("planner-*.service")):
        name = path.name.replace("@", "@1")
        command = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=no", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), name


@pytest.mark.tools
@pytest.mark.parametrize(("case", "style"), CASES)
def test_units_are_hardly_exposed(tmp_path: Path, case: str, style: str) -> None:
    for path in sorted(staged(tmp_path, case, style).glob("planner-*.service")):
        # 10 is the worst; a unit with GPU devices cannot reach what a CPU unit does.
        threshold = 30 if "DeviceAllow=" in path.read_text() else 20
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={threshold}", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.tools
def test_a_slice_verifies(tmp_path: Path) -> None:
    plan, units = plans.cpu()
    folder = tmp_path / "etc" / "systemd" / "system"
    bundle = lay_out(plan, units, "compose")
    folder.mkdir(parents=True)
    (folder / "planner-numa0.slice").write_text(bundle["slices/planner-numa0.slice"])
    command = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", "planner-numa0.slice"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
