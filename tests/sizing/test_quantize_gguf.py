"""GGUF mixes against llama-quantize itself and against published files."""

from __future__ import annotations

import collections

import pytest

from planner.errors import PlannerError
from planner.sizing.header import data_bytes, header_bytes, tensor_list_bytes
from planner.sizing.quantize import quantize
from planner.sizing.records import Role
from tests.sizing.measured import a_quant, documents, measured_model, rows

MIB = 1024**2


def test_every_dry_run_of_llama_quantize_is_met_to_its_last_digit() -> None:
    """Tensor bytes of 32 file types over 45 models, printed by the tool with two decimals."""
    wrong = []
    for row in rows("llama_quantize.csv"):
        if row["kind"] == "dry-run":
            quantized = quantize(measured_model(row["model"]), a_quant(row["ftype"]))
            if abs(quantized.tensor_bytes / MIB - float(row["tensor_MiB"])) > 0.0051:
                wrong.append((row["model"], row["ftype"]))
    assert wrong == []


def test_really_quantized_files_differ_by_their_tokenizer_only() -> None:
    """Real files of one dummy vocabulary: what is left after tensors and tensor list is the same to one alignment."""
    left = collections.defaultdict(set)
    for row in rows("llama_quantize.csv"):
        if row["kind"] == "real":
            quantized = quantize(measured_model(row["model"]), a_quant(row["ftype"]))
            lists = tensor_list_bytes(item.group for item in quantized.groups)
            rest = header_bytes(lists, _own_keys(row["model"])) + data_bytes(quantized.groups)
            metadata = int(row["file_bytes"]) - rest
            left[documents()[row["model"]]["n_vocab"]].add(metadata)
    assert {vocabulary: max(sizes) - min(sizes) <= 32 for vocabulary, sizes in left.items()} == dict.fromkeys(
        left, True
    )
    assert len(left[8192]) <= 2


def _own_keys(name: str) -> int:
    """Bytes of the model's own metadata keys, as the GGUF specification stores them."""
    total = 0
    values = {**documents()[name]["gguf"], "general.quantization_version": 2, "general.file_type": 1}
    for key, value in values.items():
        size = 8 + len(value) if isinstance(value, str) else 12 + 4 * len(value) if isinstance(value, list) else 4
        total += 8 + len(key) + 4 + size
    return total


def test_llama_3_1_8b_by_hand() -> None:
    """Bytes per tensor kind of Q4_K_M: attn_v and ffn_down are half Q6_K, the head Q6_K, norms F32."""
    quantized = quantize(measured_model("Llama-3.1-8B"), a_quant("Q4_K_M"))
    sizes = {group.group.name: group.bytes for group in quantized.groups}
    assert sizes["blk.{layer}.attn_q.weight"] == 301_989_888
    assert sizes["blk.{layer}.attn_k.weight"] == 75_497_472
    assert sizes["blk.{layer}.attn_v.weight"] == 37_748_736 + 55_050_240
    assert sizes["blk.{layer}.ffn_down.weight"] == 528_482_304 + 770_703_360
    assert sizes["output.weight"] == 430_940_160
    assert sizes["token_embd.weight"] == 295_501_824
    assert quantized.tensor_bytes == 4_912_898_304
    assert abs(quantized.file_bytes - 4_920_739_232) < 1024


@pytest.mark.parametrize(("name", "tensors"), [("Qwen3-30B-A3B", 18_550_716_416), ("Qwen3-0.6B", 390_753_280)])
def test_worked_examples(name: str, tensors: int) -> None:
    assert quantize(measured_model(name), a_quant("Q4_K_M")).tensor_bytes == tensors


def test_older_rule_changes_fused_attention_only() -> None:
    """Fused QKV tensors followed their own rule until 2026; models without them are the same under both."""
    phi, llama = measured_model("Phi-3.5-mini"), measured_model("Llama-3.1-8B")
    new, old = (quantize(phi, a_quant("Q4_K_M"), quantizer=generation) for generation in ("2026", "2024"))
    assert new.tensor_bytes != old.tensor_bytes
    same = {quantize(llama, a_quant("Q4_K_M"), quantizer=generation).tensor_bytes for generation in ("2026", "2024")}
    assert len(same) == 1


def test_large_variant_forces_embedding_and_head() -> None:
    plain = quantize(measured_model("Llama-3.1-8B"), a_quant("Q4_K_M"), recipe="bartowski")
    large = quantize(measured_model("Llama-3.1-8B"), a_quant("Q4_K_L"), recipe="bartowski")
    changed = {
        wide.group.name: wide.types
        for narrow, wide in zip(plain.groups, large.groups, strict=True)
        if narrow.types != wide.types
    }
    assert changed == {"token_embd.weight": ("Q8_0",), "output.weight": ("Q8_0",)}


@pytest.mark.parametrize(
    ("quant", "recipe", "says"),
    [("Q9_K", None, "unknown GGUF file type"), ("Q4_K_L", None, "publisher"), ("Q4_K_M", "nobody", "unknown recipe")],
)
def test_unknown_types_and_recipes_are_errors(quant: str, recipe: str | None, says: str) -> None:
    with pytest.raises(PlannerError, match=says):
        quantize(measured_model("Llama-3.2-1B"), a_quant(quant), recipe=recipe)


def test_prediction_layers_are_in_the_file_and_not_in_memory() -> None:
    """GLM-4.5-Air Q4_K_M: file tensors less loaded ones are 1632 MiB, as the loader showed."""
    quantized = quantize(measured_model("GLM-4.5-Air"), a_quant("Q4_K_M"))
    assert round(quantized.mtp_bytes / MIB) == 1632
    assert len(quantized.blocks) == 46


def test_sums_by_place_cover_every_byte() -> None:
    for name in documents():
        quantized = quantize(measured_model(name), a_quant("Q4_K_M"))
        blocks = sum(block.dense + block.experts for block in quantized.blocks)
        frame = quantized.embedding_bytes + quantized.lookup_bytes + quantized.output_bytes + quantized.other_bytes
        assert blocks + frame + quantized.encoder_bytes == quantized.weights_bytes, name
        assert sum(size for _, size in quantized.role_bytes) == quantized.weights_bytes, name


def test_experts_are_read_by_their_share() -> None:
    """Qwen3-30B-A3B: 8 of 128 experts per token."""
    quantized = quantize(measured_model("Qwen3-30B-A3B"), a_quant("Q4_K_M"))
    resident = sum(group.bytes for group in quantized.groups if group.group.role is Role.EXPERT)
    assert sum(block.experts for block in quantized.blocks) == resident
    assert sum(block.expert_read for block in quantized.blocks) == pytest.approx(resident * 8 / 128, rel=1e-6)
