"""Published MLX repositories: what a list states, what it means, and what we compute."""

from __future__ import annotations

import functools

from planner.catalog.load import load_catalog
from planner.sizing.quantize import quantize
from planner.sizing.tensors import expand
from tests.sizing.measured import a_quant, rows

# Within 0.2 %, and why not to the byte.
NEARLY = {
    "gemma-4": "projections of images and sound are packed too, here the towers are one lump",
    "qwen3.5": "the first conversions packed routers to 4 bit, later ones to 8",
    "qwen3-30b-a3b": "as the first conversions did",
    "minimax": "its routers are packed in groups of their own; the folder's other files",
    "kimi-k2-instruct": "4 MB of 578 GB, unexplained",
    "glm-5": "the routers' correction in 16 bit",
    "deepseek-v3-0324": "the routers' correction in 16 bit",
    "nvidia-nemotron": "the routers' correction in 16 bit",
}


@functools.cache
def deviation(model: str, quant: str, size: int) -> int:
    group = 32 if quant.endswith("-g32") else None
    return quantize(expand(load_catalog().model(model)), a_quant(quant, "mlx", group)).tensor_bytes - size


def test_every_repository_is_met_within_1_percent() -> None:
    """52 conversions of 2, 3, 4, 5, 6, 8 and 16 bit; 36 of them are the 4-bit one that the catalog names."""
    for row in rows("mlx_sizes.csv"):
        size = int(row["bytes"])
        assert abs(deviation(row["model"], row["quant"], size)) < 0.01 * size, row


def test_known_totals_are_met_to_the_byte_or_the_reason_is_named() -> None:
    exact = [row for row in rows("mlx_sizes.csv") if row["kind"] == "exact"]
    missed = [row for row in exact if deviation(row["model"], row["quant"], int(row["bytes"])) != 0]
    assert len(exact) - len(missed) >= 19
    for row in missed:
        assert any(row["model"].startswith(name) for name in NEARLY), row["model"]
        assert abs(deviation(row["model"], row["quant"], int(row["bytes"]))) < 0.002 * int(row["bytes"])


def test_stated_sizes_that_differ_are_explained() -> None:
    """36 four-bit repositories as one list states them: where we are more than 1 % away, the list's figure is another
    reading of the same size."""
    stated = [row for row in rows("mlx_sizes.csv") if row["quant"] in ("MLX-4bit", "MLX-mxfp4-q8")][:36]
    far = [row for row in stated if abs(int(row["stated_bytes"]) / int(row["bytes"]) - 1) > 0.01]
    assert (len(stated), len(far)) == (36, 17)
    assert all(row["reading"] for row in far)


def test_a_whole_number_of_gib_is_a_number_of_gb() -> None:
    """Arithmetic behind `typed as GiB` and `typed as MiB`: the same digits in the other unit, within half a step."""
    for row in rows("mlx_sizes.csv"):
        stated, actual = int(row["stated_bytes"]), int(row["bytes"])
        if row["reading"].endswith("GiB") and " GB " in row["reading"]:
            assert stated % 2**30 == 0
            assert abs(stated // 2**30 * 10**9 - actual) <= 0.5e9
        if row["reading"] == "44800 MB typed as 44800 MiB":
            assert stated == 44800 * 2**20


def test_repositories_of_the_catalog_state_their_exact_bytes() -> None:
    exact = {(row["model"], row["repo"]): int(row["bytes"]) for row in rows("mlx_sizes.csv") if row["kind"] == "exact"}
    for model in load_catalog().models.values():
        artifact = model.artifacts.mlx_4bit
        if artifact is not None and artifact.file_bytes is not None and model.kind != "image":
            assert exact[(model.id, artifact.repo)] == artifact.file_bytes
