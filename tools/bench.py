"""Paired whole-process ratios against stored bounds; a busy machine disturbs both sides of a pair alike.

python tools/bench.py               all pairs whose tools are here, five rounds
python tools/bench.py --rounds 9
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable


@dataclass(frozen=True)
class Pair:
    """Two commands; `bound` is the most that ours may take of the other's time. `other_tool` must be on PATH."""

    name: str
    ours: list[str]
    other: list[str]
    bound: float
    other_tool: str | None = None


def pairs(machine: str) -> list[Pair]:
    """The pairs, with their bounds."""
    recommend = [PYTHON, "-m", "planner", "recommend", "--hardware", machine, "--json"]
    llmfit = [str(Path(PYTHON).with_name("llmfit")), "recommend", "--json"]
    return [
        Pair("--version / bare python", [PYTHON, "-m", "planner", "--version"], [PYTHON, "-c", "pass"], 1.5),
        Pair("recommend on a saved machine / llmfit recommend", recommend, llmfit, 0.5, llmfit[0]),
    ]


def run(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exited {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def measure(pair: Pair, rounds: int) -> bool:
    """Run A B A B ... after one warm-up of each; print the median ratio; True when inside the bound."""
    run(pair.ours), run(pair.other)
    ratios = []
    for _ in range(rounds):
        (our_wall, our_cpu), (other_wall, other_cpu) = run(pair.ours), run(pair.other)
        ratios.append((our_wall / other_wall, our_cpu / other_cpu, our_cpu))
    wall, cpu, seconds = (statistics.median(values) for values in zip(*ratios, strict=True))
    fine = wall <= pair.bound
    print(
        f"{pair.name}: wall ratio {wall:.2f} (bound {pair.bound}), CPU ratio {cpu:.2f}, our CPU {seconds * 1e3:.0f} ms"
    )
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tools.bench_probe import probe_cost, read_bandwidth
    from tools.bench_rates import estimates, footprints

    fine = footprints()
    fine &= estimates()
    with tempfile.TemporaryDirectory() as folder:
        machine = str(Path(folder) / "machine.json")
        probe = [PYTHON, "-m", "planner", "probe", "--no-bandwidth", "--save", machine]
        subprocess.run(probe, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for pair in pairs(machine):
            if pair.other_tool and shutil.which(pair.other_tool) is None:
                print(f"{pair.name}: not measured, {Path(pair.other_tool).name} is not installed (pip install llmfit)")
                continue
            fine &= measure(pair, rounds)
    fine &= probe_cost(rounds)
    fine &= read_bandwidth(rounds)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
