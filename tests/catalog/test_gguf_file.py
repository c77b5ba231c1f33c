"""GGUF headers: written by the reference package, read here; hostile ones end in an error that names the field."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from planner.catalog.gguf_file import TENSOR_TYPES, read_gguf
from planner.catalog.read_model import read_model
from planner.catalog.records.architecture import Indexer, Linear, Mamba, Mla, Moe
from planner.errors import ModelFileError
from planner.sizing.tensors import expand
from tools.random_model import TINY, write_random_model


def header_only(path: Path, architecture: str, keys: dict[str, object], tensors: dict[str, tuple[int, ...]]) -> Path:
    """Metadata and tensor list without data. Shapes in numpy order (rows first)."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        full = key if key.startswith(("general.", "tokenizer.", "split.")) else f"{architecture}.{key}"
        if isinstance(value, str):
            writer.add_string(full, value)
        elif isinstance(value, list):
            writer.add_array(full, value)
        else:
            writer.add_uint32(full, value)
    for name, shape in tensors.items():
        length = int(np.prod(shape)) * 2
        writer.add_tensor_info(name, shape, np.dtype(np.float16), length)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    return path


QWEN3MOE = {
    "block_count": 48, "embedding_length": 2048, "context_length": 40960, "feed_forward_length": 6144,
    "attention.head_count": 32, "attention.head_count_kv": 4, "attention.key_length": 128,
    "attention.value_length": 128, "expert_count": 128, "expert_used_count": 8, "expert_feed_forward_length": 768,
    "vocab_size": 151936,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("gguf") / "Tiny-Llama.gguf", TINY)


def test_a_written_file_reads_back(tiny: Path) -> None:
    """The same tensors, shapes and types that the reference reader finds, and the shapes as they were written."""
    model = read_model(tiny)
    reference = gguf.GGUFReader(tiny)
    assert model.tensors == tuple(
        (tensor.name, tuple(int(length) for length in tensor.shape), tensor.tensor_type.name)
        for tensor in reference.tensors
    )
    arch = model.architecture
    assert arch is not None
    assert (arch.gguf, arch.layers, arch.hidden_size, arch.heads, arch.kv_heads) == ("llama", 2, 64, 4, 4)
    assert (arch.head_dim, arch.intermediate_size, arch.vocabulary_size) == (16, 128, 2048)
    assert not arch.tied_embeddings
    assert (model.id, model.name) == ("tiny-llama", "random")
    assert model.context is not None
    assert model.context.native_tokens == 2048


def test_the_expansion_counts_exactly_the_tensors_of_the_file(tiny: Path) -> None:
    elements = sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(tiny).tensors)
    assert expand(read_model(tiny)).shape.total_parameters == elements


def test_block_sizes_are_those_of_the_reference_package() -> None:
    for kind, (block, size) in gguf.GGML_QUANT_SIZES.items():
        assert TENSOR_TYPES[int(kind)] == (kind.name, block, size)


def test_a_mixture_of_experts(tmp_path: Path) -> None:
    model = read_model(header_only(tmp_path / "m.gguf", "qwen3moe", QWEN3MOE, {}))
    arch = model.architecture
    assert arch is not None
    assert arch.moe == Moe(experts=128, active=8, intermediate_size=768)
    assert (arch.head_dim, arch.vocabulary_size, arch.layer_kinds) == (128, 151936, ())


@pytest.mark.parametrize("extra", [{}, {"attention.key_length_mla": 192, "attention.value_length_mla": 128}])
def test_latent_attention_with_and_without_the_newer_keys(tmp_path: Path, extra: dict[str, int]) -> None:
    """DeepSeek V3: 128 + 64 per head, latent 512; newer conversions store the latent sizes in the plain keys."""
    plain = (576, 512) if extra else (192, 128)
    keys = {
        "block_count": 62, "nextn_predict_layers": 1, "embedding_length": 7168, "feed_forward_length": 18432,
        "attention.head_count": 128, "attention.head_count_kv": 1 if extra else 128, "vocab_size": 129280,
        "attention.key_length": plain[0], "attention.value_length": plain[1], "attention.kv_lora_rank": 512,
        "attention.q_lora_rank": 1536, "rope.dimension_count": 64, "expert_count": 256, "expert_used_count": 8,
        "expert_shared_count": 1, "expert_feed_forward_length": 2048, "leading_dense_block_count": 3, **extra,
        "attention.indexer.head_count": 64, "attention.indexer.key_length": 128, "attention.indexer.top_k": 2048,
    }  # fmt: skip
    arch = read_model(header_only(tmp_path / "m.gguf", "deepseek2", keys, {})).architecture
    assert arch is not None
    assert arch.mla == Mla(kv_lora_rank=512, nope_head_dim=128, rope_head_dim=64, v_head_dim=128, q_lora_rank=1536)
    assert (arch.layers, arch.mtp_layers) == (61, 1)
    assert arch.moe is not None
    assert (arch.moe.dense_layers, arch.moe.shared_experts, arch.moe.shared_intermediate_size) == (3, 1, 2048)
    assert arch.indexer == Indexer(heads=64, head_dim=128, top_k=2048)


def test_sliding_windows_by_family_and_by_list(tmp_path: Path) -> None:
    base = {"block_count": 12, "embedding_length": 64, "attention.head_count": 4, "vocab_size": 100,
            "attention.sliding_window": 512}  # fmt: skip
    by_family = read_model(header_only(tmp_path / "a.gguf", "gemma3", base, {})).architecture
    flags = [True, False, True, False] * 3
    listed = {**base, "attention.sliding_window_pattern": flags}
    by_list = read_model(header_only(tmp_path / "b.gguf", "gemma4", listed, {})).architecture
    ignored = read_model(header_only(tmp_path / "c.gguf", "phi3", base, {})).architecture
    assert by_family is not None
    assert by_list is not None
    assert ignored is not None
    assert (by_family.layer_kinds, by_family.window) == (("sliding*5", "full"), 512)
    assert (by_list.layer_kinds, by_list.window) == (("sliding", "full"), 512)
    assert (ignored.layer_kinds, ignored.window) == ((), None)


def test_delta_nets_and_state_space_layers(tmp_path: Path) -> None:
    """Qwen3-Next: 16 key heads and 32 value heads of 128; Granite 4 H: attention where there are KV heads."""
    delta = {
        "block_count": 48, "embedding_length": 2048, "attention.head_count": 16, "attention.head_count_kv": 2,
        "attention.key_length": 256, "vocab_size": 151936, "full_attention_interval": 4, "ssm.conv_kernel": 4,
        "ssm.inner_size": 4096, "ssm.state_size": 128, "ssm.time_step_rank": 32, "ssm.group_count": 16,
    }  # fmt: skip
    arch = read_model(header_only(tmp_path / "a.gguf", "qwen3next", delta, {})).architecture
    assert arch is not None
    assert arch.linear == Linear(
        kind="gated_delta_net", key_heads=16, value_heads=32, key_head_dim=128, value_head_dim=128, conv_kernel=4
    )
    assert arch.layer_kinds == ("linear*3", "full")
    hybrid = {
        "block_count": 6, "embedding_length": 1536, "attention.head_count": 12, "vocab_size": 100352,
        "attention.head_count_kv": [0, 0, 4, 0, 0, 4], "ssm.conv_kernel": 4, "ssm.inner_size": 3072,
        "ssm.state_size": 128, "ssm.time_step_rank": 48, "ssm.group_count": 1,
    }  # fmt: skip
    arch = read_model(header_only(tmp_path / "b.gguf", "granitehybrid", hybrid, {})).architecture
    assert arch is not None
    assert arch.mamba == Mamba(heads=48, head_dim=64, groups=1, state_size=128, conv_kernel=4)
    assert (arch.layer_kinds, arch.kv_heads) == (("mamba*2", "full"), 4)


def test_a_tied_model_and_its_vocabulary_come_from_the_tensors(tmp_path: Path) -> None:
    keys = {key: value for key, value in QWEN3MOE.items() if key != "vocab_size"}
    arch = read_model(
        header_only(tmp_path / "m.gguf", "qwen3moe", keys, {"token_embd.weight": (777, 2048)})
    ).architecture
    assert arch is not None
    assert arch.tied_embeddings
    assert arch.vocabulary_size == 777


def test_a_vocabulary_of_several_chunks_is_counted_and_passed_over(tmp_path: Path) -> None:
    """Texts that straddle the reader's chunks, one longer than a chunk, and keys behind them."""
    texts = [f"token {number} " * (number % 7) for number in range(120_000)]
    texts[77_000] = "x" * 3_000_000
    keys = {"tokenizer.ggml.tokens": texts, **QWEN3MOE, "general.name": "behind"}
    model = read_model(header_only(tmp_path / "m.gguf", "qwen3moe", keys, {}))
    assert model.architecture is not None
    assert (model.architecture.vocabulary_size, model.name) == (120_000, "behind")


def test_a_split_model_is_read_whole_from_any_part(tmp_path: Path) -> None:
    names = [tmp_path / f"big-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
    header_only(names[0], "qwen3moe", {**QWEN3MOE, "split.count": 3}, {"token_embd.weight": (151936, 2048)})
    header_only(names[1], "qwen3moe", {"split.count": 3}, {"blk.0.attn_q.weight": (4096, 2048)})
    header_only(names[2], "qwen3moe", {"split.count": 3}, {"output.weight": (151936, 2048)})
    for named in names:
        model = read_model(named)
        assert [name for name, _, _ in model.tensors] == ["token_embd.weight", "blk.0.attn_q.weight", "output.weight"]
        assert model.id == "big"
    names[1].unlink()
    with pytest.raises(ModelFileError, match="big-00002-of-00003") as raised:
        read_model(names[0])
    assert "3 parts" in (raised.value.hint or "")


def test_a_renamed_part_says_what_it_lacks(tmp_path: Path) -> None:
    path = header_only(tmp_path / "renamed.gguf", "qwen3moe", {**QWEN3MOE, "split.count": 3}, {})
    with pytest.raises(ModelFileError, match=r"split\.count"):
        read_model(path)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def raw(entries: bytes = b"", tensors: bytes = b"", counts: tuple[int, int] = (0, 0), version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, *counts) + entries + tensors


ARCHITECTURE = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
HUGE = 2**62
HOSTILE = {
    "empty": (b"", "magic"),
    "wrong magic": (b"GGML" + bytes(40), "magic: not a GGUF file"),
    "zip": (b"PK\x03\x04" + bytes(40), "magic"),
    "version 1": (raw(version=1), "version: version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version: a big-endian file"),
    "tensor count": (raw(counts=(HUGE, 0)), "tensor count"),
    "metadata count": (raw(counts=(0, HUGE)), "metadata count"),
    "key length": (raw(struct.pack("<Q", HUGE), counts=(0, 1)) + bytes(20), "metadata key 0"),
    "value length": (raw(text(b"a") + struct.pack("<IQ", 8, HUGE), counts=(0, 1)), ": a: "),
    "array length": (raw(text(b"a") + struct.pack("<IIQ", 9, 4, HUGE), counts=(0, 1)), ": a: "),
    "array of texts": (raw(text(b"a") + struct.pack("<IIQ", 9, 8, 2**23), counts=(0, 1)) + bytes(99), ": a: "),
    "array of arrays": (raw(text(b"a") + struct.pack("<IIQ", 9, 9, 1) + bytes(40), counts=(0, 1)), ": a: "),
    "value type": (raw(text(b"a") + struct.pack("<I", 99) + bytes(40), counts=(0, 1)), "unknown value type 99"),
    "key twice": (raw(ARCHITECTURE * 2, counts=(0, 2)), "stands twice"),
    "not UTF-8": (raw(text(b"\xff\xfe") + bytes(40), counts=(0, 1)), "not UTF-8"),
    "no architecture": (raw(text(b"a") + struct.pack("<IB", 7, 1), counts=(0, 1)), "general.architecture"),
    "tensor type": (raw(b"", text(b"t") + struct.pack("<IQIQ", 1, 32, 77, 0), (1, 0)), "tensor t type"),
    "tensor dimensions": (raw(b"", text(b"t") + struct.pack("<IQIQ", 9, 32, 0, 0), (1, 0)), "tensor t dimensions"),
    "tensor shape": (raw(b"", text(b"t") + struct.pack("<IQIQ", 1, 0, 0, 0), (1, 0)), "tensor t shape"),
    "tensor block": (raw(b"", text(b"t") + struct.pack("<IQIQ", 1, 33, 8, 0), (1, 0)), "blocks of 32"),
    "block_count": (raw(ARCHITECTURE, counts=(0, 1)), "llama.block_count: missing"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_name_the_field(case: str, tmp_path: Path) -> None:
    content, field = HOSTILE[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as raised:
        read_model(path)
    assert raised.value.message.startswith("bad.gguf: ")
    assert field in raised.value.message


def test_a_hostile_count_in_a_vast_sparse_file_is_refused(tmp_path: Path) -> None:
    """A length that a file of a terabyte could hold is still no header."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(raw(text(b"a") + struct.pack("<IQ", 8, 2**35), counts=(0, 1)))
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="a text of"):
        read_model(path)


def test_a_header_needs_no_data_behind_it(tiny: Path, tmp_path: Path) -> None:
    """A download that has only begun can be planned for."""
    begun = tmp_path / "Tiny-Llama.gguf"
    begun.write_bytes(tiny.read_bytes()[: tiny.stat().st_size // 2])
    assert read_model(begun) == read_model(tiny)


@pytest.mark.parametrize("length", [4, 23, 30, 500, 3000, 8000])
def test_a_truncated_header_is_an_error(tiny: Path, tmp_path: Path, length: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny.read_bytes()[:length])
    with pytest.raises(ModelFileError, match=r"cut\.gguf: "):
        read_model(path)


def test_folders_and_absent_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    for name in ("folder.gguf", "absent.gguf"):
        with pytest.raises(ModelFileError):
            read_gguf(tmp_path / name)
    path = header_only(tmp_path / "clip.gguf", "clip", {"block_count": 1, "embedding_length": 8, "vocab_size": 8}, {})
    with pytest.raises(ModelFileError, match="projector"):
        read_model(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_ends_in_a_model_or_a_named_error(tiny: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed anywhere in the header never end in another exception."""
    content = bytearray(tiny.read_bytes()[:12_000])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    try:
        message = "damaged.gguf: " + str(read_model(path).id)
    except ModelFileError as error:
        message = error.message
    assert message.startswith("damaged.gguf: ")
