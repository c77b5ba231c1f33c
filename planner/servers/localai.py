"""LocalAI: text and embeddings through its llama-cpp backend, images through diffusers; one YAML entry per model."""

from __future__ import annotations

import json

from msgspec.structs import replace

from planner.catalog.records import Model, Quant, Sampling, ServerFacts
from planner.errors import RenderError
from planner.hardware.facts import Backend, Hardware
from planner.servers import gguf, llamacpp
from planner.servers.base import API_KEY, LOOPBACK
from planner.servers.devices import gpu_backend, is_apple_silicon, threads
from planner.servers.frame import MODELS_MOUNT, curl_health, framed
from planner.servers.limits import prompt_cache_bytes
from planner.servers.llama_server import first_file
from planner.servers.records import Argument, ConfigFile, Launch, ModelSource, Mount, Objection, Service
from planner.servers.sampling import template_switch, with_neutral
from planner.servers.words import checked_file, checked_name, word_text, words
from planner.sizing.records import Allocation, KvType, Placement
from planner.units import GIB, MIB

id = "localai"  # noqa: A001 - the room's name, as its Protocol says

# The Go server beside its backend process, and PyTorch with diffusers. Assumed.
SERVER_BYTES, DIFFUSERS_BYTES = 512 * MIB, 4 * GIB

# The first start fetches the backend's own image; after that loading the weights is most of it.
ENGINE_START_S = 30.0

# Diffusers' pipeline class by family or, longer, by the start of a model id (model cards).
PIPELINES = {
    "flux.1": "FluxPipeline",
    "flux.2": "Flux2Pipeline",
    "flux.2-klein": "Flux2KleinPipeline",
    "stable-diffusion": "StableDiffusion3Pipeline",
    "qwen-image": "QwenImagePipeline",
    "z-image": "ZImagePipeline",
}

_BACKEND_QUANTS = ("BF16", "FP16", "F16")


def quants(model: Model, hardware: Hardware) -> tuple[str, ...]:  # noqa: ARG001
    """GGUF quants that a known repository holds; 16 bit for images."""
    if model.kind == "image":
        return ("BF16",) if model.repo else ()
    return gguf.quants_of(model)


def supports(
    model: Model,
    quant: Quant,
    hardware: Hardware,
    placement: Placement | None = None,
    *,
    kv_type: KvType | None = None,
    context_tokens: int | None = None,
) -> tuple[Objection, ...]:
    """As llama.cpp for text and embeddings; images in 16 bit, whole on one device."""
    if hardware.os.name == "windows":
        return (Objection(reason_id="platform", text="runs on Linux and macOS: on Windows take WSL"),)
    if model.kind == "image":
        return _image_objections(model, quant, hardware, placement)
    found = llamacpp.objections(model, quant, hardware, placement, kv_type, context_tokens)
    if not found and source(model, quant) is None:
        found = (Objection(reason_id="no-source", text=f"no GGUF repository known that holds {model.id} {quant.id}"),)
    return found


def _image_objections(
    model: Model, quant: Quant, hardware: Hardware, placement: Placement | None
) -> tuple[Objection, ...]:
    if quant.id not in _BACKEND_QUANTS:
        return (Objection(reason_id="format", text=f"the diffusers backend loads 16-bit repositories, not {quant.id}"),)
    if model.repo is None:
        return (Objection(reason_id="no-source", text=f"no repository known for {model.id}"),)
    if is_apple_silicon(hardware):
        return (Objection(reason_id="platform", text="image generation is planned on Linux only"),)
    if placement is not None and (placement.kind in ("split", "experts-in-ram") or len(placement.gpus) > 1):
        return (Objection(reason_id="offload", text="the image pipeline lies whole on one device"),)
    return ()


def allocation(model: Model, quant: Quant, hardware: Hardware, placement: Placement) -> Allocation:  # noqa: ARG001
    """llama.cpp's rules; for image pipelines PyTorch's context."""
    if model.kind == "image" and placement.gpus:
        source_text = "assumed: PyTorch context and kernels, 0.3 to 1 GiB"
        return Allocation(
            policy="llama.cpp", buffers="llama.cpp", device_overhead_bytes=GIB, device_overhead_source=source_text
        )
    return llamacpp.allocation(model, hardware, placement)


def backend(hardware: Hardware, placement: Placement) -> Backend:
    """As the GPUs say: there is an image for each."""
    return gpu_backend(hardware, placement)


def stack(hardware: Hardware, placement: Placement) -> str:
    """`localai-` and the backend."""
    return f"localai-{backend(hardware, placement)}"


def source(model: Model, quant: Quant) -> ModelSource | None:
    """The publisher's GGUF on the hub; the vendor's repository for images."""
    if model.kind == "image":
        if model.repo is None:
            return None
        return ModelSource(uri=f"hf:{checked_name(model.repo, 'repository')}@main")
    return gguf.hub_source(model, quant)


def launch(service: Service, model: Model, quant: Quant, hardware: Hardware, facts: ServerFacts) -> Launch:  # noqa: ARG001
    """`local-ai run` with its settings in variables and the model in one YAML file."""
    name = checked_name(service.model, "model")
    image = model.kind == "image"
    cache = prompt_cache_bytes(service, hardware) if model.kind == "llm" else 0
    config = ConfigFile(
        path=f"{checked_name(service.name, 'service')}.yaml",
        text=_yaml(_image_entry(service, model) if image else _text_entry(service, model, hardware, cache)),
    )
    hub = Mount(source="cache", name="localai-hub", target="/root/.cache", read_only=False)
    start = framed(
        service,
        hardware,
        facts,
        argv=(*words("local-ai", "run", "--models-config-file"), Argument(text=config.path, kind="config")),
        health=curl_health("/readyz", service.port),
        served_name=name,
        environment=_environment(service, hardware, facts, "diffusers" if image else "llama-cpp"),
        mounts=(
            MODELS_MOUNT,
            Mount(source="cache", name="localai-backends", target="/backends", read_only=False),
            Mount(source="cache", name="localai-data", target="/data", read_only=False),
            Mount(source="cache", name="localai-configuration", target="/configuration", read_only=False),
            *((hub,) if image else ()),
        ),
        own_bytes=SERVER_BYTES
        + (DIFFUSERS_BYTES if image else llamacpp.PROCESS_BYTES + cache + llamacpp.projector_bytes(service, model)),
        engine_s=ENGINE_START_S,
        notes=_notes(image),
    )
    return replace(
        start,
        config_files=(config,),
        bind_option="environment",
        bind_variable="LOCALAI_ADDRESS",
        models_environment=("LOCALAI_MODELS_PATH",),
        secret_environment=(("LOCALAI_API_KEY", API_KEY),),
        download=_own_download(model) if image else service.source,
        needs_network=True,
    )


def _own_download(model: Model) -> ModelSource:
    """The diffusers backend takes a repository id and fetches it itself: a folder it would read as a single file
    (backend.py: `from_single_file` for whatever exists)."""
    return ModelSource(uri=f"localai:{model.repo}", note="the backend fetches the repository at the first request")


def _notes(image: bool) -> tuple[str, ...]:
    backend_name = "diffusers" if image else "llama-cpp"
    notes = (f"fetches the {backend_name} backend at the first start (network needed once)",)
    return (*notes, "and the image pipeline at the first request") if image else notes


def _environment(service: Service, hardware: Hardware, facts: ServerFacts, backend_name: str) -> dict[str, str]:
    values = {
        "LOCALAI_ADDRESS": f"{LOOPBACK}:{service.port}",
        "HEALTHCHECK_ENDPOINT": f"http://{LOOPBACK}:{service.port}/readyz",
        # Backends are images of their own, `latest` unless pinned.
        "LOCALAI_BACKEND_IMAGES_RELEASE_TAG": f"v{facts.version}",
        "LOCALAI_EXTERNAL_BACKENDS": backend_name,
        "LOCALAI_DISABLE_WEBUI": "true",
        "LOCALAI_DISABLE_RUNTIME_SETTINGS": "true",
        "LOCALAI_DISABLE_GALLERY_ENDPOINT": "true",
        # Its guesses from file names and VRAM would override what was planned.
        "LOCALAI_DISABLE_GUESSING": "true",
        "LOCALAI_DISABLE_HARDWARE_DEFAULTS": "true",
        "LOCALAI_MAX_ACTIVE_BACKENDS": "1",
    }
    count = threads(service, hardware)
    return values if count is None else {**values, "LOCALAI_THREADS": str(count)}


def _text_entry(service: Service, model: Model, hardware: Hardware, cache_bytes: int) -> dict[str, object]:
    layers = llamacpp.gpu_layers(service)
    split = llamacpp.tensor_split(service)
    batch, ubatch = llamacpp.batch_tokens(service, model)
    stretch = llamacpp.yarn(service, model)
    rope = {"rope_freq_scale": 1 / stretch.factor} if stretch else {}
    entry: dict[str, object] = {
        "name": service.model,
        "backend": "llama-cpp",
        "context_size": llamacpp.total_context(service),
        "gpu_layers": 999 if layers is None else layers,
        "threads": threads(service, hardware),
        "f16": True,
        "mmap": service.placement.numa == "none",
        "numa": True if service.placement.numa != "none" else None,
        "flash_attention": "on",
        "cache_type_k": service.kv_type.k,
        "cache_type_v": service.kv_type.v,
        "tensor_split": ",".join(map(str, split)) or None,
        "mmproj": llamacpp.projector(service),
        "rope_scaling": "yarn" if stretch else None,
        "embeddings": True if model.kind == "embedding" else None,
        "options": _options(service, model, hardware, cache_bytes, ubatch),
        "parameters": {
            "model": checked_file(first_file(service)),
            "batch": batch,
            **rope,
            **_parameters(service.sampling),
        },
        "chat_template_kwargs": template_switch(model) if service.sampling.thinking is False else None,
        "template": {"use_tokenizer_template": True} if model.kind == "llm" else None,
    }
    return {key: value for key, value in entry.items() if value is not None}


def _options(service: Service, model: Model, hardware: Hardware, cache_bytes: int, ubatch: int) -> list[str]:
    """Options of the backend. `kv_unified:false`, so that no slot can take another user's context."""
    experts = llamacpp.expert_blocks_on_cpu(model, service.placement)
    options = [
        f"parallel:{service.parallel}",
        f"ubatch:{ubatch}",
        "fit_params:false",
        "kv_unified:false",
        f"cache_ram:{cache_bytes // MIB}",
    ]
    if llamacpp.projector(service) and not llamacpp.projector_on_gpu(service, model, hardware):
        options.append("mmproj_use_gpu:false")
    return [*options, f"n_cpu_moe:{experts}"] if experts else options


def _parameters(sampling: Sampling) -> dict[str, float | int]:
    full = with_neutral(sampling)
    values = {
        "temperature": full.temperature,
        "top_p": full.top_p,
        "top_k": full.top_k,
        "min_p": full.min_p,
        "repeat_penalty": full.repetition_penalty,
        "presence_penalty": full.presence_penalty,
        "seed": full.seed,
    }
    return {name: value for name, value in values.items() if value is not None}


def _image_entry(service: Service, model: Model) -> dict[str, object]:
    if model.repo is None:
        raise RenderError(f"{service.name}: no repository is known for {model.id}")
    starts = [start for start in PIPELINES if model.family == start or model.id.startswith(start)]
    pipeline = PIPELINES[max(starts, key=len)] if starts else None
    return {
        "name": service.model,
        "backend": "diffusers",
        "options": ["torch_dtype:bf16"],
        "parameters": {"model": checked_name(model.repo, "repository")},
        "diffusers": {"cuda": bool(service.placement.gpus), **({"pipeline_type": pipeline} if pipeline else {})},
    }


def _yaml(entry: dict[str, object]) -> str:
    """A list with one mapping; every string in JSON's quotes, which all YAML readers take alike."""
    lines = []
    for key, value in entry.items():
        if isinstance(value, dict):
            lines.append(f"{key}:")
            lines += [f"  {name}: {_scalar(inner)}" for name, inner in value.items()]
        elif isinstance(value, list):
            lines.append(f"{key}:")
            lines += [f"  - {_scalar(inner)}" for inner in value]
        else:
            lines.append(f"{key}: {_scalar(value)}")
    return "".join(f"{'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def _scalar(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return word_text(value)
    return json.dumps(value)
