"""Expansion of catalog models against tensors really loaded by llama.cpp and counts of the transformers classes."""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path
from typing import Any

import gguf
import pytest

from planner.catalog.model_files import load_model_files
from planner.catalog.records.architecture import Architecture, Linear, Mla, Moe
from planner.catalog.records.model import Model, Published
from planner.errors import CatalogError
from planner.sizing.records import ExpandedModel, Role
from planner.sizing.tensors import expand
from planner.sizing.tensors.blueprint import layer_kinds

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "tests/data/measured_models.json").read_text())
MODELS = load_model_files(ROOT / "catalog/models")

SAME_SHAPES = {
    "DeepSeek-V2-Lite": "deepseek-coder-v2-lite-instruct",
    "DeepSeek-V3": "deepseek-v3-0324",
    "GLM-4.5-Air": "glm-4.5-air",
    "Llama-3.1-8B": "llama-3.1-8b-instruct",
    "Llama-3.2-1B": "llama-3.2-1b-instruct",
    "Llama-3.3-70B": "llama-3.3-70b-instruct",
    "Mistral-7B-v0.3": "mistral-7b-instruct-v0.3",
    "Nemotron-Nano-9B-v2": "nvidia-nemotron-nano-9b-v2",
    "Phi-4-mini": "phi-4-mini-instruct",
    "Qwen2.5-0.5B": "qwen2.5-0.5b-instruct",
    "Qwen2.5-1.5B": "qwen2.5-1.5b-instruct",
    "Qwen2.5-3B": "qwen2.5-3b-instruct",
    "Qwen2.5-7B": "qwen2.5-7b-instruct",
    "Qwen2.5-32B": "qwen2.5-32b-instruct",
    "Qwen2.5-72B": "qwen2.5-72b-instruct",
    "Qwen3-0.6B": "qwen3-0.6b",
    "Qwen3-4B": "qwen3-4b",
    "Qwen3-8B": "qwen3-8b",
    "Qwen3-30B-A3B": "qwen3-30b-a3b",
    "Qwen3-235B-A22B": "qwen3-235b-a22b",
    "Qwen3.5-9B": "qwen3.5-9b",
    "Qwen3.5-27B": "qwen3.5-27b",
    "Qwen3.5-35B-A3B": "qwen3.5-35b-a3b",
    "gemma-3-1b": "gemma-3-1b-it",
    "gemma-3-4b": "gemma-3-4b-it",
    "gpt-oss-20b": "gpt-oss-20b",
    "phi-4": "phi-4",
}
# The measured file was made without GLM-4.5's second embedding and head, which its checkpoint holds.
NOT_MEASURED = {"GLM-4.5-Air": {"blk.46.nextn.embed_tokens.weight", "blk.46.nextn.shared_head_head.weight"}}

OTHERS = {
    "gemma-2-2b": Architecture(
        gguf="gemma2", layers=26, hidden_size=2304, vocabulary_size=256000, intermediate_size=9216, heads=8,
        kv_heads=4, head_dim=256, tied_embeddings=True, layer_kinds=("sliding", "full"), window=4096,
    ),
    "Phi-3.5-mini": Architecture(
        gguf="phi3", layers=32, hidden_size=3072, vocabulary_size=32064, intermediate_size=8192, heads=32,
        kv_heads=32, traits=("rope_factors",),
    ),
    "mixtral8": Architecture(
        gguf="llama", layers=8, hidden_size=512, vocabulary_size=8000, heads=8, kv_heads=2,
        moe=Moe(experts=8, active=2, intermediate_size=768),
    ),
    "qwen3next": Architecture(
        gguf="qwen3next", layers=8, hidden_size=512, vocabulary_size=8192, heads=4, kv_heads=1, head_dim=128,
        layer_kinds=("linear*3", "full"), moe=Moe(experts=16, active=4, intermediate_size=256, shared_experts=1),
        linear=Linear(kind="gated_delta_net", key_heads=4, value_heads=8, key_head_dim=128, value_head_dim=128,
                      conv_kernel=4),
    ),
    "deepseek2": Architecture(
        gguf="deepseek2", layers=6, hidden_size=512, vocabulary_size=8192, intermediate_size=1024, heads=4,
        mla=Mla(kv_lora_rank=256, nope_head_dim=64, rope_head_dim=64, v_head_dim=64, q_lora_rank=256),
        moe=Moe(experts=16, active=4, intermediate_size=256, shared_experts=2, dense_layers=1),
    ),
}  # fmt: skip


def measured_tensors(name: str) -> dict[str, tuple[int, ...]]:
    tensors: dict[str, tuple[int, ...]] = {}
    for tensor, shape, _, *rest in MEASURED[name]["tensors"]:
        layers = rest[0] if rest else [""]
        if isinstance(layers, str):
            first, last = (int(number) for number in layers.split("-"))
            layers = list(range(first, last + 1))
        for layer in layers:
            tensors[tensor.replace("*", str(layer))] = tuple(shape)
    return tensors


def gguf_tensors(expanded: ExpandedModel) -> dict[str, tuple[int, ...]]:
    tensors: dict[str, tuple[int, ...]] = {}
    for group in expanded.groups:
        if group.gguf:
            for layer in group.layers or ("",):
                name = group.name.replace("{layer}", str(layer))
                assert name not in tensors, name
                tensors[name] = group.shape
    return tensors


def shaped(name: str, arch: Architecture, **published: Any) -> Model:
    return Model(id=name, name=name, family=name, architecture=arch, published=Published(**published))


@pytest.mark.parametrize(("name", "model"), SAME_SHAPES.items())
def test_names_and_shapes_are_those_of_a_loaded_gguf(name: str, model: str) -> None:
    expected, found = measured_tensors(name), gguf_tensors(expand(MODELS[model]))
    for extra in NOT_MEASURED.get(name, ()):
        del found[extra]
    assert found == expected


@pytest.mark.parametrize(("name", "arch"), OTHERS.items())
def test_names_and_shapes_of_models_that_the_catalog_does_not_hold(name: str, arch: Architecture) -> None:
    assert gguf_tensors(expand(shaped(name, arch))) == measured_tensors(name)


KNOWN_TO_GGUF = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}


@functools.cache
def _table(arch: str) -> frozenset[str]:
    tensors = gguf.MODEL_TENSORS[KNOWN_TO_GGUF[arch]]
    return frozenset(gguf.TENSOR_NAMES[tensor].replace("{bid}", "{layer}") for tensor in tensors)


def test_every_name_is_in_the_table_of_its_architecture() -> None:
    checked = 0
    for model in MODELS.values():
        arch = model.architecture.gguf if model.architecture else None
        if arch not in KNOWN_TO_GGUF or expand(model).shape.estimate_note:
            continue
        stems = {
            group.name.removesuffix(".weight").removesuffix(".bias").removesuffix(".scale")
            for group in expand(model).groups
            if group.gguf
        }
        assert stems <= _table(arch), model.id
        checked += 1
    assert checked > 150


ROWS = {row["id"]: row for row in csv.DictReader((ROOT / "tests/data/model_counts.csv").read_text().splitlines())}
# What a checkpoint holds beyond the transformers class that was counted, or the class beyond the checkpoint.
BEYOND_THE_CLASS = {
    # key and value weights (and key norms) of layers that share another's cache, and output scales
    "gemma-3n-e4b-it": 15 * (2 * 2048 * 512 + 256),
    "gemma-3n-e2b-it": 10 * (2 * 2048 * 512 + 256),
    "gemma-4-e2b-it": 16 * (1536 * 256 * 2 + 256) + 4 * (1536 * 512 * 2 + 512) + 35,
    "gemma-4-e4b-it": 15 * (2560 * 512 * 2 + 256) + 3 * (2560 * 1024 * 2 + 512) + 42,
    "gemma-4-12b-it": 48,
    "gemma-4-26b-a4b-it": 30,
    "gemma-4-31b-it": 60,
    # index keys and queries with their norms
    "minimax-m3": 57 * (6144 * 128 * 5 + 2 * 128),
    # the norm of the Mamba half
    "falcon-h1-7b-instruct": 44 * 3072,
    # 20 KDA and 7 MLA layers instead of 21 and 6: only that gives the published count
    "kimi-linear-48b-a3b-instruct": -10_399_392,
    # towers known only as what the published total leaves
    "mimo-v2.5": 989_721_600,
    "exaone-4.5-33b": -871_297_024,
}


@pytest.mark.parametrize("name", ROWS)
def test_graph_counts_are_those_of_the_model_class(name: str) -> None:
    expanded = expand(MODELS[name])
    selection = sum(
        group.total_elements
        for group in expanded.groups
        if not group.mtp and group.name.endswith(("exp_probs_b", "exp_probs_b.bias", "tid2eid.weight"))
    )
    difference = expanded.shape.total_parameters - int(ROWS[name]["graph_parameters"]) - BEYOND_THE_CLASS.get(name, 0)
    # Some classes hold the expert selection bias as a buffer, which is not counted.
    assert difference in (0, selection)


@pytest.mark.parametrize("name", [name for name in ROWS if MODELS[name].kind == "llm"])
def test_active_and_read_counts_are_those_of_the_model_class(name: str) -> None:
    shape, row = expand(MODELS[name]).shape, ROWS[name]
    beyond = 0 if name in ("mimo-v2.5", "exaone-4.5-33b") else BEYOND_THE_CLASS.get(name, 0)
    buffers = shape.moe_layers * shape.experts + MODELS[name].architecture.vocabulary_size * 18  # type: ignore[union-attr]
    for found, counted in (
        (shape.active_parameters, row["active_parameters"]),
        (shape.read_parameters, row["read_parameters"]),
    ):
        assert 0 <= found - beyond - int(counted) <= buffers


@pytest.mark.parametrize("name", [name for name in ROWS if MODELS[name].kind == "llm"])
def test_caches_are_those_of_the_config(name: str) -> None:
    if name == "kimi-linear-48b-a3b-instruct":
        return
    caches, row = expand(MODELS[name]).caches, ROWS[name]
    assert _bytes(caches, "full") == int(row["kv_bytes_per_token"]) or "deepseek-v4" in name
    assert _bytes(caches, "window") == int(row["window_bytes_per_token"]) or "deepseek-v4" in name
    states = [cache.state_elements * len(cache.layers) * 4 for cache in caches if cache.kind == "recurrent"]
    assert sum(states) == int(row["state_bytes"])


def _bytes(caches: Any, kind: str) -> int:
    return sum(len(cache.layers) * (cache.k_width + cache.v_width) * 2 for cache in caches if cache.kind == kind)


def test_recurrent_state_is_what_llama_cpp_logged() -> None:
    caches = expand(MODELS["qwen3.5-27b"]).caches
    (state,) = [cache for cache in caches if cache.kind == "recurrent"]
    bytes_per_slot = len(state.layers) * 4 * (state.conv_elements + state.state_elements)
    assert round(bytes_per_slot / 2**20, 2) == 149.62


def test_kv_cache_of_latent_attention_is_what_llama_cpp_logged() -> None:
    (cache,) = expand(MODELS["deepseek-v3-0324"]).caches
    assert (cache.k_width, cache.v_width, cache.mla, cache.heads) == (576, 0, True, 1)
    assert len(cache.layers) * 32768 * cache.k_width * 2 == 2196 * 2**20


def test_layers_that_share_a_cache_keep_nothing() -> None:
    kept = {layer for cache in expand(MODELS["gemma-3n-e4b-it"]).caches for layer in cache.layers}
    assert kept == set(range(20))


def test_short_convolutions_keep_one_token_less_than_their_length() -> None:
    (state,) = [cache for cache in expand(MODELS["lfm2-1.2b"]).caches if cache.kind == "recurrent"]
    assert (state.conv_elements, state.state_elements) == (2048 * 2, 0)


def test_block_scales_of_fp8_checkpoints_are_one_per_128_by_128_block() -> None:
    for name in ("deepseek-v3-0324", "kimi-k2-instruct-0905", "minimax-m2.5"):
        model = MODELS[name]
        assert _block_scales(model) == model.published.stored_extra["fp8_block_scales"]


def _block_scales(model: Model) -> int:
    total, arch = 0, model.architecture
    for group in expand(model).groups:
        rows = list(group.shape)
        if group.role not in (Role.ATTENTION, Role.FFN, Role.EXPERT, Role.SHARED_EXPERT) or len(rows) < 2:
            continue
        if group.name.endswith("attn_v_b.weight"):
            continue
        if group.name.endswith("attn_k_b.weight"):
            assert arch is not None
            assert arch.mla is not None
            rows = [arch.mla.kv_lora_rank, (arch.heads or 0) * (arch.mla.nope_head_dim + arch.mla.v_head_dim)]
        blocks = -(-rows[0] // 128) * -(-rows[1] // 128)
        total += group.count * blocks * (rows[2] if len(rows) == 3 else 1)
    return total


def test_a_published_gguf_holds_the_copies_for_prediction() -> None:
    """GLM-4.5-Air in BF16 is published with 205.811 GiB: routers, norms and biases in F32, all else in 2 bytes."""
    groups = [group for group in expand(MODELS["glm-4.5-air"]).groups if group.gguf]
    wide = [group for group in groups if len(group.shape) == 1 or group.role is Role.ROUTER]
    size = sum(2 * group.total_elements for group in groups) + sum(2 * group.total_elements for group in wide)
    assert abs(size / 2**30 - 205.811) < 0.01


def test_a_prediction_layer_is_stored_but_not_part_of_the_graph() -> None:
    shape = expand(MODELS["deepseek-v3.2"]).shape
    mtp = [group for group in expand(MODELS["deepseek-v3.2"]).groups if group.mtp]
    assert {group.layers for group in mtp} == {(61,)}
    assert shape.stored_parameters - shape.total_parameters == sum(group.total_elements for group in mtp)


def test_expansion_is_kept_per_record() -> None:
    model = MODELS["qwen3-14b"]
    assert expand(model) is expand(model)


def test_a_file_expands_to_its_own_tensors() -> None:
    tensors = tuple((name, shape, "Q4_K") for name, shape in measured_tensors("GLM-4.5-Air").items())
    source = MODELS["glm-4.5-air"]
    model = Model(id="file", name="file", family="glm4moe", architecture=source.architecture, tensors=tensors)
    expanded = expand(model)
    assert gguf_tensors(expanded) == measured_tensors("GLM-4.5-Air")
    assert expanded.shape.total_parameters == expand(source).shape.total_parameters
    assert expanded.shape.active_parameters == expand(source).shape.active_parameters
    assert {group.fixed_type for group in expanded.groups} == {"Q4_K"}
    assert {group.layers for group in expanded.groups if group.mtp} == {(46,)}
    assert expanded.caches == expand(source).caches


def test_roles_in_a_file_are_those_of_the_expansion() -> None:
    for name in SAME_SHAPES.values():
        source = expand(MODELS[name])
        tensors = tuple((tensor, shape, "F16") for tensor, shape in gguf_tensors(source).items())
        model = Model(id=name, name=name, family="x", architecture=MODELS[name].architecture, tensors=tensors)
        assert expand(model).shape.active_parameters == source.shape.active_parameters
        assert expand(model).shape.read_parameters == source.shape.read_parameters


def test_an_unknown_architecture_is_estimated_and_says_so() -> None:
    arch = Architecture(gguf="brand-new", layers=10, hidden_size=1024, vocabulary_size=32000, heads=8, kv_heads=2)
    expanded = expand(shaped("new", arch, total_parameters=1_000_000_000))
    assert expanded.shape.estimate_note
    assert expanded.shape.total_parameters == 1_000_000_000
    assert _bytes(expanded.caches, "full") == 10 * 2 * 2 * 128 * 2


def test_estimated_experts_follow_the_stated_active_parameters() -> None:
    arch = Architecture(gguf="brand-new", layers=40, hidden_size=4096, vocabulary_size=100_000, heads=32, kv_heads=8)
    shape = expand(shaped("new-moe", arch, total_parameters=200_000_000_000, active_parameters="10B")).shape
    assert shape.total_parameters == 200_000_000_000
    assert abs(shape.active_parameters - 10e9) < 0.6e9
    assert shape.active_experts == 8


def test_image_models_carry_their_published_parts() -> None:
    expanded = expand(MODELS["flux.1-schnell"])
    assert sum(group.total_elements for group in expanded.groups) * 2 == 23_782_357_120 + 9_524_621_312
    assert expand(MODELS["qwen-image"]).shape.total_parameters == 20_000_000_000
    assert expanded.caches == ()


def test_layer_patterns() -> None:
    assert layer_kinds((), 3) == ("full",) * 3
    assert layer_kinds(("sliding*2", "full"), 5) == ("sliding", "sliding", "full", "sliding", "sliding")
    assert layer_kinds(("mamba+moe*2", "full"), 5) == ("mamba", "moe", "mamba", "moe", "full")
    with pytest.raises(CatalogError, match="slidding"):
        layer_kinds(("slidding",), 2)


def test_a_missing_number_names_itself() -> None:
    arch = Architecture(gguf="gemma3n", layers=2, hidden_size=64, vocabulary_size=100, heads=2)
    with pytest.raises(CatalogError, match="per_layer_width"):
        expand(shaped("broken", arch))
