"""What llama-server, Ollama and LocalAI share: llama.cpp reads GGUF, lays out memory and places layers."""

from __future__ import annotations

import math

import msgspec
from msgspec.structs import replace

from planner.catalog.records import Model, Quant
from planner.hardware.facts import Hardware
from planner.servers.devices import used_gpus
from planner.servers.limits import check_trained, context_objections, pools_by_id
from planner.servers.records import Objection, Service
from planner.sizing.records import Allocation, KvType, Placement
from planner.units import GIB, MIB

# --cache-type-k of common/arg.cpp, b11434.
KV_TYPES = frozenset({"f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"})

# Elements of one block of every quantized cache type (ggml-common.h): a head must consist of whole blocks.
KV_BLOCK, WHOLE_KV_TYPES = 32, frozenset({"f32", "f16", "bf16"})

# A CUDA context takes 107 MiB on an RTX 4060 Ti and 555 MiB on an RTX PRO 6000, growing with the number of
# multiprocessors (llama.cpp PR 20595 and PR 23604); large cards are told by their memory.
CONTEXT_BYTES, LARGE_CONTEXT_BYTES, LARGE_GPU_BYTES = 300 * MIB, 600 * MIB, 40 * GIB

# llama-server's and its libraries' own memory beside weights, caches and buffers: 100 to 200 MiB (measured on CPU),
# and as much again for requests in flight.
PROCESS_BYTES = 512 * MIB

# Loading the weights is all the time there is, but for kernels compiled on first use.
ENGINE_START_S = 10.0

BATCH_TOKENS, UBATCH_TOKENS = 2048, 512


def allocation(model: Model, hardware: Hardware, placement: Placement) -> Allocation:
    """llama.cpp's memory rules with the device context of these GPUs, and the micro-batch that the launch sets."""
    found = _allocation(hardware, placement)
    return replace(found, batch_tokens=BATCH_TOKENS) if takes_whole_texts(model) else found


def _allocation(hardware: Hardware, placement: Placement) -> Allocation:
    gpus = used_gpus(hardware, placement)
    if not gpus:
        return Allocation(policy="llama.cpp", buffers="llama.cpp", device_overhead_source="no device context on a CPU")
    if all(gpu.unified for gpu in gpus):
        source = "assumed: Metal and integrated GPUs keep little beside the buffers"
        return Allocation(
            policy="llama.cpp", buffers="llama.cpp", device_overhead_bytes=128 * MIB, device_overhead_source=source
        )
    large = any((gpu.memory_bytes or 0) >= LARGE_GPU_BYTES for gpu in gpus)
    return Allocation(
        policy="llama.cpp",
        buffers="llama.cpp",
        device_overhead_bytes=LARGE_CONTEXT_BYTES if large else CONTEXT_BYTES,
        device_overhead_source="assumed: device context, 107 to 555 MiB (llama.cpp PR 20595, PR 23604)",
    )


def objections(
    model: Model,
    quant: Quant,
    hardware: Hardware,
    placement: Placement | None,
    kv_type: KvType | None,
    context_tokens: int | None = None,
) -> tuple[Objection, ...]:
    """What every server built on llama.cpp refuses."""
    found: list[Objection] = [] if has_yarn(model) else [*context_objections(model, context_tokens)]
    if quant.format != "gguf":
        found.append(Objection(reason_id="format", text=f"reads GGUF files; {quant.id} is a {quant.format} format"))
    if model.kind == "image":
        found.append(Objection(reason_id="kind", text="llama.cpp generates no images"))
    found += _placement_objections(hardware, placement)
    if kv_type is not None and not {kv_type.k, kv_type.v} <= KV_TYPES:
        known = ", ".join(sorted(KV_TYPES))
        found.append(
            Objection(reason_id="kv-type", text=f"llama.cpp has no cache type {kv_type.label}: one of {known}")
        )
    head = model.architecture.head_dim if model.architecture else None
    if kv_type is not None and head and head % KV_BLOCK and not {kv_type.k, kv_type.v} <= WHOLE_KV_TYPES:
        text = f"quantizes caches in blocks of {KV_BLOCK}, which do not divide the head size {head}"
        found.append(Objection(reason_id="kv-type", text=text))
    return tuple(found)


def _placement_objections(hardware: Hardware, placement: Placement | None) -> list[Objection]:
    if placement is None:
        return []
    found = []
    if placement.tensor_parallel > 1:
        text = "splits layers over GPUs; its tensor split is experimental"
        found.append(Objection(reason_id="tensor-parallel", text=text))
    backends = {gpu.backend for gpu in used_gpus(hardware, placement)}
    if len(backends) > 1:
        text = f"one build drives one kind of GPU, the placement needs {' and '.join(sorted(backends))}"
        found.append(Objection(reason_id="mixed-gpus", text=text))
    return found


def expert_blocks_on_cpu(model: Model, placement: Placement) -> int:
    """The N of `--n-cpu-moe N`, which keeps the routed experts of the first N blocks in RAM: the planned count of
    expert blocks and the blocks without experts that stand before the last of them."""
    wanted = placement.cpu_expert_layers
    architecture = model.architecture
    if not wanted or architecture is None or architecture.moe is None:
        return wanted
    moe = architecture.moe
    blocks = moe.layers or tuple(range(moe.dense_layers, architecture.layers, max(1, moe.every)))
    return blocks[min(wanted, len(blocks)) - 1] + 1 if blocks else wanted


def projector(service: Service) -> str | None:
    """The image projector among the service's files, None without one."""
    return next((name for name in service.source.file_names if "mmproj" in name), None)


def projector_bytes(service: Service, model: Model) -> int:
    """The projector's size in 16 bits; 0.5 billion parameters where the catalog does not count them (encoders of
    today's vision models have 0.3 to 0.9)."""
    return 2 * (model.published.vision_parameters or 500_000_000) if projector(service) else 0


def projector_on_gpu(service: Service, model: Model, hardware: Hardware) -> bool:
    """Whether the work buffer of the projector, which the plan counts without it, surely fits beside the plan: once
    more its size, on the GPU with the least room left."""
    pools = pools_by_id(hardware)
    left = [
        pools[use.pool].usable_bytes - use.total_bytes
        for use in service.footprint.pools
        if use.pool in pools and pools[use.pool].kind != "ram"
    ]
    return bool(left) and min(left) >= projector_bytes(service, model)


class Yarn(msgspec.Struct, frozen=True):
    """A context stretched beyond the trained one: by which factor, and from how many tokens."""

    factor: int
    native_tokens: int


def has_yarn(model: Model) -> bool:
    """Whether the vendor names YaRN as the way to a longer context."""
    return model.context is not None and "yarn" in (model.context.how or "").casefold()


def yarn(service: Service, model: Model) -> Yarn | None:
    """The stretch that a planned context needs, None within the trained length. Raises RenderError when the model
    has no YaRN extension."""
    known = model.context
    if known is None or service.context <= known.native_tokens:
        return None
    if not has_yarn(model):
        check_trained(service, model)
    return Yarn(factor=math.ceil(service.context / known.native_tokens), native_tokens=known.native_tokens)


def gpu_layers(service: Service) -> int | None:
    """llama.cpp's count of layers on the GPUs: 0 without GPU, None for all; it takes the output layer first, so that
    N blocks are N + 1 (`i_gpu_start = n_layer + 1 - n_gpu_layers`, src/llama-model.cpp)."""
    placement = service.placement
    if not placement.gpus:
        return 0
    return None if placement.gpu_layers is None else placement.gpu_layers + 1 if placement.gpu_layers else 0


def total_context(service: Service) -> int:
    """llama.cpp's context is shared by its slots: what one user gets times the slots."""
    return service.context * service.parallel


def takes_whole_texts(model: Model) -> bool:
    """Encoders, which attend in both directions."""
    architecture = (model.architecture.gguf or "") if model.architecture else ""
    return model.kind == "embedding" and ("bert" in architecture or "embedding" in architecture)


def batch_tokens(service: Service, model: Model) -> tuple[int, int]:
    """Logical and physical batch. An encoder attends in both directions and needs the whole text in one physical
    batch; texts above 2048 tokens are refused by the server."""
    if takes_whole_texts(model):
        return BATCH_TOKENS, max(UBATCH_TOKENS, min(service.context, BATCH_TOKENS))
    return BATCH_TOKENS, UBATCH_TOKENS


def tensor_split(service: Service) -> tuple[int, ...]:
    """Shares of the GPUs: the planned blocks of each, else equal ones. Empty with fewer than two GPUs.

    llama.cpp divides blocks and the output by these shares, the output last: the last GPU's share counts it too."""
    gpus = service.placement.gpus
    if len(gpus) < 2:
        return ()
    planned = {use.pool: use.layers for use in service.footprint.pools}
    layers = [planned.get(f"gpu{index}", 0) for index in gpus]
    return (*layers[:-1], layers[-1] + 1) if all(layers) else tuple(1 for _ in gpus)
