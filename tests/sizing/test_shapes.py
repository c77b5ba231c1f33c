"""Shapes kept beside the catalog are those that counting gives, whatever became of the file that holds them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from planner.catalog import paths
from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.sizing import shapes
from planner.sizing.records import ModelShape
from planner.sizing.shapes import shape_in, shapes_of
from planner.sizing.tensors import expand

MODEL = """
family: own
models:
  - id: own-1b
    name: Own 1B
    kind: llm
    architecture:
      {gguf: llama, layers: %d, hidden_size: 2048, vocabulary_size: 32000, intermediate_size: 8192, heads: 32}
"""


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "planner"


def counted(catalog: Catalog) -> dict[str, ModelShape]:
    return {model.id: expand(model).shape for model in catalog.models.values() if model.architecture is not None}


def refuse_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model was counted again")

    monkeypatch.setattr(shapes, "expand", refuse)


def stored_file(folder: Path) -> Path:
    """The smaller of the two files: the catalog itself is the other."""
    return min(folder.glob("catalog-*.msgpack"), key=lambda file: file.stat().st_size)


@pytest.mark.usefixtures("fresh_cache")
def test_a_warm_start_counts_nothing_and_knows_the_same_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = counted(load_catalog())
    assert shapes_of(load_catalog()) == expected
    refuse_counting(monkeypatch)
    assert shapes_of(load_catalog()) == expected


def test_without_a_cache_the_shapes_are_the_same(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANNER_CACHE", "off")
    catalog = load_catalog()
    assert shapes_of(catalog) == counted(catalog)
    assert not fresh_cache.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x00" * 5000])
def test_a_broken_file_is_counted_anew(content: bytes, fresh_cache: Path) -> None:
    expected = dict(shapes_of(load_catalog()))
    stored_file(fresh_cache).write_bytes(content)
    assert shapes_of(load_catalog()) == expected


@pytest.mark.usefixtures("fresh_cache")
def test_an_edited_model_is_counted_anew(tmp_path: Path) -> None:
    file = tmp_path / "own" / "models" / "own.yaml"
    file.parent.mkdir(parents=True)
    totals = []
    for layers in (16, 17):
        file.write_text(MODEL % layers)
        catalog = load_catalog(tmp_path / "own")
        model = catalog.model("own-1b")
        assert shape_in(catalog, model) == expand(model).shape
        totals.append(shape_in(catalog, model).total_parameters)
    assert totals[0] < totals[1]


def test_code_that_counts_otherwise_is_asked_again(
    fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sizing", "sizing/tensors"):
        (tmp_path / name).mkdir()
        shutil.copy(paths.PACKAGE_FOLDER / name / "__init__.py", tmp_path / name)
    monkeypatch.setattr(shapes, "_COUNTERS", (tmp_path / "sizing", tmp_path / "sizing" / "tensors"))
    shapes_of(load_catalog())
    before = stored_file(fresh_cache).read_bytes()
    (tmp_path / "sizing" / "tensors" / "new.py").write_text("")
    shapes_of(load_catalog())
    assert stored_file(fresh_cache).read_bytes() != before
