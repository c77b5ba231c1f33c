"""Small models, machines and services made by hand."""

from __future__ import annotations

from typing import Any

from planner.catalog.records import Architecture, Artifact, Artifacts, Model, Published, Quant
from planner.catalog.records.architecture import Moe
from planner.catalog.records.policy import Sampling
from planner.hardware.facts import Cpu, Gpu, Hardware, Memory, NumaNode, Os
from planner.servers import SERVERS
from planner.servers.records import Service
from planner.sizing.records import Footprint, KvType, Placement, PoolUse
from planner.speed.records import Speed
from planner.units import GIB, MIB

QWEN3_14B = Model(
    id="qwen3-14b",
    name="Qwen3-14B",
    family="qwen3",
    repo="Qwen/Qwen3-14B",
    tool_calling=True,
    thinking="hybrid",
    artifacts=Artifacts(
        ollama="qwen3:14b",
        gguf=("unsloth/Qwen3-14B-GGUF", "ggml-org/Qwen3-14B-GGUF", "mradermacher/Qwen3-14B-GGUF"),
        awq="Qwen/Qwen3-14B-AWQ",
        gptq_int4="JunHowie/Qwen3-14B-GPTQ-Int4",
        fp8="Qwen/Qwen3-14B-FP8",
        nvfp4="nvidia/Qwen3-14B-NVFP4",
        mlx_4bit=Artifact(repo="mlx-community/Qwen3-14B-4bit"),
    ),
    architecture=Architecture(
        layers=40, hidden_size=5120, vocabulary_size=151936, intermediate_size=17408, heads=40, kv_heads=8, head_dim=128
    ),
    published=Published(total_parameters=14_768_307_200),
)

MOE = Model(
    id="qwen3-235b-a22b",
    name="Qwen3-235B-A22B",
    family="qwen3",
    repo="Qwen/Qwen3-235B-A22B",
    thinking="hybrid",
    artifacts=Artifacts(ollama="qwen3:235b-a22b-q4_K_M", gguf=("unsloth/Qwen3-235B-A22B-GGUF",)),
    architecture=Architecture(
        layers=94, hidden_size=4096, vocabulary_size=151936, heads=64, kv_heads=4, head_dim=128,
        moe=Moe(experts=128, active=8, intermediate_size=1536),
    ),
    published=Published(total_parameters=235_093_634_560),
)  # fmt: skip

GPT_OSS = Model(
    id="gpt-oss-20b",
    name="gpt-oss-20b",
    family="gpt-oss",
    repo="openai/gpt-oss-20b",
    thinking="effort",
    tool_calling=True,
    artifacts=Artifacts(
        ollama="gpt-oss:20b",
        gguf=("unsloth/gpt-oss-20b-GGUF", "ggml-org/gpt-oss-20b-GGUF"),
        mlx_4bit=Artifact(repo="mlx-community/gpt-oss-20b-MXFP4-Q8"),
    ),
    published=Published(total_parameters=20_914_757_184),
)

EMBEDDING = Model(
    id="qwen3-embedding-0.6b",
    name="Qwen3-Embedding-0.6B",
    family="qwen3-embedding",
    kind="embedding",
    repo="Qwen/Qwen3-Embedding-0.6B",
    artifacts=Artifacts(ollama="qwen3-embedding:0.6b", gguf=("mradermacher/Qwen3-Embedding-0.6B-GGUF",)),
    published=Published(total_parameters=595_776_512),
)

IMAGE = Model(
    id="flux.1-schnell", name="FLUX.1-schnell", family="flux.1", kind="image", repo="black-forest-labs/FLUX.1-schnell"
)

R1 = Model(
    id="deepseek-r1-distill-qwen-32b",
    name="DeepSeek-R1-Distill-Qwen-32B",
    family="deepseek-r1-distill",
    repo="deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
    thinking="always",
    artifacts=Artifacts(gguf=("bartowski/DeepSeek-R1-Distill-Qwen-32B-GGUF",)),
    published=Published(total_parameters=32_763_876_352),
)


def quant(id: str) -> Quant:  # noqa: A002
    if id.startswith("MLX-"):
        return Quant(id=id, format="mlx", scheme="affine", nominal_bits=4, speed_class="4bit-simple")
    hf = {"AWQ", "GPTQ-INT4", "FP8", "FP8-block", "NVFP4", "MXFP4", "BF16", "FP16", "W4A16"}
    return Quant(id=id, format="hf" if id in hf else "gguf", scheme="k-mix", nominal_bits=4, speed_class="4bit-k")


def gpu(name: str, gib: float, capability: str | None, **more: Any) -> Gpu:
    fields = {"vendor": "nvidia", "backend": "cuda", **more}
    return Gpu(name=name, memory_bytes=int(gib * GIB), compute_capability=capability, **fields)


XEON = Cpu(model="Xeon", architecture="x86_64", sockets=2, cores=32, threads=64, isa=("avx2", "avx512f"))
TWO_NODES = (
    NumaNode(id=0, cpus=tuple(range(16)) + tuple(range(32, 48)), memory_bytes=128 * GIB, bandwidth_bytes_per_s=120e9),
    NumaNode(
        id=1, cpus=tuple(range(16, 32)) + tuple(range(48, 64)), memory_bytes=128 * GIB, bandwidth_bytes_per_s=120e9
    ),
)
LINUX = Os(name="linux")
ONE_NODE = (NumaNode(id=0, cpus=tuple(range(32)), memory_bytes=64 * GIB, bandwidth_bytes_per_s=60e9),)
DESKTOP = Cpu(model="Ryzen 9", architecture="x86_64", sockets=1, cores=16, threads=32, isa=("avx2",))

RTX_4090 = Hardware(
    cpu=DESKTOP,
    numa_nodes=ONE_NODE,
    memory=Memory(total_bytes=64 * GIB),
    gpus=(gpu("RTX 4090", 24, "8.9", uuid="GPU-aaaa"),),
    os=LINUX,
)
TWO_3090 = Hardware(
    cpu=DESKTOP,
    numa_nodes=ONE_NODE,
    memory=Memory(total_bytes=64 * GIB),
    gpus=(gpu("RTX 3090", 24, "8.6", uuid="GPU-aaaa"), gpu("RTX 3090", 24, "8.6", uuid="GPU-bbbb")),
    os=LINUX,
)
SERVER = Hardware(cpu=XEON, numa_nodes=TWO_NODES, memory=Memory(total_bytes=256 * GIB), os=LINUX)
RADEON = Hardware(
    cpu=DESKTOP,
    numa_nodes=ONE_NODE,
    memory=Memory(total_bytes=64 * GIB),
    gpus=(gpu("RX 7900 XTX", 24, None, vendor="amd", backend="rocm", architecture="gfx1100"),),
    os=LINUX,
)
MAC = Hardware(
    cpu=Cpu(model="Apple M4 Max", architecture="arm64", cores=16),
    numa_nodes=(NumaNode(id=0, memory_bytes=64 * GIB, bandwidth_bytes_per_s=546e9),),
    memory=Memory(total_bytes=64 * GIB),
    gpus=(
        Gpu(
            vendor="apple",
            backend="metal",
            name="M4 Max",
            memory_bytes=64 * GIB,
            working_set_bytes=48 * GIB,
            unified=True,
        ),
    ),
    os=Os(name="macos"),
)

ON_GPU = Placement(kind="gpu", gpus=(0,))
ON_CPU = Placement(kind="cpu")
UNIFIED = Placement(kind="unified", gpus=(0,))


def footprint(model: Model, placement: Placement, *, weights: int = 9 * GIB, cache: int = 2 * GIB) -> Footprint:
    pools: tuple[PoolUse, ...] = (
        PoolUse(pool="ram", weights_bytes=weights, kv_cache_bytes=cache, compute_bytes=200 * MIB),
    )
    if placement.kind == "unified":
        pools = (PoolUse(pool="unified", weights_bytes=weights, kv_cache_bytes=cache),)
    elif placement.gpus:
        share = len(placement.gpus)
        pools = tuple(
            PoolUse(pool=f"gpu{index}", weights_bytes=weights // share, kv_cache_bytes=cache // share, layers=20)
            for index in placement.gpus
        )
    return Footprint(
        model=model.id, quant="", server="", file_bytes=weights, tensor_bytes=weights, weights_bytes=weights,
        kv_cache_bytes=cache, state_bytes=0, compute_bytes=200 * MIB, overhead_bytes=0, bits_per_weight=4.9,
        read_bytes_per_token=weights, kv_bytes_per_token=163840, pools=pools,
    )  # fmt: skip


def service(
    server: str, subject: Model, quant_id: str, placement: Placement, hardware: Hardware, **more: Any
) -> Service:
    room = SERVERS[server]
    role = {"embedding": "embedding", "image": "image"}.get(subject.kind, "interactive")
    fields: dict[str, Any] = {
        "name": "chat",
        "role": role,
        "model": subject.id,
        "model_name": subject.name,
        "quant": quant_id,
        "server": server,
        "backend": room.backend(hardware, placement),
        "placement": placement,
        "footprint": footprint(subject, placement),
        "speed": Speed(),
        "sampling": Sampling(),
        "context": 8192,
        "parallel": 4,
        "kv_type": KvType(),
        "source": room.source(subject, quant(quant_id)),
        "port": 8080,
    }
    return Service(**{**fields, **more})
