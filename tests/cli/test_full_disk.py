"""A disk without room and a place that cannot be written: one line, exit code 1, nothing half-written."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from planner.cli.output import write_file
from planner.errors import PlannerError

ROOT = Path(__file__).parents[2]
PLANS = {name: str(ROOT / "examples" / name / "plan.json") for name in ("cpu-vm", "2x-rtx-3090")}
# Larger than any file of the first bundle, smaller than the router of the second.
MOST_BYTES = 12_000

needs_full = pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="only Linux has a device that is full")


def planner(*arguments: str, most_bytes: int | None = None, stdout: int = subprocess.PIPE) -> tuple[int, str]:
    """Exit code and stderr of the command as a process of its own, which may write files up to a size."""

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    done = subprocess.run(
        [sys.executable, "-m", "planner", *arguments],
        cwd=ROOT,
        env=os.environ | {"PLANNER_CACHE": "off"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    return done.returncode, done.stderr


def error_of(said: str) -> str:
    """The only line that is an error: others say what a plan is for."""
    (found,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_that_does_not_fit_leaves_the_one_before_it_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    render = ("render", "compose", "--out", str(out), "--plan")
    assert planner(*render, PLANS["cpu-vm"], most_bytes=MOST_BYTES)[0] == 0
    before = tree(out)
    code, said = planner(*render, PLANS["2x-rtx-3090"], most_bytes=MOST_BYTES)
    assert (code, error_of(said)) == (1, f"error: cannot write to {out}: File too large")
    assert tree(out) == before
    assert not (out / "router").exists()


def test_a_first_bundle_that_does_not_fit_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    code, _ = planner("render", "all", "--plan", PLANS["2x-rtx-3090"], "--out", str(out), most_bytes=MOST_BYTES)
    assert code == 1
    assert list(tmp_path.iterdir()) == []


@needs_full
@pytest.mark.parametrize("command", [["render", "compose", "--plan", PLANS["cpu-vm"]], ["catalog", "list", "--json"]])
def test_an_output_without_room_is_one_line_and_no_bug(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        code, said = planner(*command, stdout=full.fileno())
    assert (code, error_of(said)) == (1, "error: cannot write the output: No space left on device")
    assert "Traceback" not in said


@needs_full
def test_a_device_is_written_to_and_never_replaced() -> None:
    with pytest.raises(PlannerError, match="No space left"):
        write_file(Path("/dev/full"), b"x")
    assert Path("/dev/full").is_char_device()


def test_a_saved_file_keeps_what_was_there_when_it_does_not_fit(tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    saved.write_text("mine\n")
    code, said = planner("recommend", "--gpu", "RTX 4090", "--ram", "64GiB", "--save", str(saved), most_bytes=1000)
    assert code == 1
    assert f"cannot write {saved}" in said
    assert tree(tmp_path) == {"plan.json": b"mine\n"}


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_file(tmp_path / "link.json", b"new")
    assert (tmp_path / "real.json").read_bytes() == b"new"
    assert (tmp_path / "link.json").is_symlink()
