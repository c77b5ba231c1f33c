"""The programs that judge rendered files: Docker Compose, systemd's verifier and rating, podman's generator,
kubernetes-validate and Kustomize."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Subject = TypeVar("Subject")
Verdict = TypeVar("Verdict")

# The version whose schemas judge manifests.
KUBERNETES = "1.34"
# Tenths of systemd's own scale, on which a unit without any setting has 96.
CPU_EXPOSURE, GPU_EXPOSURE = 20, 30
UNIT_SUFFIXES = {".service", ".slice", ".timer", ".conf"}


def both_cores(judge: Callable[[Subject], Verdict], subjects: Sequence[Subject]) -> dict[Subject, Verdict]:
    """The verdict on each subject, two programs at a time: the machines that run these tests have two cores."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(subjects, pool.map(judge, subjects), strict=True))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The finished command, its output as text, whatever its status."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def compose_objections(bundle: Path, *profile: str) -> str:
    """What Docker Compose says against a fresh bundle; empty when it takes it without a word."""
    tool = shutil.which("docker-compose")
    assert tool, "docker-compose is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    files = ("-f", bundle / "compose.yaml", "--env-file", bundle / ".env.example")
    return _objections(run(tool, *files, *profile, "config", "-q"))


def verifier_objections(root: Path, *units: str) -> str:
    """What systemd's verifier says against units of a staged root; empty when it takes them without a word."""
    return _objections(run("systemd-analyze", "verify", f"--root={root}", "--man=no", "--recursive-errors=no", *units))


def is_exposed(unit: Path) -> bool:
    """Whether systemd rates a unit as more exposed than it has to be: a GPU takes devices and a compiler."""
    threshold = GPU_EXPOSURE if "DeviceAllow=" in unit.read_text() else CPU_EXPOSURE
    rated = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={threshold}", unit)
    return rated.returncode != 0


def manifest_objections(*files: Path) -> str:
    """What kubernetes-validate says against manifests in its strict mode; empty when it takes them without a word."""
    tool = shutil.which("kubernetes-validate")
    assert tool, "kubernetes-validate is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    done = run(tool, "--strict", "--quiet", "-k", KUBERNETES, *files)
    return done.stdout + _objections(done)


def kustomized(bundle: Path) -> str:
    """The manifests that `kubectl apply -k` would send; kubectl must not complain."""
    tool = shutil.which("kubectl")
    assert tool, "kubectl is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    done = run(tool, "kustomize", bundle)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def quadlet_objections(folder: Path) -> str:
    """What podman's generator says against a folder of Quadlets; empty when it takes them without a word."""
    done = _quadlet(folder)
    said = (line for line in done.stderr.splitlines() if line and "Loading source unit file" not in line)
    return "\n".join(said) or (f"exit status {done.returncode}" if done.returncode else "")


def quadlet_units(folder: Path) -> dict[str, str]:
    """The units that podman's generator makes of a folder of Quadlets, by name; it must not complain."""
    assert quadlet_objections(folder) == ""
    parts = _quadlet(folder).stdout.split("\n---")
    units = {part.split("---\n", 1)[0].lstrip("-"): part.split("---\n", 1)[1] for part in parts if "---\n" in part}
    assert units
    return units


def _quadlet(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("quadlet")
    assert tool, "quadlet is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    environment = os.environ | {"QUADLET_UNIT_DIRS": str(folder)}
    return subprocess.run([tool, "-dryrun"], env=environment, capture_output=True, text=True, check=False)


def _objections(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr or (f"exit status {done.returncode}" if done.returncode else "")


def stage(folder: Path, root: Path, programs: Iterable[str]) -> Path:
    """A root that holds the folder's unit files, and a stub for each program by its path without the first slash."""
    units = root / "etc/systemd/system"
    for unit in folder.rglob("*"):
        if unit.suffix in UNIT_SUFFIXES and unit.is_file():
            target = units / unit.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(unit, target)
    for program in programs:
        stub = root / program
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("#!/bin/sh\n")
        stub.chmod(0o755)
    return root


def started(folder: Path) -> set[str]:
    """The programs behind `Exec…=` of the folder's services, without the first slash."""
    found = set()
    for unit in folder.rglob("*.service"):
        for line in unit.read_text().splitlines():
            if line.startswith("Exec") and "=" in line:
                word = line.split("=", 1)[1].split()[0].strip('"').lstrip("-+!:@")
                found.add(word.lstrip("/"))
    return found
