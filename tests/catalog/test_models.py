"""The family files of the catalog: read strictly, merged simply, and right about what publishers state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from planner.catalog.model_files import load_model_files, model_entries
from planner.catalog.records.architecture import Architecture, Moe
from planner.catalog.records.model import Model, Published
from planner.errors import CatalogError
from planner.sizing.catalog_check import check_models
from planner.sizing.tensors import expand

FOLDER = Path(__file__).parents[2] / "catalog/models"
MODELS = load_model_files(FOLDER)


def write(folder: Path, text: str, name: str = "family.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_the_catalog_holds_its_models() -> None:
    kinds = [model.kind for model in MODELS.values()]
    assert (kinds.count("llm"), kinds.count("embedding"), kinds.count("image")) == (209, 12, 12)
    assert {"qwen3-14b", "phi-4", "llama-3.1-8b-instruct", "qwen3-235b-a22b"} <= set(MODELS)


def test_a_file_is_one_family() -> None:
    for path in FOLDER.glob("*.yaml"):
        assert f"family: {path.stem}\n" in path.read_text().replace("'", "")


def test_nothing_computed_is_written_down() -> None:
    text = "\n".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    assert not re.search(r"(?m)^\s*(kv_cache|\w*bytes_per_token|\w*computed|state_bytes)\w*:", text)


def test_the_check_has_no_errors() -> None:
    assert [finding for finding in check_models(MODELS) if finding.severity == "error"] == []


def test_stored_counts_are_the_published_ones() -> None:
    exact = near = 0
    for model in MODELS.values():
        published, shape = model.published.total_parameters, expand(model).shape
        if published is not None and shape.estimate_note is None:
            exact += shape.stored_parameters == published
            near += abs(shape.stored_parameters - published) <= 1e-6 * published
    assert exact >= 200
    assert near >= 205


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        # safetensors totals of the Hugging Face API
        ("qwen3-14b", 14_768_307_200),
        ("qwen3-0.6b", 751_632_384),
        ("llama-3.1-8b-instruct", 8_030_261_248),
        ("deepseek-v3-0324", 684_531_386_000),
        ("deepseek-v4-flash", 290_944_616_402),
        ("gemma-4-e2b-it", 5_123_178_051),
        ("kimi-linear-48b-a3b-instruct", 49_122_681_728),
        ("nvidia-nemotron-3-nano-4b-bf16", 3_973_556_832),
        ("c4ai-command-a-03-2025", 111_057_580_032),
        ("embeddinggemma-300m", 302_863_104),
    ],
)
def test_published_totals(name: str, stored: int) -> None:
    assert expand(MODELS[name]).shape.stored_parameters == stored


def test_defaults_are_merged_and_null_takes_one_away(tmp_path: Path) -> None:
    text = """
family: tiny
vendor: someone
defaults:
  license: mit
  tags: [chat]
  architecture: {gguf: llama, hidden_size: 64, layer_kinds: sliding*2 full}
models:
  - id: tiny-1
    name: Tiny 1
    architecture: {layers: 3, vocabulary_size: 1_000, heads: 2}
  - id: tiny-2
    name: Tiny 2
    license: null
    tags: [tool-use]
    architecture: {layers: 4, vocabulary_size: 1_000, heads: 2, hidden_size: 128}
"""
    models = load_model_files(write(tmp_path, text))
    first, second = models["tiny-1"], models["tiny-2"]
    assert (first.family, first.vendor, first.license, first.tags) == ("tiny", "someone", "mit", ("chat",))
    assert (second.license, second.tags) == (None, ("tool-use",))
    assert first.architecture is not None
    assert second.architecture is not None
    assert first.architecture.layer_kinds == ("sliding*2", "full")
    assert (first.architecture.hidden_size, second.architecture.hidden_size) == (64, 128)


def test_a_plain_list_holds_complete_entries() -> None:
    assert model_entries([{"id": "own", "name": "Own"}], "own.yaml") == [{"id": "own", "name": "Own"}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("family: a\nmodles: []\nmodels: []\n", "family.yaml: modles: unknown key"),
        ("family: a\nfamily: b\nmodels: []\n", "stands here twice"),
        ("family: a\nmodels:\n  - id: x\n    name: X\n    colour: red\n", "family.yaml: x: colour: unknown key"),
        ("family: a\nmodels:\n  - id: x\n    name: X\n    architecture: {layers: 1, hiden_size: 2}\n", "architecture"),
        ("family: a\ndefaults: 3\nmodels: []\n", "defaults: expected a mapping"),
        ("family: a\nmodels:\n  - name: X\n", "every entry needs an `id`"),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(problem)):
        load_model_files(write(tmp_path, text))


def test_an_id_in_two_files_is_refused(tmp_path: Path) -> None:
    entry = "family: {0}\nmodels:\n  - id: x\n    name: X\n"
    write(tmp_path, entry.format("a"), "a.yaml")
    write(tmp_path, entry.format("b"), "b.yaml")
    with pytest.raises(CatalogError, match=r"stands in a\.yaml too"):
        load_model_files(tmp_path)


def shaped(published: Published, **changes: object) -> Model:
    moe = Moe(experts=8, active=2, intermediate_size=256)
    arch = {"gguf": "qwen3moe", "layers": 4, "hidden_size": 256, "vocabulary_size": 1000, "heads": 4, "moe": moe}
    return Model(id="m", name="m", family="f", architecture=Architecture(**{**arch, **changes}), published=published)  # type: ignore[arg-type]


def test_the_check_catches_a_wrong_width() -> None:
    right = expand(shaped(Published())).shape.stored_parameters
    assert check_models([shaped(Published(total_parameters=right))]) == ()
    (finding,) = check_models([shaped(Published(total_parameters=right), hidden_size=264)])
    assert (finding.severity, finding.subject) == ("error", "m")
    (named,) = check_models([shaped(Published(total_parameters=right, exception="why"), hidden_size=264)])
    assert named.severity == "note"


def test_the_check_catches_unused_experts() -> None:
    moe = Moe(experts=8, active=0, intermediate_size=256)
    (finding,) = check_models([shaped(Published(), moe=moe)])
    assert (finding.severity, finding.text) == ("error", "0 of 8 experts used")


def test_the_check_compares_active_parameters_within_their_rounding() -> None:
    def arch(figure: str, convention: str | None = None) -> Model:
        original = MODELS["gpt-oss-20b"]
        published = Published(active_parameters=figure, active_convention=convention)
        return Model(id="m", name="m", family="f", architecture=original.architecture, published=published)

    # 4.19 billion with the input embedding, 3.61 without
    assert check_models([arch("4.2B")]) == ()
    assert check_models([arch("3.6B", "without input embedding")]) == ()
    assert [finding.severity for finding in check_models([arch("3.6B")])] == ["error"]
    assert [finding.severity for finding in check_models([arch("3B", "rounded freely")])] == ["note"]
