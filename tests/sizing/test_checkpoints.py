"""Hugging Face and MLX schemes: bytes per matrix by hand, and published MLX files."""

from __future__ import annotations

import pytest

from planner.catalog.load import load_catalog
from planner.errors import PlannerError
from planner.sizing.quantize import quantize
from planner.sizing.quantize_hf import packing_of
from planner.sizing.quantize_mlx import packing_of as mlx_packing_of
from planner.sizing.records import Role
from planner.sizing.tensors import expand
from tests.sizing.measured import a_quant, measured_model

ROWS, COLUMNS = 1024, 4096
VALUES = ROWS * COLUMNS


@pytest.mark.parametrize(
    ("name", "group", "size"),
    [
        ("FP8", None, VALUES + 2 * ROWS),
        ("FP8-block", 128, VALUES + 4 * VALUES // (128 * 128)),
        ("W8A8", None, VALUES + 2 * ROWS),
        ("AWQ", 128, VALUES // 2 + VALUES // 128 * 5 // 2),
        ("AWQ", 32, VALUES // 2 + VALUES // 32 * 5 // 2),
        ("GPTQ-INT4", 128, VALUES // 2 + VALUES // 128 * 5 // 2 + 4 * COLUMNS),
        ("GPTQ-INT8", 128, VALUES + VALUES // 128 * 3 + 4 * COLUMNS),
        ("W4A16", 128, VALUES // 2 + VALUES // 128 * 2 + 16),
        ("NVFP4", 16, VALUES // 2 + VALUES // 16 + 8),
        ("MXFP4", 32, VALUES // 2 + VALUES // 32),
        ("BNB-NF4", None, VALUES // 2 + VALUES // 64 + 4 * VALUES // (64 * 256)),
        ("BNB-INT8", None, VALUES + 4 * ROWS),
    ],
)
def test_a_matrix_of_1024_rows_of_4096(name: str, group: int | None, size: int) -> None:
    packing = packing_of(name, group)
    assert packing is not None
    assert packing.size((COLUMNS, ROWS)) == size


@pytest.mark.parametrize(
    ("name", "group", "bits"),
    [
        ("MLX-4bit", None, 4.5),
        ("MLX-4bit", 32, 5.0),
        ("MLX-8bit", None, 8.5),
        ("MLX-6bit", None, 6.5),
        ("MLX-3bit", None, 3.5),
        ("MLX-mxfp4", None, 4.25),
        ("MLX-mxfp8", None, 8.25),
        ("MLX-nvfp4", None, 4.5),
    ],
)
def test_mlx_bits_per_weight(name: str, group: int | None, bits: float) -> None:
    packing = mlx_packing_of(name, group)
    assert packing is not None
    assert packing.size((COLUMNS, ROWS)) * 8 / VALUES == bits


def test_sixteen_bit_is_two_bytes_per_parameter() -> None:
    model = measured_model("Llama-3.1-8B")
    for name, kind in (("BF16", "hf"), ("FP16", "hf"), ("MLX-bf16", "mlx")):
        assert quantize(model, a_quant(name, kind)).tensor_bytes == 2 * model.shape.total_parameters


def test_weight_only_schemes_leave_frame_norms_and_routers() -> None:
    quantized = quantize(measured_model("Qwen3-30B-A3B"), a_quant("AWQ", "hf", 128))
    kept = {group.group.role for group in quantized.groups if group.types == ("BF16",)}
    assert kept == {Role.EMBEDDING, Role.OUTPUT, Role.NORM, Role.ROUTER}


def test_mxfp4_checkpoints_pack_experts_only() -> None:
    quantized = quantize(measured_model("gpt-oss-20b"), a_quant("MXFP4", "hf"))
    packed = {group.group.role for group in quantized.groups if group.types == ("MXFP4",)}
    assert packed == {Role.EXPERT}
    biases = [group for group in quantized.groups if group.group.name.endswith("exps.bias")]
    assert all(group.types == ("BF16",) for group in biases)


def test_mlx_packs_embedding_and_head_and_keeps_routers_at_8_bit() -> None:
    quantized = quantize(measured_model("Qwen3-30B-A3B"), a_quant("MLX-4bit", "mlx"))
    types = {group.group.role: group.types[0] for group in quantized.groups if group.group.role is not Role.NORM}
    assert types[Role.EMBEDDING] == types[Role.OUTPUT] == types[Role.EXPERT] == "AFFINE4"
    assert types[Role.ROUTER] == "AFFINE8"


@pytest.mark.parametrize(
    ("name", "quant", "published"),
    [
        # Sums of the tensors in the published files (the index of the third says 19,338,405,888 and is wrong).
        ("gpt-oss-20b", "MXFP4", 13_761_264_768),
        ("gpt-oss-120b", "MXFP4", 65_248_815_744),
        ("qwen3-32b", "AWQ", 19_325_298_688),
    ],
)
def test_published_checkpoints_are_met_to_the_byte(name: str, quant: str, published: int) -> None:
    catalog = load_catalog()
    assert quantize(expand(catalog.model(name)), catalog.quant(quant, format="hf")).tensor_bytes == published


def test_a_model_trained_in_block_fp8_is_published_whole() -> None:
    """DeepSeek-V3.1: 688,586,727,753 bytes of weight files, headers included; its prediction layer is FP8 too."""
    catalog = load_catalog()
    quantized = quantize(expand(catalog.model("deepseek-v3.1")), catalog.quant("FP8-block", format="hf"))
    assert quantized.file_bytes == pytest.approx(688_586_727_753, rel=1e-4)


def test_group_size_is_part_of_the_name() -> None:
    model = measured_model("Llama-3.2-1B")
    fine, coarse = a_quant("AWQ-g32", "hf", 32), a_quant("AWQ", "hf", 128)
    assert quantize(model, fine).tensor_bytes > quantize(model, coarse).tensor_bytes


@pytest.mark.parametrize(("name", "kind"), [("INT3", "hf"), ("MLX-9bit", "mlx")])
def test_unknown_schemes_name_the_known(name: str, kind: str) -> None:
    with pytest.raises(PlannerError, match="unknown") as error:
        quantize(measured_model("Llama-3.2-1B"), a_quant(name, kind))
    assert error.value.hint is not None
    assert error.value.hint.startswith("known")


def test_recipes_belong_to_gguf() -> None:
    with pytest.raises(PlannerError, match="GGUF"):
        quantize(measured_model("Llama-3.2-1B"), a_quant("AWQ", "hf", 128), recipe="unsloth")
