"""llama-server of llama.cpp: one GGUF file, every placement stated in flags, nothing left to be fitted at start."""

from __future__ import annotations

from planner.catalog.records import Model, Quant, Sampling, ServerFacts
from planner.errors import RenderError
from planner.hardware.facts import Backend, Hardware
from planner.servers import gguf, llamacpp
from planner.servers.base import API_KEY, LOOPBACK
from planner.servers.devices import computes_on_cpu, gpu_backend, threads
from planner.servers.frame import KEY_MOUNT, MODELS_MOUNT, curl_health, framed
from planner.servers.limits import prompt_cache_bytes
from planner.servers.records import Argument, Launch, ModelSource, Objection, Service
from planner.servers.sampling import with_neutral
from planner.servers.words import checked_name, models_word, option, words
from planner.sizing.records import Allocation, KvType, Placement
from planner.units import MIB

id = "llama-server"  # noqa: A001 - the room's name, as its Protocol says


def quants(model: Model, hardware: Hardware) -> tuple[str, ...]:  # noqa: ARG001
    """GGUF quants that a known repository holds."""
    return () if model.kind == "image" else gguf.quants_of(model)


def supports(
    model: Model,
    quant: Quant,
    hardware: Hardware,
    placement: Placement | None = None,
    *,
    kv_type: KvType | None = None,
    context_tokens: int | None = None,
) -> tuple[Objection, ...]:
    """GGUF only, no images, layers split over GPUs of one kind."""
    found = llamacpp.objections(model, quant, hardware, placement, kv_type, context_tokens)
    if not found and source(model, quant) is None:
        found = (Objection(reason_id="no-source", text=f"no GGUF repository known that holds {model.id} {quant.id}"),)
    return found


def allocation(model: Model, quant: Quant, hardware: Hardware, placement: Placement) -> Allocation:  # noqa: ARG001
    """llama.cpp's rules."""
    return llamacpp.allocation(model, hardware, placement)


def backend(hardware: Hardware, placement: Placement) -> Backend:
    """As the GPUs say: there is a build for each."""
    return gpu_backend(hardware, placement)


def stack(hardware: Hardware, placement: Placement) -> str:
    """`llama.cpp-` and the backend."""
    return f"llama.cpp-{backend(hardware, placement)}"


def source(model: Model, quant: Quant) -> ModelSource | None:
    """The publisher's file on the hub."""
    return gguf.hub_source(model, quant)


def launch(service: Service, model: Model, quant: Quant, hardware: Hardware, facts: ServerFacts) -> Launch:  # noqa: ARG001
    """Every size and place as planned; `--fit off`, or llama-server would shrink the context on its own."""
    cache = prompt_cache_bytes(service, hardware) if model.kind == "llm" else 0
    return framed(
        service,
        hardware,
        facts,
        argv=_argv(service, model, hardware, cache // MIB),
        health=curl_health("/health", service.port),
        served_name=checked_name(service.model, "model"),
        mounts=(MODELS_MOUNT, KEY_MOUNT),
        own_bytes=llamacpp.PROCESS_BYTES + cache + llamacpp.projector_bytes(service, model),
        engine_s=llamacpp.ENGINE_START_S,
        notes=_notes(service, cache),
    )


def _argv(service: Service, model: Model, hardware: Hardware, cache_mib: int) -> tuple[Argument, ...]:
    return (
        *words(id, "--model"),
        models_word(first_file(service)),
        *words("--alias", checked_name(service.model, "model"), "--host", LOOPBACK, "--port", service.port),
        *words("--ctx-size", llamacpp.total_context(service), "--parallel", service.parallel),
        *_placement_words(service, model),
        *_projector_words(service, model, hardware),
        *_yarn_words(service, model),
        *words("--flash-attn", "on", "--cache-type-k", service.kv_type.k, "--cache-type-v", service.kv_type.v),
        *_batch_words(service, model),
        *option("--threads", threads(service, hardware)),
        *_numa_words(service),
        *words("--cache-ram", cache_mib, "--api-key-file"),
        Argument(text=API_KEY, kind="secret"),
        *words("--metrics", "--no-ui", "--no-slots"),
        *(words("--embeddings") if model.kind == "embedding" else sampling_words(service.sampling)),
    )


def first_file(service: Service) -> str:
    """The file that the server opens: the only one, or the first part, which names the others."""
    if not service.source.file_names:
        raise RenderError(f"{service.name}: {id} needs a GGUF file", hint="the plan's source names none")
    return service.source.file_names[0]


def _placement_words(service: Service, model: Model) -> tuple[Argument, ...]:
    layers = llamacpp.gpu_layers(service)
    experts = llamacpp.expert_blocks_on_cpu(model, service.placement)
    split = llamacpp.tensor_split(service)
    return (
        *words("--fit", "off", "--n-gpu-layers", "all" if layers is None else layers),
        *(words("--device", "none") if computes_on_cpu(service.placement) else ()),
        *(words("--n-cpu-moe", experts) if experts else ()),
        *(words("--split-mode", "layer", "--tensor-split", ",".join(map(str, split))) if split else ()),
        *(words("--split-mode", "none") if len(service.placement.gpus) == 1 else ()),
    )


def _projector_words(service: Service, model: Model, hardware: Hardware) -> tuple[Argument, ...]:
    """The part that sees: on the GPU where it surely fits beside the plan, else computed on the CPU."""
    file = llamacpp.projector(service)
    if file is None:
        return ()
    offloaded = llamacpp.projector_on_gpu(service, model, hardware)
    return (*words("--mmproj"), models_word(file), *(() if offloaded else words("--no-mmproj-offload")))


def _yarn_words(service: Service, model: Model) -> tuple[Argument, ...]:
    stretch = llamacpp.yarn(service, model)
    if stretch is None:
        return ()
    return words("--rope-scaling", "yarn", "--rope-scale", stretch.factor, "--yarn-orig-ctx", stretch.native_tokens)


def _batch_words(service: Service, model: Model) -> tuple[Argument, ...]:
    batch, ubatch = llamacpp.batch_tokens(service, model)
    return words("--batch-size", batch, "--ubatch-size", ubatch)


def _numa_words(service: Service) -> tuple[Argument, ...]:
    """Under a NUMA policy the weights are read into fresh memory: mapped pages that already lie in the page cache
    would stay on the node that read them first."""
    if service.placement.numa == "none":
        return words("--load-mode", "mmap")
    return words("--numa", "numactl", "--load-mode", "none")


def sampling_words(sampling: Sampling) -> tuple[Argument, ...]:
    """All four settings wherever one is planned: the server's own defaults are not the vendors'."""
    full = with_neutral(sampling)
    return (
        *option("--temperature", full.temperature),
        *option("--top-p", full.top_p),
        *option("--top-k", full.top_k),
        *option("--min-p", full.min_p),
        *option("--repeat-penalty", full.repetition_penalty),
        *option("--presence-penalty", full.presence_penalty),
        *option("--seed", full.seed),
        *(words("--reasoning", "off") if full.thinking is False else ()),
    )


def _notes(service: Service, cache_bytes: int) -> tuple[str, ...]:
    notes = []
    if cache_bytes:
        notes.append(f"keeps up to {cache_bytes // MIB} MiB of prompts in RAM (--cache-ram), inside the memory limit")
    if service.placement.cpu_expert_layers:
        notes.append("routed experts lie in RAM: --n-cpu-moe counts blocks from the first one")
    return tuple(notes)
