"""Weights, caches, states and work buffers against the real llama-server's own projection, for catalog models.

The server is stopped at "projected to use": nothing is loaded. Six runtimes per model vary file type, context, slots,
cache type, micro-batch and flash attention.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from planner.catalog.load import load_catalog
from planner.catalog.records.model import Model
from planner.errors import PlannerError
from planner.sizing.footprint import size_model
from planner.sizing.graph_shape import GraphShape, graph_shape
from planner.sizing.quantize import quantize
from planner.sizing.records import KvType, Runtime
from planner.sizing.tensors import expand
from tests.real.gguf_header import readable, write_header
from tests.sizing.measured import LLAMA, a_quant

pytestmark = pytest.mark.tools

MIB = 1024**2
RUNTIMES = (
    ("Q4_K_M", Runtime(context_tokens=4096)),
    ("Q4_K_M", Runtime(context_tokens=32768, kv_type=KvType(k="q8_0", v="q8_0"))),
    ("Q4_K_M", Runtime(context_tokens=16384, ubatch=128)),
    ("Q4_K_M", Runtime(context_tokens=8192, flash_attention=False)),
    ("Q4_K_M", Runtime(context_tokens=16384, parallel=2, ubatch=256, flash_attention=False)),
    ("Q8_0", Runtime(context_tokens=8192, parallel=4)),
)
MODELS = [model for model in load_catalog().models.values() if readable(model)]
SIZES = {
    "kv": re.compile(r"kv_cache\w*: size = +([\d.]+) MiB"),
    "state": re.compile(r"recurrent: size = +([\d.]+) MiB"),
    "compute": re.compile(r"compute buffer size = +([\d.]+) MiB"),
    "total": re.compile(r"projected to use (\d+) MiB"),
}


class Projection(NamedTuple):
    """MiB as the server logs them; `total` is cut to whole MiB."""

    kv: float
    state: float
    compute: float
    total: float


def project(header: Path, runtime: Runtime) -> Projection:
    """Start the server, read its log up to the projection, stop it."""
    tool = shutil.which("llama-server")
    assert tool, "llama-server is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    slots, kv = runtime.parallel, runtime.kv_type
    words = f"--fit on -lv 5 --no-repack -c {runtime.context_tokens * slots} -np {slots} -ub {runtime.ubatch}"
    words += f" -ctk {kv.k} -ctv {kv.v} -fa {'on' if runtime.flash_attention else 'off'} --port 18997"
    command = ["timeout", "-s", "KILL", "30", tool, *words.split(), "-m", str(header)]
    found = dict.fromkeys(SIZES, 0.0)
    log: list[str] = []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert process.stdout is not None
    for line in process.stdout:
        log = [*log[-3:], line]
        for name, pattern in SIZES.items():
            if match := pattern.search(line):
                found[name] += float(match[1])
        if found["total"] or "error loading model" in line:
            break
    process.terminate()
    process.stdout.close()
    process.wait()
    assert found["total"], "".join(log)
    return Projection(**found)


def bound(shape: GraphShape, runtime: Runtime) -> float:
    """The relative error that a work buffer may have."""
    if not runtime.flash_attention:
        return 0.10
    if shape.recurrent != "none":
        return 0.15
    return 0.05 if shape.latent else 0.03


def combinations(model: Model) -> list[tuple[str, Runtime]]:
    """The runtimes that planner does not refuse for this model."""
    fine = []
    for file_type, runtime in RUNTIMES:
        try:
            size_model(expand(model), a_quant(file_type), runtime, LLAMA, server="llama.cpp")
        except PlannerError:
            continue
        fine.append((file_type, runtime))
    return fine


def test_enough_combinations() -> None:
    assert sum(len(combinations(model)) for model in MODELS) >= 1200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_projection_is_the_engines(model: Model, tmp_path: Path) -> None:
    expanded = expand(model)
    shape = graph_shape(expanded)
    headers: dict[str, Path] = {}
    for file_type, runtime in combinations(model):
        if file_type not in headers:
            headers[file_type] = write_header(model, tmp_path / f"{file_type}.gguf", file_type)
        engine = project(headers[file_type], runtime)
        ours = size_model(expanded, a_quant(file_type), runtime, LLAMA, server="llama.cpp")
        where = f"{file_type} {runtime}"
        # The log prints hundredths of a MiB per cache, keys and values added before rounding.
        assert ours.kv_cache_bytes / MIB == pytest.approx(engine.kv, abs=0.0101), where
        assert ours.state_bytes / MIB == pytest.approx(engine.state, abs=0.0101), where
        compute = pytest.approx(engine.compute, abs=1.0, rel=bound(shape, runtime))
        assert ours.compute_bytes / MIB == compute, where
        weights = engine.total - engine.kv - engine.state - engine.compute
        loaded = ours.weights_bytes
        if model.architecture is not None and model.architecture.gguf in {"gemma3n", "gemma4"}:
            # The projection counts the tied embedding of these families a second time, as output.
            loaded += quantize(expanded, a_quant(file_type)).tied_bytes
        assert -0.03 <= loaded / MIB - weights < 1.03, where
