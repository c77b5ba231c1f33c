"""vLLM: a safetensors repository in the models folder, served with paged attention; nothing is offloaded."""

from __future__ import annotations

import math

from msgspec.structs import replace

from planner.catalog.records import Model, Quant, Sampling, ServerFacts
from planner.hardware.facts import Backend, Hardware
from planner.servers.base import API_KEY, LOOPBACK
from planner.servers.checkpoints import checkpoints
from planner.servers.devices import compute_capability, gpu_backend, threads, used_gpus
from planner.servers.frame import MODELS_MOUNT, framed
from planner.servers.limits import check_trained, context_objections, pools_by_id
from planner.servers.parsers import parsers_of
from planner.servers.records import Argument, Health, Launch, ModelSource, Mount, Objection, Service
from planner.servers.sampling import template_switch
from planner.servers.vllm_notes import notes_of
from planner.servers.vllm_platform import platform_objections, preference, quant_objection
from planner.servers.words import checked_file, checked_name, json_word, models_word, option, words
from planner.sizing.records import Allocation, KvType, Placement
from planner.units import GIB, MIB

id = "vllm"  # noqa: A001 - the room's name, as its Protocol says

# --kv-cache-dtype by the names that plans use; keys and values always alike.
KV_DTYPES = {"f16": "auto", "bf16": "auto", "fp8": "fp8", "fp8_e4m3": "fp8_e4m3", "fp8_e5m2": "fp8_e5m2"}

# Context and libraries 0.3 to 0.6 GiB, CUDA graphs 0.3 to 1 GiB (gpustack/runner PR 251, pytorch issue 107667);
# NCCL's buffers for every further rank (PR 10511 saw more in 2024). Uncertain to a gibibyte.
OVERHEAD_BYTES, NCCL_BYTES = 1 * GIB, GIB // 2

# gpu_memory_utilization's default (config/cache.py): what one instance may take of a card.
MEMORY_FRACTION = 0.92

# Host memory of the API server and the engine core with PyTorch, and of each further rank. Assumed.
PROCESS_BYTES, RANK_BYTES = 6 * GIB, 3 * GIB

# Compilation and graph capture, beside reading the weights (load anchors: 10 minutes for 109B on 4 GPUs in all).
ENGINE_START_S = 120.0

# Prefill tokens per step: vLLM's own defaults for small and for 70 GiB cards (engine/arg_utils.py). [K]
BATCH_TOKENS, LARGE_BATCH_TOKENS, LARGE_GPU_BYTES = 2048, 8192, 70 * GIB

# PyTorch's workers pass tensors through /dev/shm; Docker's default of 64 MiB is too little. Assumed per rank.
SHM_BYTES_PER_RANK = 4 * GIB

# Compiled kernels and graphs; the image's unprivileged user owns it.
CACHE_FOLDER = "/home/vllm/.cache"

# The pool must hold one request of full length, in whole blocks of 16 tokens per layer group: a little above the plan.
KV_MARGIN = 1.02


def quants(model: Model, hardware: Hardware) -> tuple[str, ...]:
    """Quants with a repository in the catalog and kernels for this hardware."""
    if model.kind == "image" or platform_objections(hardware, None):
        return ()
    known = checkpoints(model)
    return tuple(
        quant_id
        for quant_id in preference(hardware)
        if quant_id in known and quant_objection(quant_id, hardware, None, online=bool(known[quant_id].online)) is None
    )


def supports(
    model: Model,
    quant: Quant,
    hardware: Hardware,
    placement: Placement | None = None,
    *,
    kv_type: KvType | None = None,
    context_tokens: int | None = None,
) -> tuple[Objection, ...]:
    """Safetensors of a known repository on NVIDIA, AMD or AVX-512, whole on the GPUs, heads divisible by the ranks."""
    found = [*platform_objections(hardware, placement), *context_objections(model, context_tokens)]
    if quant.format != "hf":
        text = f"reads safetensors repositories; {quant.id} is a {quant.format} format (GGUF left vLLM's core)"
        return (*found, Objection(reason_id="format", text=text))
    if model.kind == "image":
        found.append(Objection(reason_id="kind", text="generates no images"))
    known = checkpoints(model).get(quant.id)
    if known is None:
        found.append(Objection(reason_id="no-source", text=f"no repository known that holds {model.id} as {quant.id}"))
    elif not found:
        missing = quant_objection(quant.id, hardware, placement, online=bool(known.online))
        found += [Objection(reason_id="quant-kernel", text=missing)] if missing else []
    return (*found, *_placement_objections(model, placement), *_kv_objections(kv_type))


def _placement_objections(model: Model, placement: Placement | None) -> list[Objection]:
    if placement is None:
        return []
    if placement.kind in ("split", "experts-in-ram") or (placement.gpus and placement.gpu_layers is not None):
        return [Objection(reason_id="offload", text="keeps the whole model on the GPUs: no split with the CPU")]
    heads = model.architecture.heads if model.architecture else None
    if heads and heads % placement.tensor_parallel:
        text = f"{heads} attention heads cannot be divided among {placement.tensor_parallel} GPUs"
        return [Objection(reason_id="tensor-parallel", text=text)]
    return []


def _kv_objections(kv_type: KvType | None) -> list[Objection]:
    if kv_type is None or (kv_type.k == kv_type.v and kv_type.k in KV_DTYPES):
        return []
    known = ", ".join(KV_DTYPES)
    return [
        Objection(reason_id="kv-type", text=f"takes one cache type for keys and values of {known}; not {kv_type.label}")
    ]


def allocation(model: Model, quant: Quant, hardware: Hardware, placement: Placement) -> Allocation:  # noqa: ARG001
    """Paged cache and activations, with context, graphs and NCCL per GPU."""
    if not placement.gpus:
        return Allocation(
            policy="vllm",
            buffers="vllm",
            device_overhead_source="no device context on a CPU",
            batch_tokens=_usual_batch(hardware, placement),
        )
    ranks = max(placement.tensor_parallel, 1)
    return Allocation(
        policy="vllm",
        buffers="vllm",
        device_overhead_bytes=OVERHEAD_BYTES + (NCCL_BYTES if ranks > 1 else 0),
        device_overhead_source="assumed: context and CUDA graphs (gpustack/runner PR 251), NCCL above one rank",
        gpu_memory_fraction=MEMORY_FRACTION,
        batch_tokens=_usual_batch(hardware, placement),
    )


def backend(hardware: Hardware, placement: Placement) -> Backend:
    """`cuda`, `rocm` or `cpu`."""
    return gpu_backend(hardware, placement)


def stack(hardware: Hardware, placement: Placement) -> str:
    """`vllm-` and the backend."""
    return f"vllm-{backend(hardware, placement)}"


def source(model: Model, quant: Quant) -> ModelSource | None:
    """The whole repository, in a folder of its name."""
    known = checkpoints(model).get(quant.id)
    if known is None:
        return None
    repo = checked_name(known.repo, "repository")
    return ModelSource(uri=f"hf:{repo}@main", file_names=(checked_file(repo.rpartition("/")[2]),))


def launch(service: Service, model: Model, quant: Quant, hardware: Hardware, facts: ServerFacts) -> Launch:
    """`vllm serve FOLDER`: cache and share of the card as planned, parsers of the family, no removed flag."""
    ranks = service.placement.tensor_parallel
    probe = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{service.port}/health', timeout=5)"
    check_trained(service, model)
    start = framed(
        service,
        hardware,
        facts,
        argv=_argv(service, model, quant, hardware),
        health=Health(path="/health", argv=("python3", "-c", probe)),
        served_name=checked_name(service.model, "model"),
        environment=_environment(service, hardware),
        mounts=(MODELS_MOUNT, Mount(source="cache", name="vllm-cache", target=CACHE_FOLDER, read_only=False)),
        own_bytes=PROCESS_BYTES + RANK_BYTES * (ranks - 1) + (SHM_BYTES_PER_RANK * ranks if ranks > 1 else 0),
        engine_s=ENGINE_START_S,
        entrypoint_words=2,
        notes=notes_of(service, model, quant),
    )
    shm = SHM_BYTES_PER_RANK * ranks if ranks > 1 else GIB
    return replace(start, secret_environment=(("VLLM_API_KEY", API_KEY),), shm_bytes=shm)


def _argv(service: Service, model: Model, quant: Quant, hardware: Hardware) -> tuple[Argument, ...]:
    known = checkpoints(model).get(quant.id)
    folder = service.source.file_names[0] if service.source.file_names else service.model
    batch = _batch_tokens(service, model, hardware)
    return (
        *words(id, "serve"),
        models_word(folder),
        *words("--served-model-name", checked_name(service.model, "model"), "--host", LOOPBACK, "--port", service.port),
        *words("--max-model-len", service.context, "--max-num-seqs", service.parallel),
        *words("--max-num-batched-tokens", batch),
        *_memory_words(service, hardware),
        *option("--quantization", known.online if known else None),
        *option("--dtype", _dtype(quant, hardware, service.placement)),
        *_kv_words(service.kv_type),
        *_rank_words(service.placement),
        *(words("--runner", "pooling") if model.kind == "embedding" else _chat_words(service.sampling, model)),
        *words("--disable-access-log-for-endpoints", "/health,/metrics", "--fail-on-environ-validation"),
    )


def _batch_tokens(service: Service, model: Model, hardware: Hardware) -> int:
    """At least a step of every sequence; a pooling model takes whole texts at once."""
    usual = _usual_batch(hardware, service.placement)
    return max(usual, service.parallel, service.context if model.kind == "embedding" else 0)


def _usual_batch(hardware: Hardware, placement: Placement) -> int:
    gpus = used_gpus(hardware, placement)
    large = bool(gpus) and all((gpu.memory_bytes or 0) >= LARGE_GPU_BYTES for gpu in gpus)
    return LARGE_BATCH_TOKENS if large else BATCH_TOKENS


def _memory_words(service: Service, hardware: Hardware) -> tuple[Argument, ...]:
    """The cache to the byte, as planned; the share of the device is what vLLM wants to find free at start."""
    pools = pools_by_id(hardware)
    uses = [use for use in service.footprint.pools if use.pool in pools and use.total_bytes]
    gpu_uses = [use for use in uses if pools[use.pool].kind != "ram"] or uses
    cache = max((use.kv_cache_bytes + use.state_bytes for use in gpu_uses), default=0)
    shares = [use.total_bytes / pools[use.pool].capacity_bytes for use in gpu_uses]
    share = math.ceil(100 * max(shares)) / 100 if shares else MEMORY_FRACTION
    wanted = words("--gpu-memory-utilization", min(max(share, 0.05), MEMORY_FRACTION))
    if not cache:
        return wanted
    return (*wanted, *words("--kv-cache-memory-bytes", math.ceil(cache * KV_MARGIN / MIB) * MIB))


def _dtype(quant: Quant, hardware: Hardware, placement: Placement) -> str | None:
    """float16 where asked for, and on Turing, which has no bfloat16."""
    capability = compute_capability(used_gpus(hardware, placement))
    turing = capability is not None and capability < (8, 0)
    return "float16" if quant.id == "FP16" or turing else None


def _kv_words(kv_type: KvType) -> tuple[Argument, ...]:
    dtype = KV_DTYPES.get(kv_type.k, "auto")
    return () if dtype == "auto" else words("--kv-cache-dtype", dtype)


def _rank_words(placement: Placement) -> tuple[Argument, ...]:
    if placement.tensor_parallel > 1:
        return words("--tensor-parallel-size", placement.tensor_parallel)
    if len(placement.gpus) > 1:
        return words("--pipeline-parallel-size", len(placement.gpus))
    return ()


def _chat_words(sampling: Sampling, model: Model) -> tuple[Argument, ...]:
    parsers = parsers_of(model)
    settings = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
    }
    stated = {name: value for name, value in settings.items() if value is not None}
    return (
        # Requests of the router carry a class; those that name none all have the same.
        *words("--scheduling-policy", "priority"),
        *(words("--enable-auto-tool-choice", "--tool-call-parser", parsers.tools) if parsers.tools else ()),
        *option("--reasoning-parser", parsers.reasoning),
        *option("--override-generation-config", json_word(stated) if stated else None),
        *option(
            "--default-chat-template-kwargs", json_word(template_switch(model)) if sampling.thinking is False else None
        ),
        *option("--seed", sampling.seed),
    )


def _environment(service: Service, hardware: Hardware) -> dict[str, str]:
    """Offline, silent to the maker, and with its caches on a volume."""
    values = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": f"{CACHE_FOLDER}/huggingface",
        "VLLM_CACHE_ROOT": f"{CACHE_FOLDER}/vllm",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_MAX_N_SEQUENCES": "64",
    }
    if not service.placement.gpus:
        # `nobind` leaves the threads where numactl put the process; otherwise vLLM binds them to cores itself.
        values["VLLM_CPU_OMP_THREADS_BIND"] = "nobind" if service.placement.numa == "bind" else "auto"
        count = threads(service, hardware)
        if count is not None and service.placement.numa == "bind":
            values["OMP_NUM_THREADS"] = str(count)
    return values
