"""What `planner recommend` costs: beside llmfit, beside a bare Typer command, and as the catalog grows.

python tools/bench_recommend.py             five rounds
python tools/bench_recommend.py --rounds 9

Every run is a whole process on a saved machine of examples/, with bytecode and the parsed catalog cached, as from the
second start on. The grown catalogs hold every model several times under other names.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.timed import run

PYTHON = sys.executable
ROOT = Path(__file__).parents[1]
MACHINES = ("rtx-4090", "cpu-vm", "epyc-2-nodes", "m3-max")

LLMFIT_SHARE = 0.5
BEYOND_TYPER_CPU_S = 0.120
TEN_TIMES_S = 1.0
GROWTHS = (1, 3, 10)

BARE = """
import typer
app = typer.Typer()
@app.command()
def plan(name: str = "a") -> None:
    print("{}")
app()
"""


def recommend(machine: str) -> list[str]:
    """The command on one of the example machines."""
    file = str(ROOT / "examples" / machine / "hardware.json")
    return [PYTHON, "-m", "planner", "recommend", "--hardware", file, "--json"]


def beside_llmfit(rounds: int) -> bool:
    """Paired whole-process times; the median ratio of each machine."""
    other = shutil.which("llmfit", path=f"{Path(PYTHON).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if other is None:
        print("recommend / llmfit recommend: not measured, llmfit is not installed (pip install llmfit)")
        return True
    fine = True
    for machine in MACHINES:
        ratio = _ratio(recommend(machine), [other, "recommend", "--json"], rounds)
        print(f"recommend on {machine} / llmfit recommend: wall ratio {ratio:.2f} (bound {LLMFIT_SHARE})")
        fine &= ratio <= LLMFIT_SHARE
    return fine


def _ratio(ours: list[str], other: list[str], rounds: int) -> float:
    run(ours), run(other)
    return statistics.median(run(ours)[0] / run(other)[0] for _ in range(rounds))


def beyond_typer(rounds: int, folder: Path) -> bool:
    """CPU seconds beyond a bare Typer command, paired."""
    script = folder / "bare.py"
    script.write_text(BARE)
    bare, fine = [PYTHON, str(script)], True
    for machine in MACHINES:
        run(recommend(machine)), run(bare)
        beyond = statistics.median(run(recommend(machine))[1] - run(bare)[1] for _ in range(rounds))
        bound = BEYOND_TYPER_CPU_S
        print(
            f"recommend on {machine}: {beyond * 1e3:.0f} ms CPU beyond a bare Typer command (bound {bound * 1e3:.0f})"
        )
        fine &= beyond <= bound
    return fine


def growth(rounds: int, folder: Path) -> bool:
    """Whole-process seconds with the catalog's models once, three and ten times."""
    fine = True
    for times in GROWTHS:
        grown = grow(folder / str(times), times)
        run(recommend(MACHINES[0]), PLANNER_CATALOG=str(grown))
        seconds = statistics.median(run(recommend(MACHINES[0]), PLANNER_CATALOG=str(grown))[0] for _ in range(rounds))
        print(f"recommend with {times} x the models: {seconds * 1e3:.0f} ms (bound at 10 x: {TEN_TIMES_S * 1e3:.0f})")
        fine &= seconds <= TEN_TIMES_S
    return fine


def grow(folder: Path, times: int) -> Path:
    """A catalog folder with `times` - 1 more copies of every model."""
    import yaml

    (folder / "models").mkdir(parents=True)
    for file in sorted((ROOT / "catalog" / "models").glob("*.yaml")):
        document = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
        for copy in range(1, times):
            renamed = _renamed(document, f"-copy{copy}")
            (folder / "models" / f"{file.stem}-copy{copy}.yaml").write_text(yaml.safe_dump(renamed, sort_keys=False))
    return folder


def _renamed(document: dict[str, object], suffix: str) -> dict[str, object]:
    models = document["models"]
    assert isinstance(models, list)
    return document | {"models": [{**model, "id": model["id"] + suffix} for model in models]}


def measure(rounds: int) -> bool:
    """All three; True when every bound holds."""
    subprocess.run(recommend(MACHINES[0]), check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        results = [beside_llmfit(rounds), beyond_typer(rounds, Path(folder)), growth(rounds, Path(folder))]
    return all(results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    sys.exit(0 if measure(parser.parse_args().rounds) else 1)
