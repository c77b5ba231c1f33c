"""Quants: every promised name, per format; loss from published evidence."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.errors import UnknownName

# llama-quantize --help of build 11669.
LLAMA_QUANTIZE = [
    "Q1_0", "Q2_0", "Q4_0", "Q4_1", "MXFP4_MOE", "Q5_0", "Q5_1", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S",
    "IQ1_M", "TQ1_0", "TQ2_0", "Q2_K", "Q2_K_S", "IQ3_XXS", "IQ3_S", "IQ3_M", "Q3_K", "IQ3_XS", "Q3_K_S", "Q3_K_M",
    "Q3_K_L", "IQ4_NL", "IQ4_XS", "Q4_K", "Q4_K_S", "Q4_K_M", "Q5_K", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16",
    "BF16", "F32",
]  # fmt: skip
HF = [
    "BF16", "FP16", "FP8", "FP8-block", "NVFP4", "MXFP4", "AWQ", "GPTQ-INT4", "GPTQ-INT8", "W4A16", "W8A8",
    "BNB-NF4", "BNB-INT8", "AWQ-g32", "GPTQ-INT4-g32", "W4A16-g32",
]  # fmt: skip
MLX = [
    "MLX-2bit", "MLX-3bit", "MLX-4bit", "MLX-5bit", "MLX-6bit", "MLX-8bit", "MLX-4bit-g32", "MLX-mxfp4",
    "MLX-nvfp4", "MLX-bf16",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "gguf") for name in LLAMA_QUANTIZE),
        *((name, "hf") for name in HF),
        *((name, "mlx") for name in MLX),
    ],
)
def test_every_promised_name_is_known_in_any_case(catalog: Catalog, name: str, form: str) -> None:
    quant = catalog.quant(name, form)
    assert quant.format == form
    assert catalog.quant(name.swapcase(), form) == quant
    if name not in {"BF16", "FP16", "MXFP4"}:
        assert catalog.quant(name) == quant


@pytest.mark.parametrize(
    ("name", "form", "found"),
    [
        ("FP16", None, ("F16", "gguf")),
        ("F16", "hf", ("FP16", "hf")),
        ("BF16", None, ("BF16", "gguf")),
        ("bf16", "hf", ("BF16", "hf")),
        ("MXFP4", None, ("MXFP4_MOE", "gguf")),
        ("MXFP4", "gguf", ("MXFP4_MOE", "gguf")),
        ("MXFP4", "hf", ("MXFP4", "hf")),
        ("Q4_K", None, ("Q4_K_M", "gguf")),
        ("Q3_K", "gguf", ("Q3_K_M", "gguf")),
        ("AWQ-g128", None, ("AWQ", "hf")),
        ("mlx-4bit-g64", None, ("MLX-4bit", "mlx")),
    ],
)
def test_aliases(catalog: Catalog, name: str, form: str | None, found: tuple[str, str]) -> None:
    quant = catalog.quant(name, form)
    assert (quant.id, quant.format) == found


def test_a_group_size_makes_another_quant(catalog: Catalog) -> None:
    quant = catalog.quant("awq-G32")
    assert (quant.id, quant.group_size, quant.loss) == ("AWQ-g32", 32, None)
    for name in ("FP8-g32", "Q4_K_M-g32", "AWQ-g17", "AWQ-g"):
        with pytest.raises(UnknownName):
            catalog.quant(name)


def test_unknown_quants_get_near_misses(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as raised:
        catalog.quant("Q4KM")
    assert raised.value.matches[0] == "Q4_K_M"
    with pytest.raises(UnknownName) as raised:
        catalog.quant("Q4_K_M", "hf")
    assert raised.value.hint is not None
    assert "is a quant of gguf" in raised.value.hint
    assert "AWQ" in raised.value.hint


# llama.cpp tools/perplexity/README.md: the Llama-3-8B scoreboard on wikitext-2.
@pytest.mark.parametrize(
    ("name", "kl_divergence"),
    [("Q8_0", 0.001355), ("Q6_K", 0.005452), ("Q5_K_M", 0.010762), ("Q4_K_M", 0.031273), ("Q4_0", 0.071940),
     ("Q3_K_M", 0.101913), ("IQ4_XS", 0.036334), ("IQ2_XXS", 0.812022), ("Q2_K", 0.445132)],
)  # fmt: skip
def test_loss_is_the_measured_divergence(catalog: Catalog, name: str, kl_divergence: float) -> None:
    loss = catalog.quant(name).loss
    assert loss is not None
    assert loss.kl_divergence == kl_divergence
    assert loss.source


def test_loss_orders_the_usual_quants(catalog: Catalog) -> None:
    names = ["BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q4_0", "Q3_K_M", "Q2_K"]
    losses = [quant.loss.kl_divergence for name in names if (quant := catalog.quant(name)).loss]
    assert len(losses) == len(names)
    assert losses == sorted(losses)


def test_losses_lie_within_their_evidence(catalog: Catalog) -> None:
    for quant in catalog.quants.values():
        if quant.loss and quant.loss.low is not None:
            assert quant.loss.low <= quant.loss.kl_divergence <= (quant.loss.high or 0)


def test_publishers_mixes_carry_their_recipe(catalog: Catalog) -> None:
    quant = catalog.quant("Q4_K_L")
    assert (quant.recipe, quant.base, quant.rare) == ("bartowski", "Q4_K_M", True)
    assert catalog.quant("UD-Q4_K_XL").recipe == "unsloth"
    assert all(quant.rare for quant in catalog.quants.values() if quant.recipe)


def test_keys_are_ids_with_the_format_only_where_two_share_one(catalog: Catalog) -> None:
    assert catalog.quants["BF16"].format == "gguf"
    assert catalog.quants["BF16|hf"].format == "hf"
    assert all(key in {quant.id, f"{quant.id}|{quant.format}"} for key, quant in catalog.quants.items())
