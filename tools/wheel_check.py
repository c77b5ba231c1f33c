"""Build the wheel, install it beside nothing of the checkout, and compare plan and bundle byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MACHINE = ["--gpu", "RTX 4090", "--ram", "64GiB", "--ram-bandwidth", "80GB/s", "--cores", "16"]


def outputs(python: Path, folder: Path) -> dict[str, bytes]:
    """The plan and the whole bundle that this interpreter's planner makes, run away from the checkout."""
    folder.mkdir()
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
    planner = [str(python), "-m", "planner"]
    commands = (
        ["recommend", "--workload", "code", *MACHINE, "--save", "plan.json", "--json"],
        ["render", "all", "--plan", "plan.json", "--out", "bundle"],
    )
    for arguments in commands:
        subprocess.run([*planner, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    made = [folder / "plan.json", *sorted((folder / "bundle").rglob("*"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in made if path.is_file()}


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", work, ROOT], check=True, capture_output=True
        )
        wheel = next(work.glob("*.whl"))
        subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
        python = work / "venv" / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
        ours, theirs = outputs(Path(sys.executable), work / "checkout"), outputs(python, work / "wheel")
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    print("\n".join(f"differs: {name}" for name in different) or f"{len(ours)} files are the same")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
