"""From the catalog to bytes: published GGUF and MLX files of catalog models, with nothing measured in between."""

from __future__ import annotations

import pytest

from planner.catalog.load import load_catalog
from planner.sizing.footprint import size_model
from planner.sizing.quantize import quantize
from planner.sizing.records import Allocation, Runtime
from planner.sizing.tensors import expand
from tests.sizing.measured import rows

GIB = 1024**3


@pytest.mark.parametrize(
    ("name", "quant", "recipe", "size"),
    [
        ("gpt-oss-20b", "MXFP4_MOE", "ggml-org", 12_109_566_624),
        ("llama-3.1-8b", "IQ2_M", "bartowski", 2_948_285_856),
        ("llama-3.1-8b", "Q4_K_M", None, 4_920_739_232),
        ("qwen3-8b", "Q4_K_M", None, 5_027_783_488),
        ("qwen2.5-7b", "Q8_0", None, 8_098_525_408),
        ("qwen3-0.6b", "Q8_0", "unsloth", 639_447_744),
        ("qwen3-30b-a3b", "Q4_K_M", "unsloth", 18_556_686_912),
        ("qwen3.5-27b", "Q8_0", "unsloth", 28_595_763_104),
        ("qwen3.5-35b-a3b", "Q8_0", "unsloth", 36_903_139_968),
    ],
)
def test_published_gguf_files(name: str, quant: str, recipe: str | None, size: int) -> None:
    """Sizes in bytes from tests/data/gguf_sizes.csv."""
    assert str(size) in {row["size"] for row in rows("gguf_sizes.csv")}
    catalog = load_catalog()
    quantized = quantize(expand(catalog.model(name)), catalog.quant(quant, format="gguf"), recipe=recipe)
    assert abs(quantized.file_bytes - size) < 20_000


@pytest.mark.parametrize(
    ("name", "quant", "gib"),
    [
        ("granite-4.0-h-small", "Q4_K_M", 18.14),
        ("llama-3.3-70b", "Q4_K_M", 39.59),
        ("phi-4", "Q4_K_M", 8.43),
        ("qwq-32b", "Q4_K_M", 18.48),
        ("glm-4.5-air", "Q8_0", 109.381),
    ],
)
def test_published_sizes_in_gib(name: str, quant: str, gib: float) -> None:
    """Docker's catalog and a model card, rounded to their last digit."""
    catalog = load_catalog()
    quantized = quantize(expand(catalog.model(name)), catalog.quant(quant, format="gguf"))
    assert quantized.file_bytes / GIB == pytest.approx(gib, abs=0.012)


@pytest.mark.parametrize("name", ["deepseek-v3.2", "glm-4.7", "minimax-m2.7", "qwen3.5-397b-a17b"])
def test_published_mlx_files(name: str) -> None:
    """Four-bit conversions of mlx-community whose exact bytes are published."""
    catalog = load_catalog()
    model = catalog.model(name)
    published = model.artifacts.mlx_4bit
    assert published is not None
    assert published.file_bytes is not None
    quantized = quantize(expand(model), catalog.quant("MLX-4bit", format="mlx"))
    assert quantized.file_bytes == pytest.approx(published.file_bytes, rel=0.001)


def test_every_model_and_quant_has_a_consistent_footprint() -> None:
    """Parts sum to the total, and what is read agrees with the parameters read (16 bit, no routers in F32)."""
    catalog = load_catalog()
    policies = {"gguf": "llama.cpp", "hf": "vllm", "mlx": "mlx"}
    for model in catalog.models.values():
        if model.kind == "image":
            continue
        expanded = expand(model)
        for quant in list(catalog.quants.values())[::7]:
            policy = policies[quant.format]
            allocation = Allocation(policy=policy, buffers=policy)  # type: ignore[arg-type]
            footprint = size_model(expanded, quant, Runtime(context_tokens=8192), allocation, server="any")
            assert sum(part.bytes for part in footprint.parts) == footprint.total_bytes, (model.id, quant.id)
            assert 0 < footprint.read_bytes_per_token <= footprint.weights_bytes, (model.id, quant.id)
