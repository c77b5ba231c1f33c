"""Models by id, short id, repository, tag or file."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.model_names import ModelIndex, without_tuning
from planner.catalog.records import Model
from planner.errors import CatalogError, ModelFileError, UnknownName


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("qwen3-8b", "qwen3-8b"),
        ("QWEN3-8B", "qwen3-8b"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("hf:Qwen/Qwen3-8B", "qwen3-8b"),
        ("https://huggingface.co/Qwen/Qwen3-8B/", "qwen3-8b"),
        ("unsloth/Qwen3-8B-GGUF", "qwen3-8b"),
        ("qwen3:8b", "qwen3-8b"),
        ("ollama:qwen3:8b", "qwen3-8b"),
        ("llama-3.1-8b", "llama-3.1-8b-instruct"),
        ("gemma-3-27b", "gemma-3-27b-it"),
        ("qwen3-4b-2507", "qwen3-4b-instruct-2507"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
    ],
)
def test_names(catalog: Catalog, name: str, found: str) -> None:
    assert catalog.model(name).id == found


def test_every_id_and_repository_finds_its_model(catalog: Catalog) -> None:
    for model in catalog.models.values():
        assert catalog.model(model.id) == model


def test_unknown_models_get_near_misses(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as raised:
        catalog.model("qwen3-14")
    assert "qwen3-14b" in raised.value.matches
    assert "did you mean" in (raised.value.hint or "")


def test_a_short_name_that_fits_several_lists_them() -> None:
    models = {each: Model(id=each, name=each, family="x") for each in ("x-7b-it", "x-7b-chat")}
    with pytest.raises(CatalogError, match="x-7b-it, x-7b-chat"):
        ModelIndex(models).find("x-7b")
    assert ModelIndex({**models, "x-7b": Model(id="x-7b", name="x", family="x")}).find("x-7b").id == "x-7b"


def test_a_file_is_read(catalog: Catalog, tmp_path: object) -> None:
    with pytest.raises(ModelFileError, match=r"absent\.gguf: no such file"):
        catalog.model(f"{tmp_path}/absent.gguf")


def test_without_tuning() -> None:
    assert without_tuning("llama-3.1-8b-instruct") == "llama-3.1-8b"
    assert without_tuning("gemma-3-4b-it-qat") == "gemma-3-4b-qat"
    assert without_tuning("italian-8b") == "italian-8b"
