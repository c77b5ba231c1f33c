"""From the catalog to bytes: rounded sizes of published files, and every model under many quants."""

from __future__ import annotations

import pytest

from planner.catalog.load import load_catalog
from planner.sizing.footprint import size_model
from planner.sizing.quantize import quantize
from planner.sizing.records import Allocation, Runtime
from planner.sizing.tensors import expand

GIB = 1024**3


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
