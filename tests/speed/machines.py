"""Hand-made machines, models and footprints: every figure is written out, nothing comes from other rooms."""

from __future__ import annotations

from planner.catalog.records.quant import Quant
from planner.hardware.facts import Cpu, Gpu, Hardware, Memory, NumaNode
from planner.sizing.records import (
    ExpandedModel,
    Footprint,
    LayerCache,
    ModelShape,
    Placement,
    Pool,
    PoolUse,
    Runtime,
)
from planner.speed.estimate import estimate_speed
from planner.speed.records import Speed

GB = 1_000_000_000


def rtx_3090(**changes: object) -> Gpu:
    """936.2 GB/s, 35.58 TFLOP/s FP32, 142.3 TFLOP/s dense FP16 tensor."""
    facts: dict[str, object] = {
        "vendor": "nvidia",
        "name": "RTX 3090",
        "backend": "cuda",
        "architecture": "Ampere",
        "memory_bytes": 24 * 1024**3,
        "bandwidth_bytes_per_s": 936.2e9,
        "fp16_flops_per_s": 142.3e12,
        "fp32_flops_per_s": 35.58e12,
        "compute_capability": "8.6",
    }
    return Gpu(**(facts | changes))  # type: ignore[arg-type]


def host(
    *gpus: Gpu, cores: int = 16, nodes: int = 1, ram_bandwidth: float | None = 80e9, isa: tuple[str, ...] = ("avx2",)
) -> Hardware:
    per_node = cores // nodes
    node_bandwidth = ram_bandwidth / nodes if ram_bandwidth else None
    return Hardware(
        cpu=Cpu(model="CPU", cores=cores, threads=cores, isa=isa, architecture="x86_64"),
        numa_nodes=tuple(
            NumaNode(
                id=n,
                cpus=tuple(range(n * per_node, (n + 1) * per_node)),
                memory_bytes=64 * 1024**3,
                bandwidth_bytes_per_s=node_bandwidth,
            )
            for n in range(nodes)
        ),
        memory=Memory(total_bytes=128 * 1024**3),
        gpus=gpus,
    )


def llama_3_8b() -> ExpandedModel:
    """32 layers, 32 heads, 8 KV heads of 128; 8.03 B parameters, 7.505 B without the input embedding."""
    return ExpandedModel(
        shape=ModelShape(
            id="llama-3-8b",
            gguf_architecture="llama",
            layers=32,
            hidden_size=4096,
            vocabulary_size=128_256,
            intermediate_size=14336,
            heads=32,
            kv_heads=8,
            head_dim=128,
            total_parameters=8_030_261_248,
            stored_parameters=8_030_261_248,
            active_parameters=8_030_261_248,
            read_parameters=7_504_924_672,
        ),
        groups=(),
        caches=(LayerCache(kind="full", layers=tuple(range(32)), k_width=1024, v_width=1024, heads=8),),
    )


def qwen3_30b_a3b() -> ExpandedModel:
    """48 expert layers, 8 of 128 experts; 30.5 B parameters, 29.0 B of them routed experts."""
    return ExpandedModel(
        shape=ModelShape(
            id="qwen3-30b-a3b",
            gguf_architecture="qwen3moe",
            layers=48,
            hidden_size=2048,
            vocabulary_size=151_936,
            intermediate_size=6144,
            heads=32,
            kv_heads=4,
            head_dim=128,
            experts=128,
            active_experts=8,
            expert_intermediate_size=768,
            moe_layers=48,
            total_parameters=30_532_122_624,
            stored_parameters=30_532_122_624,
            active_parameters=3_353_000_000,
            read_parameters=3_042_000_000,
            expert_parameters=28_991_029_248,
        ),
        groups=(),
        caches=(LayerCache(kind="full", layers=tuple(range(48)), k_width=512, v_width=512, heads=4),),
    )


def quant(speed_class: str = "4bit-k", quant_id: str = "Q4_K_M") -> Quant:
    return Quant(id=quant_id, format="gguf", scheme="k-mix", nominal_bits=4.85, speed_class=speed_class)  # type: ignore[arg-type]


def gpu_pool(index: int = 0, bandwidth: float | None = None) -> Pool:
    size = 24 * 1024**3
    return Pool(
        id=f"gpu{index}",
        kind="gpu",
        capacity_bytes=size,
        usable_bytes=size,
        gpu=index,
        bandwidth_bytes_per_s=bandwidth,
    )


def ram_pool(node: int = 0) -> Pool:
    size = 64 * 1024**3
    return Pool(id=f"ram{node}", kind="ram", capacity_bytes=size, usable_bytes=size, node=node)


def footprint(expanded: ExpandedModel, *uses: PoolUse, parallel: int = 64) -> Footprint:
    weights = sum(use.weights_bytes for use in uses)
    return Footprint(
        model=expanded.shape.id,
        quant="Q4_K_M",
        server="llama-server",
        file_bytes=weights,
        tensor_bytes=weights,
        weights_bytes=weights,
        kv_cache_bytes=0,
        state_bytes=0,
        compute_bytes=0,
        overhead_bytes=0,
        bits_per_weight=4.85,
        read_bytes_per_token=sum(use.dense_read_bytes + use.expert_read_bytes for use in uses),
        kv_bytes_per_token=0,
        pools=uses,
        parallel=parallel,
    )


def use(
    pool: str, dense: float, *, expert: float = 0.0, resident: float = 0.0, layers: int, cache: float = 1.0
) -> PoolUse:
    return PoolUse(
        pool=pool,
        weights_bytes=int(dense + resident),
        dense_read_bytes=int(dense),
        expert_read_bytes=int(expert),
        expert_bytes=int(resident),
        layers=layers,
        cache_share=cache,
    )


def ask(
    expanded: ExpandedModel,
    hardware: Hardware,
    uses: tuple[PoolUse, ...],
    pools: tuple[Pool, ...],
    placement: Placement,
    *,
    stack: str = "llama.cpp-cuda",
    quant_class: str = "4bit-k",
    depth: int = 0,
    prompt: int = 512,
    output: int = 256,
    users: int = 1,
    context: int = 65536,
    parallel: int = 64,
    runtime: Runtime | None = None,
    engine_build: str | None = None,
) -> Speed:
    return estimate_speed(
        expanded,
        quant(quant_class),
        footprint(expanded, *uses, parallel=parallel),
        hardware,
        pools,
        placement,
        stack=stack,
        runtime=runtime or Runtime(context_tokens=context, parallel=parallel),
        depth=depth,
        prompt_tokens=prompt,
        output_tokens=output,
        concurrency=users,
        engine_build=engine_build,
    )


GPU = Placement(kind="gpu", gpus=(0,), text="GPU")
CPU = Placement(kind="cpu", text="CPU")
LLAMA_Q4_READ = 4.58 * GB
"""Q4_K_M file of 4.918 GB less the Q4_K embedding (525 M x 4.5 bits / 8 = 0.295 GB), rounded."""


def on_3090(**question: object) -> Speed:
    expanded = llama_3_8b()
    hardware = question.pop("hardware", None) or host(rtx_3090())
    read = question.pop("read", LLAMA_Q4_READ)
    return ask(expanded, hardware, (use("gpu0", read, layers=32),), (gpu_pool(),), GPU, **question)  # type: ignore[arg-type]
