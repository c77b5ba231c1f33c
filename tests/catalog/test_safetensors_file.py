"""Safetensors checkpoints: what their headers and their index say, and what they may not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.catalog.read_model import read_model
from planner.catalog.safetensors_file import read_index
from planner.errors import ModelFileError
from planner.sizing.catalog_check import check_models
from planner.sizing.tensors import expand

CONFIG = {"architectures": ["Qwen3ForCausalLM"], "num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 320,
          "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
          "tie_word_embeddings": True, "torch_dtype": "bfloat16"}  # fmt: skip


def write_file(path: Path, tensors: dict[str, tuple[str, list[int]]]) -> None:
    """A checkpoint file as the format describes it: length, header, data."""
    bits = {"BF16": 16, "F32": 32, "I32": 32}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = bits[dtype] // 8
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))


def folder(path: Path, index: dict[str, Any] | None = None) -> Path:
    (path / "config.json").write_text(json.dumps(CONFIG))
    if index is not None:
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return path


def test_a_real_index_total_agrees_with_the_expansion(tmp_path: Path) -> None:
    """Two bytes per parameter of what `expand` counts: the published total is the same, and the check is silent."""
    count = expand(read_model(CONFIG)).shape.stored_parameters
    index = {"metadata": {"total_size": 2 * count}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    for name in ("", "config.json", "model.safetensors.index.json"):
        model = read_model(folder(tmp_path, index) / name)
        assert model.published.total_parameters == count
        assert check_models([model]) == ()


def test_headers_of_all_parts_are_counted(tmp_path: Path) -> None:
    write_file(tmp_path / "model-1.safetensors", {"a": ("BF16", [4, 8]), "b": ("F32", [])})
    write_file(tmp_path / "model-2.safetensors", {"c": ("BF16", [3])})
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "c": "model-2.safetensors"}}
    assert read_index(folder(tmp_path, index) / "model.safetensors.index.json")[:2] == (64 + 4 + 6, 36)


def test_packed_integers_are_bytes_but_no_parameters(tmp_path: Path) -> None:
    write_file(folder(tmp_path) / "model.safetensors", {"qweight": ("I32", [4, 8])})
    assert read_model(tmp_path / "model.safetensors").published.total_parameters is None


def test_a_file_without_its_config_says_so(tmp_path: Path) -> None:
    write_file(tmp_path / "model.safetensors", {"a": ("BF16", [4])})
    with pytest.raises(ModelFileError, match=r"no config\.json beside it"):
        read_model(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"a": {"dtype": "BF16", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, "do not hold"),
        ({"a": {"dtype": "BF16", "shape": [-1], "data_offsets": [0, 4]}}, "shape"),
        ({"a": {"dtype": "F7", "shape": [2], "data_offsets": [0, 4]}}, "dtype"),
        ({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [4, 0]}}, "data_offsets"),
        ({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 2**50]}}, "data_offsets"),
        ({"a": 3}, "expected an object"),
    ],
)
def test_headers_that_lie(header: dict[str, Any], says: str, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    (folder(tmp_path) / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(ModelFileError, match=f"model.safetensors.*{says}"):
        read_model(tmp_path)


@pytest.mark.parametrize("length", [2**60, 100, 2**64 - 1])
def test_a_header_length_beyond_the_file(length: int, tmp_path: Path) -> None:
    (folder(tmp_path) / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelFileError, match="header length"):
        read_model(tmp_path)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"metadata": {"total_size": -1}, "weight_map": {"a": "b.safetensors"}}, "total_size"),
        ({"metadata": {"total_size": True}, "weight_map": {"a": "b.safetensors"}}, "total_size"),
        ({"metadata": {"total_size": 2}, "weight_map": {"a": "../../etc/passwd.safetensors"}}, "weight_map"),
        ({"metadata": {"total_size": 2}, "weight_map": {"a": 3}}, "weight_map"),
        ({"weight_map": {}}, "weight_map"),
    ],
)
def test_an_index_that_lies(index: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=says):
        read_model(folder(tmp_path, index))
