"""Bundles held against their plans: `--check` for every example, after every kind of edit, and as docs/ci.md says."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

import planner
from planner.cli.app import build
from planner.rendering.write import check_bundle
from tests.documents import ROOT, blocks

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/plan.json"))
TEAM = ROOT / "examples" / "2x-rtx-3090"


def check(folder: Path) -> Result:
    words = ["render", "all", "--plan", str(folder / "plan.json"), "--out", str(folder / "bundle"), "--check"]
    return CliRunner().invoke(build(), words)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    return shutil.copytree(TEAM, tmp_path / "team")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_as_rendered(example: Path) -> None:
    done = check(example)
    assert (done.exit_code, done.stdout) == (0, "")


def edited(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def other_mode(path: Path) -> None:
    path.chmod(path.stat().st_mode ^ 0o100)


EDITS: dict[str, Callable[[Path], None]] = {
    "different": edited,
    "missing": Path.unlink,
    "mode": other_mode,
}


@pytest.mark.parametrize("kind", EDITS)
def test_any_edit_is_exit_5(team: Path, kind: str) -> None:
    EDITS[kind](team / "bundle" / "launch" / "interactive.sh")
    done = check(team)
    assert (done.exit_code, done.stdout) == (5, f"{kind}: launch/interactive.sh\n")


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_of_any_file_is_seen(team: Path, kind: str) -> None:
    bundle = planner.render(planner.load_plan(team / "plan.json"), "all")
    for path in bundle:
        EDITS[kind](team / "bundle" / path)
    assert {str(found) for found in check_bundle(bundle, team / "bundle")} == {f"{kind}: {path}" for path in bundle}


def test_a_file_of_an_older_plan_is_stale_and_one_of_your_own_is_not(team: Path) -> None:
    for name in (".env", "secrets/api_key", "notes.md"):
        own = team / "bundle" / "compose" / name
        own.parent.mkdir(exist_ok=True)
        own.write_text("mine\n")
    assert check(team).exit_code == 0
    shutil.copy(ROOT / "examples" / "cpu-vm" / "plan.json", team / "plan.json")
    done = check(team)
    assert done.exit_code == 5
    assert "stale: launch/batch.sh" in done.stdout
    assert "notes.md" not in done.stdout


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command as a person types it, with `planner` as the module of this tree."""
    function = f'planner() {{ {shlex.quote(sys.executable)} -m planner "$@"; }}\n'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["sh", "-c", function + command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_commands_of_the_document_do_what_it_says(team: Path) -> None:
    plain, mapped = blocks("ci.md", "run")
    for status, command in (plain, mapped):
        assert shell(command, team).returncode == int(status)
    edited(team / "bundle" / "compose" / "compose.yaml")
    assert shell(plain[1], team).returncode == 5
    assert shell(mapped[1], team).returncode == 2
    (team / "plan.json").unlink()
    assert shell(plain[1], team).returncode == 1
    assert shell(mapped[1], team).returncode == 1


def test_steps_of_the_workflow_pass(team: Path) -> None:
    workflow = dict(blocks("ci.md", "file"))[".github/workflows/planner.yml"]
    steps = yaml.safe_load(workflow)["jobs"]["bundle"]["steps"]
    commands = [step["run"] for step in steps if step.get("run", "").startswith("planner ")]
    assert len(commands) == 2
    for command in commands:
        done = shell(command, team)
        assert done.returncode == 0, done.stdout + done.stderr
