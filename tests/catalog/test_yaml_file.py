"""YAML is read strictly: what looks like one thing never means another."""

from __future__ import annotations

import pytest
import yaml

from planner.catalog.yaml_file import parse_yaml
from planner.errors import CatalogError


@pytest.mark.parametrize("word", ["no", "NO", "off", "On", "yes", "y: no"])
def test_words_that_yaml_1_1_takes_for_booleans_are_refused(word: str) -> None:
    """Norway's country code and the switch names of servers are texts."""
    with pytest.raises(CatalogError, match=r"boolean in YAML 1\.1") as raised:
        parse_yaml(f"key: {word}\n" if ":" not in word else word, "x.yaml")
    assert "quote" in (raised.value.hint or "")


@pytest.mark.parametrize("number", ["4:16", "0123", "0b11", "1:30.5"])
def test_numbers_that_yaml_1_1_reads_in_another_base_are_refused(number: str) -> None:
    assert yaml.safe_load(number) not in (number, None)  # what PyYAML alone makes of it
    with pytest.raises(CatalogError, match=r"YAML 1\.1"):
        parse_yaml(f"key: {number}", "x.yaml")


def test_a_repeated_key_is_refused_with_its_place() -> None:
    with pytest.raises(CatalogError, match=r"x\.yaml:3:1: the key 'layers' stands here twice"):
        parse_yaml("layers: 1\nother: 2\nlayers: 3\n", "x.yaml")


def test_a_repeated_key_deep_inside_is_refused() -> None:
    with pytest.raises(CatalogError, match="'a' stands here twice"):
        parse_yaml("top:\n  - {a: 1, b: {a: 2}, a: 3}\n", "x.yaml")


def test_dates_stay_text_and_true_numbers_are_numbers() -> None:
    found = parse_yaml("{d: 2025-04-28, i: 30_500_000_000, f: 1008.4, t: true, n: null, v: '1.10'}", "x.yaml")
    assert found == {"d": "2025-04-28", "i": 30_500_000_000, "f": 1008.4, "t": True, "n": None, "v": "1.10"}


def test_anchors_and_merged_mappings_work() -> None:
    assert parse_yaml("a: &list [1, 2]\nb: *list\n", "x.yaml") == {"a": [1, 2], "b": [1, 2]}
    assert parse_yaml("- &base {a: 1, b: 2}\n- {<<: *base, c: 3}\n", "x.yaml") == [
        {"a": 1, "b": 2},
        {"a": 1, "b": 2, "c": 3},
    ]


@pytest.mark.parametrize("broken", ["a: [1, 2", "a: b: c", "\ta: 1", "a: !!python/object:os.system x", "? [1]\n: 2"])
def test_broken_yaml_names_file_and_line(broken: str) -> None:
    with pytest.raises(CatalogError, match=r"mine\.yaml:\d"):
        parse_yaml(broken, "mine.yaml")


def test_bytes_that_are_no_text_are_an_error() -> None:
    with pytest.raises(CatalogError, match=r"mine\.yaml"):
        parse_yaml(b"\xff\xfe\x00", "mine.yaml")


@pytest.mark.parametrize("deep", ["[" * 100_000, "{a: " * 9_000, "- " * 9_000 + "x", "? " * 9_000 + "x"])
def test_nesting_without_end_is_an_error_not_a_crash(deep: str) -> None:
    with pytest.raises(CatalogError, match="nested too deeply"):
        parse_yaml(deep, "mine.yaml")


def test_nesting_that_people_write_is_read() -> None:
    assert parse_yaml("[" * 100 + "1" + "]" * 100, "x") is not None


def test_the_slow_loader_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation of PyYAML without its C part gives the same values and the same refusals."""
    from planner.catalog import yaml_file

    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    yaml_file._loader_class.cache_clear()
    try:
        assert parse_yaml("a: {b: 1.5, c: [x, 2025-01-01]}", "x") == {"a": {"b": 1.5, "c": ["x", "2025-01-01"]}}
        with pytest.raises(CatalogError):
            parse_yaml("a: off", "x")
    finally:
        yaml_file._loader_class.cache_clear()
