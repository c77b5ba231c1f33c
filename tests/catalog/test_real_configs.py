"""Whole config.json files of published models: read, expanded, and held against the catalog's own entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.catalog.draft import draft_entry
from planner.catalog.load import load_catalog
from planner.catalog.model_files import models_of
from planner.catalog.read_model import read_model
from planner.catalog.yaml_file import parse_yaml
from planner.sizing.records import ExpandedModel, Role
from planner.sizing.tensors import expand

CONFIGS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "configs.json").read_text(encoding="utf-8")
)
KNOWN = {name: entry for name, entry in CONFIGS.items() if entry["model"]}
# Configs that differ from the checkpoint that the catalog counts.
DIFFERENT = {
    "MiniMaxAI/MiniMax-M3": "its config announces a prediction layer that the checkpoint does not hold",
    "nvidia/NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4": "the 16-bit checkpoint lacks the prediction layers",
    "stepfun-ai/Step-3.7-Flash-FP8": "this copy leaves out the heads of the sliding layers",
}


def text_parameters(expanded: ExpandedModel) -> int:
    """Without the towers, whose shapes no language config states."""
    return sum(group.total_elements for group in expanded.groups if group.role not in (Role.VISION, Role.AUDIO))


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in DIFFERENT])
def test_a_published_config_gives_the_catalog_s_model(name: str) -> None:
    """The same parameters to the last one, and the same caches layer by layer."""
    read = expand(read_model(KNOWN[name]["config"]))
    known = expand(load_catalog().model(KNOWN[name]["model"]))
    assert text_parameters(read) == text_parameters(known)
    assert read.caches == known.caches
    assert read.shape.estimate_note is None


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_stays_near(name: str) -> None:
    read, known = expand(read_model(KNOWN[name]["config"])), expand(load_catalog().model(KNOWN[name]["model"]))
    assert 0 < abs(text_parameters(read) / text_parameters(known) - 1) < 0.05


@pytest.mark.parametrize("name", KNOWN)
def test_a_draft_counts_what_was_read(name: str) -> None:
    """`planner catalog add`: the reviewed draft, read as a catalog file, is the same model."""
    model = read_model({**KNOWN[name]["config"], "_name_or_path": name})
    (again,) = models_of(parse_yaml(draft_entry(model).encode(), "draft.yaml"), "draft.yaml")
    assert expand(again).shape == expand(model).shape
    assert expand(again).caches == expand(model).caches


@pytest.mark.parametrize(
    ("name", "parameters"),
    # The total that is published for its successor v1.5, of the same layers. MiMo: no independent count, embedding and
    # head 2 x 151680 x 4096, and 36 layers of projections and norms by hand.
    [
        ("XiaomiMiMo/MiMo-7B-Base", 2 * 151_680 * 4096 + 36 * (4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 11_008)),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", 49_867_145_216),
    ],
)
def test_unknown_classes_degrade_to_a_stated_estimate(name: str, parameters: int) -> None:
    shape = expand(read_model(CONFIGS[name]["config"])).shape
    assert shape.total_parameters == pytest.approx(parameters, rel=1e-3)
    assert shape.estimate_note is not None
    assert "not known" in shape.estimate_note


def test_layers_of_an_unknown_kind_are_full_attention_in_an_unknown_class_only() -> None:
    config = {"architectures": ["BrandNew"], "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 320,
              "intermediate_size": 128, "layer_types": ["brand_new_attention"] * 3}  # fmt: skip
    expanded = expand(read_model(config))
    assert [(cache.kind, cache.layers) for cache in expanded.caches] == [("full", (0, 1, 2))]
    assert expanded.shape.estimate_note is not None
