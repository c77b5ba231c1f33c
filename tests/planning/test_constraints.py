"""Constraints: units and names are read, contradictions are refused before any search."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import UnknownName, UsageError
from planner.planning.constraints import Constraints, Headroom, constraints_from
from planner.sizing.records import KvType, Pool
from planner.units import GIB


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def test_text_with_units_becomes_plain_numbers(catalog: Catalog) -> None:
    given = {
        "users": 10,
        "context": "32k",
        "model": "Qwen3-14B",
        "min_quant": "iq4_xs",
        "kv_type": "q8_0,f16",
        "min_decode": "15",
        "max_ttft": "500ms",
        "max_memory": ["vram=20GiB", "ram=64GB"],
        "roles": "interactive,batch",
        "headroom": "10%",
        "license": "Open",
        "exclude": ["ollama,gemma-3", "q8_0"],
    }
    asked = constraints_from(catalog, given)
    assert asked.users == 10
    assert asked.context_tokens == 32768
    assert asked.model == "qwen3-14b"
    assert asked.min_quant == "IQ4_XS"
    assert asked.kv_type == KvType(k="q8_0", v="f16")
    assert asked.min_decode_tokens_per_s == 15.0
    assert asked.max_ttft_s == 0.5
    assert asked.max_memory == {"vram": 20 * GIB, "ram": 64 * 10**9}
    assert asked.roles == ("interactive", "batch")
    assert asked.headroom == Headroom(fraction=0.1)
    assert asked.license == "open"
    assert asked.exclude == ("ollama", "gemma-3", "Q8_0")


def test_context_max_is_zero_and_nothing_given_is_the_default(catalog: Catalog) -> None:
    assert constraints_from(catalog, {"context": "max"}).context_tokens == 0
    assert constraints_from(catalog, {"users": None}) == Constraints()


def test_a_cap_without_a_pool_holds_for_every_pool(catalog: Catalog) -> None:
    assert constraints_from(catalog, {"max_memory": "20GiB"}).max_memory == {"": 20 * GIB}


def test_the_quant_is_that_of_the_server_s_format(catalog: Catalog) -> None:
    assert constraints_from(catalog, {"server": "vllm", "quant": "awq"}).quant == "AWQ"
    with pytest.raises(UsageError) as caught:
        constraints_from(catalog, {"server": "vllm", "quant": "Q4_K_M"})
    assert "vllm cannot read Q4_K_M" in caught.value.message
    assert "AWQ" in (caught.value.hint or "")
    assert "Q5_K_M" not in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"model": "qwen3-14b", "exclude": "qwen3-14b"}, "both asked for and excluded"),
        ({"server": "vllm", "exclude": ["vllm"]}, "both asked for and excluded"),
        ({"quant": "Q4_K_M", "exclude": "Q4_K_M"}, "both asked for and excluded"),
        ({"quant": "Q4_K_M", "min_quant": "Q5_K_M"}, "--quant and --min-quant contradict"),
        ({"gpu_only": True, "roles": "interactive,batch"}, "--gpu-only contradicts the roles"),
        ({"gpu_only": True, "max_memory": "ram=8GiB"}, "--gpu-only uses no RAM"),
        ({"roles": "batch,batch"}, "named twice"),
        ({"roles": "reranker"}, "unknown role"),
        ({"users": 0}, "at least 1"),
        ({"min_decode": 0}, "more than zero"),
        ({"min_decode": "fast"}, "not a number"),
        ({"min_decode": float("nan")}, "not a number"),
        ({"min_decode": float("inf")}, "not a number"),
        ({"exclude": "vllm,ollama,llama-server,localai,mlx-lm"}, "leaves no server"),
        ({"max_memory": "20"}, "no unit"),
        ({"max_memory": "=20GiB"}, "names no pool"),
        ({"headroom": "150%"}, "between 0% and 100%"),
        ({"headroom": "2"}, "no unit"),
        ({"memory": "later"}, "unknown choice"),
        ({"prefer": "cheap"}, "unknown choice"),
        ({"kv_type": "q8_0,f16,f16"}, "not one or two types"),
        ({"exclude": "nonsense-9000"}, "nothing called"),
        ({"family": "qwen33"}, "unknown family"),
        ({"modle": "qwen3-14b"}, "unknown constraint"),
    ],
)
def test_contradictions_and_nonsense_are_usage_errors(catalog: Catalog, given: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        constraints_from(catalog, given)
    assert problem in caught.value.message
    assert caught.value.exit_code == 2


def test_unknown_names_have_near_misses(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        constraints_from(catalog, {"model": "qwen3-14"})
    assert "qwen3-14b" in caught.value.matches


def test_headroom_is_five_percent_and_at_least_a_gibibyte() -> None:
    small = Pool(id="gpu0", kind="gpu", capacity_bytes=8 * GIB, usable_bytes=8 * GIB)
    large = Pool(id="ram", kind="ram", capacity_bytes=512 * GIB, usable_bytes=512 * GIB)
    assert Headroom().of(small) == GIB
    assert Headroom().of(large) == round(25.6 * GIB)
    assert Headroom(fraction=0.0, least_bytes=2 * GIB).of(large) == 2 * GIB
    assert Headroom(fraction=0.0, least_bytes=0).of(large) == 0
