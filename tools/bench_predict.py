"""Prediction against the real llama-bench on this machine, for ten random-weight models; then the same after one
`planner bench --save` against the real llama-server.

python tools/bench_predict.py               all ten, about five minutes and 4 GB of disk
python tools/bench_predict.py --models 3    the three smallest

The machine must be otherwise idle: two programs on one core wait for each other at every layer.
llama-bench and llama-server must be on PATH (tools/real_tools.py obtains them).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1]))

import planner
from planner.bench.keep import keep_here
from planner.bench.records import Bench
from planner.bench.run import Questions, bench
from planner.catalog.records import Model
from planner.hardware.facts import Hardware
from planner.speed.records import Range
from planner.units import format_gb_per_s
from tools.random_model import Shape, write_random_model
from tools.serving import llama_server

LEAST_INSIDE, OF = 7, 10
MOST_MEDIAN_ERROR = 0.10
SHALLOW, DEEP = 128, 1024  # prompt tokens
ANSWER_TOKENS = 32
ROUNDS = 5  # the median of so many answers counts


@dataclass(frozen=True)
class Case:
    """A model to serve, and how many tokens lie before its answer."""

    name: str
    shape: Shape
    quant: str
    prompt_tokens: int

    @property
    def file(self) -> str:
        """The name tells `planner bench` the quant."""
        return f"{self.name}-{self.quant}.gguf"


def _dense(layers: int, width: int, ffn: int, kv_heads: int = 4) -> Shape:
    return Shape(layers=layers, width=width, ffn=ffn, heads=width // 64, kv_heads=kv_heads)


def _moe(layers: int, width: int, ffn: int, experts: int, active: int) -> Shape:
    return Shape(
        layers=layers,
        width=width,
        ffn=ffn,
        heads=width // 64,
        kv_heads=4,
        experts=experts,
        active_experts=active,
    )


# 50 MB to 4 GB; shapes in the proportions of small published models
CASES = (
    Case("dense-48m", _dense(14, 512, 1408), "Q8_0", SHALLOW),
    Case("dense-150m", _dense(12, 1024, 2816), "Q4_K_M", DEEP),
    Case("dense-100m", _dense(14, 768, 2048), "F16", DEEP),
    Case("moe-300m", _moe(14, 768, 256, 32, 4), "Q8_0", DEEP),
    Case("dense-700m", _dense(28, 1536, 4096), "Q4_K_M", DEEP),
    Case("dense-700m", _dense(28, 1536, 4096), "Q8_0", SHALLOW),
    Case("moe-1700m", _moe(16, 1024, 512, 64, 8), "Q4_K_M", SHALLOW),
    Case("dense-700m", _dense(28, 1536, 4096), "F16", SHALLOW),
    Case("dense-2b", _dense(44, 2048, 5632), "Q8_0", SHALLOW),
    Case("moe-6b", _moe(21, 2048, 768, 64, 8), "Q4_K_M", SHALLOW),
)
SAVED = 7  # the model whose measurement is kept: its tokens are long against what a server does around them


@dataclass(frozen=True)
class Result:
    """What was measured of a case, and what was said before."""

    case: Case
    model: Model
    size_bytes: int
    tokens_per_s: float
    spread: float
    predicted: Range

    @property
    def depth_tokens(self) -> int:
        """Where the mean of the answer lies."""
        return self.case.prompt_tokens + ANSWER_TOKENS // 2

    @property
    def inside(self) -> bool:
        """Whether the range held."""
        return self.predicted.low <= self.tokens_per_s <= self.predicted.high

    def error(self, hardware: Hardware) -> float:
        """Predicted over measured decode rate less 1, of a machine that may have learned."""
        return predict(self.model, self.case.quant, hardware, self.depth_tokens).expected / self.tokens_per_s - 1


def predict(model: Model, quant: str, hardware: Hardware, depth: int) -> Range:
    """The decode rate at a depth."""
    rate = planner.estimate(model, quant, hardware, context=2048, depth=depth).decode_tokens_per_s
    assert rate is not None, "the bandwidth of this machine is unknown"
    return rate


def measured(case: Case, path: Path, hardware: Hardware) -> Result:
    """The rate of llama-bench, and the prediction for the same depth."""
    depth = case.prompt_tokens + ANSWER_TOKENS // 2
    sizes = ["-p", "0", "-n", str(ANSWER_TOKENS), "-d", str(case.prompt_tokens), "-r", str(ROUNDS)]
    command = ["llama-bench", "-m", str(path), "-ngl", "0", *sizes, "-o", "json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    samples = json.loads(output[output.index("[") :])[0]["samples_ts"]
    model = planner.read_model(path)
    return Result(
        case=case,
        model=model,
        size_bytes=path.stat().st_size,
        tokens_per_s=statistics.median(samples),
        spread=max(samples) / min(samples),
        predicted=predict(model, case.quant, hardware, depth),
    )


def saved_measurement(case: Case, path: Path, hardware: Hardware, state: Path) -> Bench:
    """What `planner bench URL --save` does, against a real server; the calibration goes to the state folder."""
    with llama_server(path, "-c", str(case.prompt_tokens + 512), "-np", "1") as server:
        questions = Questions(concurrency=(1,), prompt_tokens=case.prompt_tokens, output_tokens=ANSWER_TOKENS)
        report = bench(server.url, planner.load_catalog(), questions, hardware=hardware, for_calibration=True)
    assert report.calibration is not None
    keep_here(report.calibration, state)
    return report


def show(result: Result) -> None:
    """One row."""
    case, predicted = result.case, result.predicted
    print(
        f"{case.name:11} {case.quant:7} {result.size_bytes / 1e6:5.0f} MB at {result.depth_tokens:4} tokens:"
        f" measured {result.tokens_per_s:6.1f} tok/s (spread {result.spread:.2f}),"
        f" predicted {predicted.expected:6.1f} ({predicted.low:.1f} to {predicted.high:.1f}),"
        f" {'inside' if result.inside else 'OUTSIDE'}",
        flush=True,
    )


def main() -> int:
    """Measure, compare, keep one measurement, compare again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=len(CASES), help="only so many, the smallest first")
    count = max(2, min(parser.parse_args().models, len(CASES)))
    missing = [tool for tool in ("llama-server", "llama-bench") if shutil.which(tool) is None]
    if missing:
        print(f"{' and '.join(missing)} not on PATH: python tools/real_tools.py")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        hardware = planner.probe(state_dir=state)
        rate = format_gb_per_s(hardware.ram_bandwidth_bytes_per_s)
        print(f"{hardware.cpu.model}, {hardware.cpu.cores} cores: {' '.join(hardware.cpu.isa)}; RAM {rate}", flush=True)
        return compare(CASES[:count], Path(folder), hardware, state)


def compare(cases: tuple[Case, ...], folder: Path, hardware: Hardware, state: Path) -> int:
    """Every case in turn; the model to be kept is served as well. 0 when both bounds hold."""
    results, saved = [], min(SAVED, len(cases) - 1)
    for number, case in enumerate(cases):
        path = write_random_model(folder / case.file, case.shape, case.quant)
        results.append(measured(case, path, hardware))
        show(results[-1])
        if number == saved:
            report = saved_measurement(case, path, hardware, state)
        path.unlink()
    rate = report.levels[0].decode_tokens_per_s or 0.0
    print(f"planner bench --save, {cases[saved].name} {cases[saved].quant}: {rate:.1f} tok/s", *report.notes, sep="; ")
    learned = replace(hardware, calibration=planner.probe(measure_bandwidth=False, state_dir=state).calibration)
    return judge(results, results[saved], hardware, learned)


def judge(results: list[Result], saved: Result, hardware: Hardware, learned: Hardware) -> int:
    """How many lie inside their range, and the error of the others after one measurement was kept."""
    inside = sum(result.inside for result in results)
    others = [result for result in results if result is not saved]
    before, after = ([result.error(machine) for result in others] for machine in (hardware, learned))
    median = statistics.median(map(abs, after))
    print(f"inside the range: {inside} of {len(results)} (bound {LEAST_INSIDE} of {OF})")
    print(
        f"median error of the others: {statistics.median(map(abs, before)):.1%} before,"
        f" {median:.1%} after (bound {MOST_MEDIAN_ERROR:.0%}):",
        ", ".join(
            f"{result.case.name} {result.case.quant} {error:+.1%}" for result, error in zip(others, after, strict=True)
        ),
    )
    return 0 if inside * OF >= LEAST_INSIDE * len(results) and median < MOST_MEDIAN_ERROR else 1


if __name__ == "__main__":
    sys.exit(main())
