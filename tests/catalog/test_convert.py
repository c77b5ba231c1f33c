"""A broken entry says where, what was expected, and what was probably meant."""

from __future__ import annotations

import pytest

from planner.catalog.convert import entries, to_record
from planner.catalog.device_files import device_from_entry
from planner.catalog.records import Model, Quant
from planner.errors import CatalogError

QUANT = {"id": "Q9_X", "format": "gguf", "scheme": "block", "nominal_bits": 9, "speed_class": "8bit"}


def test_an_unknown_key_is_refused_with_near_misses() -> None:
    with pytest.raises(CatalogError) as raised:
        to_record({**QUANT, "nominal_bit": 3}, Quant, "quants.yaml")
    assert raised.value.message == "quants.yaml: Q9_X: nominal_bit: unknown key"
    assert raised.value.hint == "did you mean nominal_bits?"


def test_near_misses_come_from_the_struct_at_that_path() -> None:
    entry = {"id": "m", "name": "m", "family": "f", "architecture": {"layers": 1, "hidden_sise": 2}}
    with pytest.raises(CatalogError) as raised:
        to_record(entry, Model, "models/f.yaml")
    assert "m: architecture.hidden_sise: unknown key" in raised.value.message
    assert "hidden_size" in (raised.value.hint or "")


def test_a_wrong_value_names_the_key_path_and_what_was_expected() -> None:
    entry = {"id": "m", "name": "m", "family": "f", "context": {"native_tokens": "40960"}}
    with pytest.raises(CatalogError) as raised:
        to_record(entry, Model, "x.yaml")
    assert raised.value.message == "x.yaml: m: context.native_tokens: Expected `int`, got `str`"
    assert "30_500_000_000" in (raised.value.hint or "")


def test_a_number_where_a_text_belongs_asks_for_quotes() -> None:
    with pytest.raises(CatalogError) as raised:
        to_record({**QUANT, "min_compute_capability": 8.9}, Quant, "x.yaml")
    assert "min_compute_capability: Expected `str | null`, got `float`" in raised.value.message
    assert "quote" in (raised.value.hint or "")


def test_a_missing_key_and_a_value_outside_the_list_are_refused() -> None:
    with pytest.raises(CatalogError, match="missing required field `scheme`"):
        to_record({key: value for key, value in QUANT.items() if key != "scheme"}, Quant, "x.yaml")
    with pytest.raises(CatalogError, match="format: Invalid enum value 'ggml'"):
        to_record({**QUANT, "format": "ggml"}, Quant, "x.yaml")


def test_entries_come_as_a_list_or_by_id() -> None:
    assert entries([{"id": "a", "x": 1}], "f") == entries({"a": {"x": 1}}, "f") == [{"id": "a", "x": 1}]
    assert entries(None, "f") == []


@pytest.mark.parametrize("document", ["text", [1], [{"name": "no id"}], [{"id": 7}], {"a": 3}, [{"id": ""}]])
def test_other_shapes_are_refused(document: object) -> None:
    with pytest.raises(CatalogError, match=r"^f"):
        entries(document, "f")


def test_device_units_are_converted_once() -> None:
    entry = {
        "id": "x", "name": "X", "vendor": "V", "kind": "gpu", "source": "test",
        "memory_gib": 24, "driver_memory_mib": 24564,
        "memory_bandwidth_gb_per_s": 1008.4, "fp16_tensor_tflops": 330.3, "memory_options_gib": [16, 32],
    }  # fmt: skip
    device = device_from_entry(entry, "x.yaml")
    assert device.memory_bytes == 24 * 2**30
    assert device.driver_memory_bytes == 24564 * 2**20
    assert device.bandwidth_bytes_per_s == 1_008_400_000_000
    assert device.fp16_flops_per_s == 330_300_000_000_000
    assert device.memory_options_bytes == (16 * 2**30, 32 * 2**30)


def test_a_device_key_without_its_unit_is_refused() -> None:
    with pytest.raises(CatalogError) as raised:
        device_from_entry({"id": "x", "name": "X", "vendor": "V", "kind": "gpu", "source": "t", "memory": 24}, "x.yaml")
    assert "memory_gib" in (raised.value.hint or "")
