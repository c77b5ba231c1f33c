"""Paired whole-process ratios against stored bounds; a busy machine disturbs both sides of a pair alike.

python tools/bench.py               all pairs whose tools are here, five rounds
python tools/bench.py --rounds 9
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

PYTHON = sys.executable
VERSION_RATIO = 1.5


def version(rounds: int) -> bool:
    """`--version` beside bare Python, A B A B ... after one warm-up of each; True when inside the bound."""
    from tools.timed import run

    ours, bare = [PYTHON, "-m", "planner", "--version"], [PYTHON, "-c", "pass"]
    run(ours), run(bare)
    ratios = []
    for _ in range(rounds):
        (our_wall, our_cpu), (bare_wall, bare_cpu) = run(ours), run(bare)
        ratios.append((our_wall / bare_wall, our_cpu / bare_cpu))
    wall, cpu = (statistics.median(values) for values in zip(*ratios, strict=True))
    print(f"--version / bare python: wall ratio {wall:.2f} (bound {VERSION_RATIO}), CPU ratio {cpu:.2f}")
    return wall <= VERSION_RATIO


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tools.bench_probe import probe_cost, read_bandwidth
    from tools.bench_rates import estimates, footprints
    from tools.bench_recommend import measure as recommend_cost
    from tools.bench_router import added_to_first_token

    fine = footprints()
    fine &= estimates()
    fine &= version(rounds)
    fine &= recommend_cost(rounds)
    fine &= probe_cost(rounds)
    fine &= read_bandwidth(rounds)
    fine &= added_to_first_token(rounds)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
