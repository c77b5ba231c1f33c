"""What sizing follows for a file that a plan downloads: publisher, age, projector, and the steps of its server."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.catalog.load import load_catalog
from planner.catalog.records import Model
from planner.hardware.facts import Gpu, Hardware
from planner.servers import SERVERS
from planner.servers.origin import made_by
from planner.servers.records import ModelSource
from planner.sizing.artifact import PLAIN, Made
from planner.sizing.footprint import size_model
from planner.sizing.quantize import quantize, quantize_as
from planner.sizing.records import Placement, Pool, Runtime
from planner.sizing.tensors import expand

GIB = 2**30


def model(name: str) -> Model:
    return load_catalog().model(name)


def made(name: str, quant: str, server: str = "llama-server") -> Made:
    found, catalog = model(name), load_catalog()
    chosen = catalog.quant(quant)
    return made_by(SERVERS[server].source(found, chosen), found, chosen)


@pytest.mark.parametrize(
    ("uri", "recipe"),
    [
        ("hf:bartowski/phi-4-GGUF@main/phi-4-Q4_K_M.gguf", "bartowski"),
        ("hf:unsloth/phi-4-GGUF@main/phi-4-Q4_K_M.gguf", "unsloth"),
        ("ollama:hf.co/bartowski/phi-4-GGUF:Q4_K_M", "bartowski"),
        ("ollama:phi4", None),
        ("hf:nobody/phi-4-GGUF@main/phi-4-Q4_K_M.gguf", None),
    ],
)
def test_the_publisher_of_the_source_names_the_recipe(uri: str, recipe: str | None) -> None:
    assert made_by(ModelSource(uri=uri), model("phi-4"), load_catalog().quant("Q4_K_M")).recipe == recipe


def test_files_of_one_s_own_and_other_formats_are_plain() -> None:
    catalog = load_catalog()
    assert made_by(ModelSource(uri="file:own.gguf"), model("phi-4"), catalog.quant("Q4_K_M")) == PLAIN
    assert made_by(ModelSource(uri="hf:Qwen/Qwen3-8B@main"), model("qwen3-8b"), catalog.quant("AWQ")) == PLAIN
    assert made_by(None, model("phi-4"), catalog.quant("Q4_K_M")) == PLAIN


def test_the_age_of_the_model_picks_the_rule_for_fused_attention() -> None:
    """Docker's catalog prints 8.43 GiB for phi-4 Q4_K_M of early 2025; the newer rule gives 8.44."""
    phi = replace(model("phi-4"), released="2024-12-12")
    older = made_by(ModelSource(uri="ollama:phi4"), phi, load_catalog().quant("Q4_K_M"))
    newer = made_by(ModelSource(uri="ollama:phi4"), replace(phi, released="2026-05-01"), load_catalog().quant("Q4_K_M"))
    sizes = [quantize_as(expand(phi), load_catalog().quant("Q4_K_M"), each).file_bytes / GIB for each in (older, newer)]
    assert [f"{size:.2f}" for size in sizes] == ["8.43", "8.44"]


def test_the_projector_is_counted_where_the_server_loads_it() -> None:
    """Published: mmproj of Qwen3.5-27B in F16 is 0.93 GB."""
    assert made("qwen3.5-27b", "Q4_K_M").projector
    assert not made("qwen3.5-27b", "Q4_K_M", "ollama").projector
    expanded, quant = expand(model("qwen3.5-27b")), load_catalog().quant("Q4_K_M")
    seeing, blind = (quantize(expanded, quant, projector=flag) for flag in (True, False))
    assert seeing.projector_bytes == pytest.approx(0.93e9, rel=0.012)
    assert seeing.weights_bytes - blind.weights_bytes == seeing.projector_bytes
    assert (seeing.file_bytes, seeing.bits_per_weight) == (blind.file_bytes, blind.bits_per_weight)


def test_the_projector_lies_on_the_first_gpu() -> None:
    found, quant = model("qwen3.5-27b"), load_catalog().quant("Q4_K_M")
    pools = tuple(
        Pool(id=f"gpu{index}", kind="gpu", capacity_bytes=24 * GIB, usable_bytes=24 * GIB, gpu=index)
        for index in (0, 1)
    )
    placement = Placement(kind="multi-gpu", gpus=(0, 1))
    room = SERVERS["llama-server"]
    allocation = room.allocation(found, quant, Hardware(), Placement(kind="cpu"))
    sizes = []
    for projector in (True, False):
        footprint = size_model(
            expand(found), quant, Runtime(context_tokens=8192), allocation,
            server="llama-server", made=Made(projector=projector), placement=placement, pools=pools,
        )  # fmt: skip
        assert sum(part.bytes for part in footprint.parts) == footprint.total_bytes
        sizes.append([use.weights_bytes for use in footprint.pools])
    assert sizes[0][0] - sizes[1][0] == quantize(expand(found), quant, projector=True).projector_bytes
    assert sizes[0][1:] == sizes[1][1:]


@pytest.mark.parametrize(("memory", "tokens"), [(24 * GIB, 2048), (80 * GIB, 8192)])
def test_vllm_sizes_the_step_that_it_starts_with(memory: int, tokens: int) -> None:
    gpu = Gpu(vendor="nvidia", name="card", memory_bytes=memory, backend="cuda")
    placement = Placement(kind="gpu", gpus=(0,))
    found, quant = model("qwen3-8b"), load_catalog().quant("AWQ")
    allocation = SERVERS["vllm"].allocation(found, quant, Hardware(gpus=(gpu,)), placement)
    assert allocation.batch_tokens == tokens


def test_an_encoder_s_micro_batch_is_the_text() -> None:
    """llama-server is started with `-ub 2048` for encoders: the buffer is that of 2048 tokens, not of 512."""
    found, quant = model("bge-m3"), load_catalog().quant("F16", format="gguf")
    room = SERVERS["llama-server"]
    allocation = room.allocation(found, quant, Hardware(), Placement(kind="cpu"))
    own, small = (
        size_model(expand(found), quant, Runtime(context_tokens=4096), each, server="llama-server").compute_bytes
        for each in (allocation, replace(allocation, batch_tokens=None))
    )
    assert own > 3 * small
