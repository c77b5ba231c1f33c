"""Ollama: a library tag or a GGUF from the hub, run by a llama-server child; set in variables and a Modelfile."""

from __future__ import annotations

import re

from msgspec.structs import replace

from planner.catalog.records import Model, Quant, Sampling, ServerFacts
from planner.errors import RenderError
from planner.hardware.facts import Backend, Hardware
from planner.servers import gguf, llamacpp
from planner.servers.base import LOOPBACK
from planner.servers.devices import computes_on_cpu, gpu_backend, threads
from planner.servers.frame import framed
from planner.servers.limits import check_trained, context_objections
from planner.servers.records import ConfigFile, Health, Launch, ModelSource, Mount, Objection, Service
from planner.servers.sampling import with_neutral
from planner.servers.words import checked_name, word_text, words
from planner.sizing.records import Allocation, KvType, Placement
from planner.units import MIB

id = "ollama"  # noqa: A001 - the room's name, as its Protocol says

# envconfig/config.go, v0.33.0-rc2: OLLAMA_KV_CACHE_TYPE, one type for keys and values.
KV_TYPES = frozenset({"f16", "q8_0", "q4_0"})

# The server process beside its llama-server child.
SERVER_BYTES = 256 * MIB

# The child is started with all layers when more are asked for than there are.
ALL_LAYERS = 999

_MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def quants(model: Model, hardware: Hardware) -> tuple[str, ...]:  # noqa: ARG001
    """The library tag's quant, then what the hub's unsplit GGUF files offer."""
    if model.kind == "image":
        return ()
    tag = gguf.ollama_tag_quant(model)
    hub = gguf.ollama_hub_quants(model)
    if tag is None or tag in hub:
        return hub
    return tuple(quant_id for quant_id in ("MXFP4_MOE", *gguf.LADDER) if quant_id == tag or quant_id in hub)


def supports(
    model: Model,
    quant: Quant,
    hardware: Hardware,
    placement: Placement | None = None,
    *,
    kv_type: KvType | None = None,
    context_tokens: int | None = None,
) -> tuple[Objection, ...]:
    """As llama.cpp, with three cache types, one for keys and values alike, and no split files."""
    found = [
        *llamacpp.objections(model, quant, hardware, placement, kv_type),
        *context_objections(model, context_tokens),
    ]
    if kv_type is not None and (kv_type.k != kv_type.v or kv_type.k not in KV_TYPES):
        text = f"takes one cache type for keys and values, f16, q8_0 or q4_0; not {kv_type.label}"
        found.append(Objection(reason_id="kv-type", text=text))
    if not found and source(model, quant) is None:
        text = f"neither a library tag nor an unsplit GGUF repository is known that holds {model.id} {quant.id}"
        found.append(Objection(reason_id="no-source", text=text))
    return tuple(found)


def allocation(model: Model, quant: Quant, hardware: Hardware, placement: Placement) -> Allocation:  # noqa: ARG001
    """llama.cpp's rules: the model runs in a llama-server child."""
    return llamacpp.allocation(model, hardware, placement)


def backend(hardware: Hardware, placement: Placement) -> Backend:
    """As the GPUs say; Intel GPUs are driven through Vulkan."""
    found = gpu_backend(hardware, placement)
    return "vulkan" if found == "sycl" else found


def stack(hardware: Hardware, placement: Placement) -> str:
    """`ollama-` and the backend."""
    return f"ollama-{backend(hardware, placement)}"


def source(model: Model, quant: Quant) -> ModelSource | None:
    """The library tag where it holds the quant, else `hf.co/REPO:QUANT`."""
    tag = model.artifacts.ollama
    if tag is not None and gguf.ollama_tag_quant(model) == quant.id:
        return ModelSource(uri=f"ollama:{checked_name(tag, 'Ollama tag')}")
    repo = gguf.ollama_hub_repo(model, quant.id)
    if repo is not None:
        return ModelSource(uri=f"ollama:hf.co/{checked_name(repo, 'repository')}:{quant.id}")
    return gguf.local_source(model)


def launch(service: Service, model: Model, quant: Quant, hardware: Hardware, facts: ServerFacts) -> Launch:  # noqa: ARG001
    """`ollama serve` with everything in variables, a Modelfile with context, sampler and layers, and the commands
    that pull and create the model once the server answers."""
    name = _model_name(service.model)
    modelfile = ConfigFile(
        path=f"{checked_name(service.name, 'service')}.Modelfile", text=_modelfile(service, model, hardware)
    )
    check_trained(service, model)
    start = framed(
        service,
        hardware,
        facts,
        argv=words(id, "serve"),
        health=Health(path="/api/version", argv=("ollama", "list")),
        served_name=name,
        environment=_environment(service, model),
        # It writes what it pulls into the models folder, and its key pair into its home.
        mounts=(
            Mount(source="models", name="models", target="/models", read_only=False),
            Mount(source="cache", name="ollama-home", target="/root/.ollama", read_only=False),
        ),
        own_bytes=SERVER_BYTES + llamacpp.PROCESS_BYTES,
        engine_s=llamacpp.ENGINE_START_S,
        notes=_notes(service, model),
    )
    return replace(
        start,
        config_files=(modelfile,),
        bind_option="environment",
        bind_variable="OLLAMA_HOST",
        models_environment=("OLLAMA_MODELS",),
        has_key=False,
        prepare=_prepare(service, name, modelfile.path),
    )


def _environment(service: Service, model: Model) -> dict[str, str]:
    experts = llamacpp.expert_blocks_on_cpu(model, service.placement)
    values = {
        "OLLAMA_HOST": f"{LOOPBACK}:{service.port}",
        "OLLAMA_CONTEXT_LENGTH": str(service.context),
        "OLLAMA_NUM_PARALLEL": str(service.parallel),
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KV_CACHE_TYPE": service.kv_type.k,
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_NO_CLOUD": "1",
        # The plan has computed the placement: the child must not move layers or shrink the context.
        "LLAMA_ARG_FIT": "off",
    }
    if experts:
        values["LLAMA_ARG_N_CPU_MOE"] = str(experts)
    if service.placement.numa != "none":
        values |= {"LLAMA_ARG_NUMA": "numactl", "LLAMA_ARG_LOAD_MODE": "none"}
    if computes_on_cpu(service.placement):
        # The image makes every NVIDIA device visible, and Vulkan is on by default.
        values |= {"NVIDIA_VISIBLE_DEVICES": "void", "OLLAMA_VULKAN": "0"}
    return values


def _modelfile(service: Service, model: Model, hardware: Hardware) -> str:
    layers = llamacpp.gpu_layers(service)
    parameters: list[tuple[str, int | float | None]] = [
        ("num_ctx", service.context),
        ("num_batch", llamacpp.batch_tokens(service, model)[1]),
        ("num_gpu", ALL_LAYERS if layers is None else layers),
        ("num_thread", threads(service, hardware) if layers != ALL_LAYERS and layers is not None else None),
        *_sampler(service.sampling),
    ]
    lines = [f"FROM {_from(service)}"]
    lines += [f"PARAMETER {name} {word_text(value)}" for name, value in parameters if value is not None]
    if service.sampling.thinking is False and model.family == "qwen3":
        # The model's own soft switch (model card); the API has no server-side default.
        lines.append("SYSTEM /no_think")
    return "\n".join(lines) + "\n"


def _sampler(sampling: Sampling) -> list[tuple[str, int | float | None]]:
    full = with_neutral(sampling)
    if full.temperature is None and full.top_p is None:
        return [("seed", full.seed)]
    return [
        ("temperature", full.temperature),
        ("top_p", full.top_p),
        ("top_k", full.top_k),
        ("min_p", full.min_p),
        # Ollama's own default punishes repetition (api/types.go): said even when it is neutral.
        ("repeat_penalty", 1.0 if full.repetition_penalty is None else full.repetition_penalty),
        ("presence_penalty", full.presence_penalty),
        ("seed", full.seed),
    ]


def _from(service: Service) -> str:
    scheme, _, rest = service.source.uri.partition(":")
    if scheme == "ollama":
        return checked_name(rest, "Ollama tag")
    if scheme == "file" and service.source.file_names:
        return checked_name(service.source.file_names[0], "model file")
    raise RenderError(
        f"{service.name}: Ollama cannot take {service.source.uri}", hint="a library tag or hf.co/REPO:QUANT"
    )


def _prepare(service: Service, name: str, modelfile: str) -> tuple[tuple[str, ...], ...]:
    create = (id, "create", name, "-f", modelfile)
    if service.source.uri.startswith("ollama:"):
        return ((id, "pull", _from(service)), create)
    return (create,)


def _model_name(name: str) -> str:
    if not re.fullmatch(_MODEL_NAME, name):
        raise RenderError(
            f"{name!r} cannot be a model name in Ollama", hint="letters, digits, dot, dash and underscore"
        )
    return name


def _notes(service: Service, model: Model) -> tuple[str, ...]:
    notes = ["Ollama has no key of its own: only the router may reach it"]
    if service.sampling.thinking is False:
        switch = "the Modelfile's system prompt switches it off, " if model.family == "qwen3" else ""
        notes.append(f'thinking is a choice per request in Ollama: {switch}requests may send "think": false')
    if service.placement.cpu_expert_layers:
        notes.append(
            "experts stay in RAM through LLAMA_ARG_N_CPU_MOE, which Ollama's child inherits but does not document"
        )
    return tuple(notes)
