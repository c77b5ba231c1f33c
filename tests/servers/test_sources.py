"""Which quants a server can really get, and what the files are called."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.catalog.load import load_catalog
from planner.catalog.records import Artifacts, Model
from planner.errors import RenderError
from planner.hardware.facts import Hardware
from planner.servers import SERVERS, gguf
from tests.servers.examples import (
    EMBEDDING,
    GPT_OSS,
    IMAGE,
    MAC,
    MOE,
    QWEN3_14B,
    R1,
    RADEON,
    RTX_4090,
    SERVER,
    TWO_3090,
    gpu,
    quant,
)

BLACKWELL = replace(RTX_4090, gpus=(gpu("RTX 5090", 32, "12.0"),))
TURING = replace(RTX_4090, gpus=(gpu("RTX 2080 Ti", 11, "7.5"),))
PASCAL = replace(RTX_4090, gpus=(gpu("GTX 1080 Ti", 11, "6.1"),))
GGUF_LADDER = ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS", "Q3_K_M", "Q2_K", "BF16")


@pytest.mark.parametrize(
    ("server", "model", "hardware", "expected"),
    [
        ("llama-server", QWEN3_14B, RTX_4090, (*GGUF_LADDER, "F16")),
        ("localai", QWEN3_14B, SERVER, (*GGUF_LADDER, "F16")),
        ("ollama", QWEN3_14B, MAC, (*GGUF_LADDER, "F16")),
        ("llama-server", GPT_OSS, RTX_4090, ("MXFP4_MOE",)),
        ("ollama", GPT_OSS, RTX_4090, ("MXFP4_MOE",)),
        # Split files: llama.cpp reads them, Ollama does not pull them from the hub.
        ("llama-server", MOE, SERVER, GGUF_LADDER),
        ("ollama", MOE, SERVER, ("Q4_K_M",)),
        ("ollama", R1, RTX_4090, ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS", "Q3_K_M", "Q2_K")),
        ("ollama", EMBEDDING, SERVER, ("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS", "Q3_K_M", "Q2_K")),
        ("vllm", QWEN3_14B, RTX_4090, ("FP8", "AWQ", "GPTQ-INT4", "NVFP4", "BF16")),
        ("vllm", QWEN3_14B, BLACKWELL, ("NVFP4", "FP8", "AWQ", "GPTQ-INT4", "BF16")),
        ("vllm", QWEN3_14B, TWO_3090, ("AWQ", "GPTQ-INT4", "FP8", "NVFP4", "BF16")),
        ("vllm", QWEN3_14B, PASCAL, ()),
        ("vllm", QWEN3_14B, SERVER, ("AWQ", "GPTQ-INT4", "BF16")),
        ("vllm", QWEN3_14B, RADEON, ("AWQ", "GPTQ-INT4", "BF16")),
        ("vllm", QWEN3_14B, MAC, ()),
        ("vllm", GPT_OSS, RTX_4090, ("MXFP4",)),
        ("vllm", GPT_OSS, TURING, ()),
        # FP8 made from the BF16 repository needs tensor cores that compute in it.
        ("vllm", R1, RTX_4090, ("FP8", "BF16")),
        ("vllm", R1, TWO_3090, ("BF16",)),
        ("vllm", EMBEDDING, RTX_4090, ("BF16",)),
        ("mlx-lm", QWEN3_14B, MAC, ("MLX-4bit",)),
        ("mlx-lm", GPT_OSS, MAC, ("MLX-mxfp4-q8",)),
        ("mlx-lm", QWEN3_14B, SERVER, ()),
        ("localai", IMAGE, RTX_4090, ("BF16",)),
        ("llama-server", IMAGE, RTX_4090, ()),
        ("vllm", IMAGE, RTX_4090, ()),
    ],
)
def test_quants(server: str, model: Model, hardware: Hardware, expected: tuple[str, ...]) -> None:
    assert SERVERS[server].quants(model, hardware) == expected


@pytest.mark.parametrize(
    ("server", "model", "quant_id", "uri", "files"),
    [
        (
            "llama-server", QWEN3_14B, "Q4_K_M",
            "hf:unsloth/Qwen3-14B-GGUF@main/Qwen3-14B-Q4_K_M.gguf", ("Qwen3-14B-Q4_K_M.gguf",),
        ),
        (
            "llama-server", QWEN3_14B, "F16",
            "hf:ggml-org/Qwen3-14B-GGUF@main/Qwen3-14B-f16.gguf", ("Qwen3-14B-f16.gguf",),
        ),
        (
            "localai", EMBEDDING, "Q8_0",
            "hf:mradermacher/Qwen3-Embedding-0.6B-GGUF@main/Qwen3-Embedding-0.6B.Q8_0.gguf",
            ("Qwen3-Embedding-0.6B.Q8_0.gguf",),
        ),
        # As unsloth's repository lists it: three parts in a folder of the quant.
        (
            "llama-server", MOE, "Q4_K_M",
            "hf:unsloth/Qwen3-235B-A22B-GGUF@main/Q4_K_M/Qwen3-235B-A22B-Q4_K_M-00001-of-00003.gguf",
            tuple(f"Q4_K_M/Qwen3-235B-A22B-Q4_K_M-0000{part}-of-00003.gguf" for part in (1, 2, 3)),
        ),
        ("llama-server", GPT_OSS, "MXFP4_MOE", "hf:unsloth/gpt-oss-20b-GGUF@main/gpt-oss-20b-F16.gguf",
         ("gpt-oss-20b-F16.gguf",)),
        ("ollama", QWEN3_14B, "Q4_K_M", "ollama:qwen3:14b", ()),
        ("ollama", QWEN3_14B, "Q8_0", "ollama:hf.co/unsloth/Qwen3-14B-GGUF:Q8_0", ()),
        ("ollama", GPT_OSS, "MXFP4_MOE", "ollama:gpt-oss:20b", ()),
        ("ollama", EMBEDDING, "Q8_0", "ollama:qwen3-embedding:0.6b", ()),
        ("vllm", QWEN3_14B, "AWQ", "hf:Qwen/Qwen3-14B-AWQ@main", ("Qwen3-14B-AWQ",)),
        ("vllm", QWEN3_14B, "BF16", "hf:Qwen/Qwen3-14B@main", ("Qwen3-14B",)),
        ("vllm", R1, "FP8", "hf:deepseek-ai/DeepSeek-R1-Distill-Qwen-32B@main", ("DeepSeek-R1-Distill-Qwen-32B",)),
        ("mlx-lm", QWEN3_14B, "MLX-4bit", "hf:mlx-community/Qwen3-14B-4bit@main", ("Qwen3-14B-4bit",)),
    ],
)  # fmt: skip
def test_sources(server: str, model: Model, quant_id: str, uri: str, files: tuple[str, ...]) -> None:
    source = SERVERS[server].source(model, quant(quant_id))
    assert source is not None
    assert (source.uri, source.file_names) == (uri, files)


@pytest.mark.parametrize(
    ("repo", "year", "parameters", "quant_id", "files"),
    [
        # Listings as quoted in public download scripts.
        ("unsloth/DeepSeek-V3-0324-GGUF", "2025", 671e9, "Q4_K_M",
         "Q4_K_M/DeepSeek-V3-0324-Q4_K_M-00001-of-00009.gguf"),
        ("unsloth/MiniMax-M2.5-GGUF", "2026-02", 228.7e9, "Q4_K_M",
         "Q4_K_M/MiniMax-M2.5-Q4_K_M-00001-of-00004.gguf"),
        ("unsloth/Qwen3-235B-A22B-GGUF", "2025", 235.1e9, "Q8_0",
         "Q8_0/Qwen3-235B-A22B-Q8_0-00001-of-00006.gguf"),
        ("unsloth/Qwen3.5-397B-A17B-GGUF", "2026-02", 397e9, "Q4_K_M",
         "Q4_K_M/Qwen3.5-397B-A17B-Q4_K_M-00001-of-00006.gguf"),
        ("unsloth/Qwen3.5-122B-A10B-GGUF", "2026-02", 122e9, "Q4_K_M",
         "Q4_K_M/Qwen3.5-122B-A10B-Q4_K_M-00001-of-00003.gguf"),
        ("unsloth/GLM-4.6-GGUF", "2025-09", 355e9, "Q4_K_M",
         "Q4_K_M/GLM-4.6-Q4_K_M-00001-of-00005.gguf"),
        ("unsloth/GLM-4.5-Air-GGUF", "2025-07", 110e9, "Q4_K_M",
         "Q4_K_M/GLM-4.5-Air-Q4_K_M-00001-of-00002.gguf"),
        ("bartowski/Qwen_Qwen3.5-122B-A10B-GGUF", "2026-02", 122e9, "Q4_K_M",
         "Qwen_Qwen3.5-122B-A10B-Q4_K_M/Qwen_Qwen3.5-122B-A10B-Q4_K_M-00001-of-00002.gguf"),
        ("bartowski/Llama-3.3-70B-Instruct-GGUF", "2024", 70.6e9, "Q6_K",
         "Llama-3.3-70B-Instruct-Q6_K/Llama-3.3-70B-Instruct-Q6_K-00001-of-00002.gguf"),
        ("bartowski/Llama-3.3-70B-Instruct-GGUF", "2024", 70.6e9, "Q4_K_M", "Llama-3.3-70B-Instruct-Q4_K_M.gguf"),
        ("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "2024", 8e9, "Q4_K_M", "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"),
    ],
)  # fmt: skip
def test_file_names_of_publishers(repo: str, year: str, parameters: float, quant_id: str, files: str) -> None:
    model = Model(id="m", name="M", family="m", released=year, artifacts=Artifacts(gguf=(repo,)))
    model = replace(model, published=replace(model.published, total_parameters=int(parameters)))
    assert gguf.file_names(repo, model, quant_id)[0] == files


def test_parts_that_must_be_joined_by_hand_are_not_offered() -> None:
    large = replace(MOE, artifacts=Artifacts(gguf=("mradermacher/Qwen3-235B-A22B-GGUF",)))
    assert gguf.quants_of(large) == ()


def test_a_derived_file_name_says_so() -> None:
    derived = gguf.hub_source(QWEN3_14B, quant("Q4_K_M"))
    listed = gguf.hub_source(GPT_OSS, quant("MXFP4_MOE"))
    assert derived is not None
    assert "unsloth" in (derived.note or "")
    assert listed is not None
    assert listed.note is None


@pytest.mark.parametrize("name", ["-Q/evil-GGUF", "a\nb/x-GGUF", "unsloth/../../etc-GGUF\x00"])
def test_hostile_repositories_are_refused(name: str) -> None:
    model = replace(QWEN3_14B, artifacts=Artifacts(gguf=(name,)))
    with pytest.raises(RenderError):
        gguf.hub_source(model, quant("Q4_K_M"))


def test_models_and_servers_of_the_catalog_agree() -> None:
    """Every quant offered has a source, an entry in the quant catalog, and no objection."""
    catalog = load_catalog()
    for server, hardware in (("llama-server", RTX_4090), ("ollama", RTX_4090), ("localai", SERVER), ("vllm", BLACKWELL),
                             ("vllm", RADEON), ("vllm", SERVER), ("mlx-lm", MAC)):  # fmt: skip
        room, form = SERVERS[server], catalog.server(server).formats[0]
        offered = 0
        for model in catalog.models.values():
            for quant_id in room.quants(model, hardware):
                found = catalog.quant(quant_id, form)
                assert room.source(model, found) is not None, (server, model.id, quant_id)
                assert room.supports(model, found, hardware) == (), (server, model.id, quant_id)
                offered += 1
        assert offered > 50, server
