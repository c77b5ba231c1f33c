"""mlx-lm on Apple Silicon: MLX safetensors in unified memory, a plain HTTP server without a key."""

from __future__ import annotations

from msgspec.structs import replace

from planner.catalog.records import Model, Quant, Sampling, ServerFacts
from planner.hardware.facts import Backend, Hardware
from planner.servers.base import LOOPBACK
from planner.servers.devices import is_apple_silicon
from planner.servers.frame import framed
from planner.servers.limits import check_trained, context_objections
from planner.servers.records import Argument, Health, Launch, ModelSource, Objection, Service
from planner.servers.sampling import template_switch, with_neutral
from planner.servers.words import checked_file, checked_name, json_word, models_word, option, words
from planner.sizing.records import Allocation, KvType, Placement
from planner.units import MIB

id = "mlx-lm"  # noqa: A001 - the room's name, as its Protocol says

# --kv-bits by the names that plans use; group size 64 is the server's default.
KV_BITS = {"f16": None, "bf16": None, "q8_0": 8, "q4_0": 4}

# Metal keeps freed buffers for reuse: a few hundred MB, uncertain. Assumed.
BUFFER_CACHE_BYTES = 512 * MIB

# Python with MLX. Assumed.
PROCESS_BYTES = 1024 * MIB

ENGINE_START_S = 15.0

# mlx_lm/server.py maps this request name, and the path given on the command line, to the model it has loaded; any
# other name would be loaded from the hub.
SERVED_NAME = "default_model"

# The server's own default is 512 output tokens, which cuts answers; a request may still ask for less.
MAX_TOKENS = 4096

MINIMUM_PROMPT_CACHE_BYTES = 256 * MIB


def quants(model: Model, hardware: Hardware) -> tuple[str, ...]:
    """The conversion that the catalog names, on a Mac with Apple Silicon."""
    found = _published_quant(model)
    return (found,) if found and model.kind == "llm" and is_apple_silicon(hardware) else ()


def _published_quant(model: Model) -> str | None:
    """The quant of the known conversion, by the end of its name: mlx-community's habit."""
    artifact = model.artifacts.mlx_4bit
    if artifact is None:
        return None
    name = artifact.repo.casefold()
    if "mxfp4" in name:
        return "MLX-mxfp4-q8" if "mxfp4-q8" in name else "MLX-mxfp4"
    bits = next((bits for bits in ("8bit", "6bit", "5bit", "3bit", "2bit") if f"-{bits}" in name), "4bit")
    return f"MLX-{bits}"


def supports(
    model: Model,
    quant: Quant,
    hardware: Hardware,
    placement: Placement | None = None,
    *,
    kv_type: KvType | None = None,
    context_tokens: int | None = None,
) -> tuple[Objection, ...]:
    """MLX repositories, language models, Apple Silicon, everything in unified memory."""
    found = [*context_objections(model, context_tokens)]
    if not is_apple_silicon(hardware):
        found.append(Objection(reason_id="platform", text="is planned on Apple Silicon only"))
    if quant.format != "mlx":
        found.append(
            Objection(reason_id="format", text=f"reads MLX repositories; {quant.id} is a {quant.format} format")
        )
    elif quant.id != _published_quant(model):
        found.append(
            Objection(reason_id="no-source", text=f"no MLX repository known that holds {model.id} as {quant.id}")
        )
    if model.kind != "llm":
        found.append(Objection(reason_id="kind", text="serves language models only"))
    if placement is not None and placement.kind not in ("unified", "gpu"):
        found.append(Objection(reason_id="offload", text="keeps the whole model in unified memory"))
    if kv_type is not None and (kv_type.k != kv_type.v or kv_type.k not in KV_BITS):
        text = f"takes one cache type of {', '.join(KV_BITS)}; not {kv_type.label}"
        found.append(Objection(reason_id="kv-type", text=text))
    return tuple(found)


def allocation(model: Model, quant: Quant, hardware: Hardware, placement: Placement) -> Allocation:  # noqa: ARG001
    """MLX's growing cache and Metal's buffers."""
    return Allocation(
        policy="mlx",
        buffers="mlx",
        device_overhead_bytes=BUFFER_CACHE_BYTES,
        device_overhead_source="assumed: Metal's cache of freed buffers, a few hundred MB",
    )


def backend(hardware: Hardware, placement: Placement) -> Backend:  # noqa: ARG001
    """Always Metal."""
    return "metal"


def stack(hardware: Hardware, placement: Placement) -> str:  # noqa: ARG001
    """Always `mlx`."""
    return "mlx"


def source(model: Model, quant: Quant) -> ModelSource | None:
    """The whole repository of the known conversion, in a folder of its name."""
    artifact = model.artifacts.mlx_4bit
    if artifact is None or quant.id != _published_quant(model):
        return None
    repo = checked_name(artifact.repo, "repository")
    return ModelSource(
        uri=f"hf:{repo}@{artifact.revision or 'main'}",
        file_names=(checked_file(repo.rpartition("/")[2]),),
        download_bytes=artifact.file_bytes,
    )


def launch(service: Service, model: Model, quant: Quant, hardware: Hardware, facts: ServerFacts) -> Launch:  # noqa: ARG001
    """`mlx_lm.server` on loopback; the router in front holds the key and the model's name."""
    checked_name(service.model, "model")
    check_trained(service, model)
    start = framed(
        service,
        hardware,
        facts,
        argv=_argv(service, model),
        health=Health(path="/health"),
        served_name=SERVED_NAME,
        environment={"HF_HUB_OFFLINE": "1"},
        own_bytes=PROCESS_BYTES,
        engine_s=ENGINE_START_S,
        notes=_notes(service),
    )
    return replace(start, has_key=False)


def _argv(service: Service, model: Model) -> tuple[Argument, ...]:
    folder = service.source.file_names[0] if service.source.file_names else service.model
    bits = KV_BITS.get(service.kv_type.k)
    return (
        *words("mlx_lm.server", "--model"),
        models_word(folder),
        *words("--host", LOOPBACK, "--port", service.port),
        *words("--decode-concurrency", service.parallel, "--prompt-concurrency", min(service.parallel, 8)),
        *words("--prompt-cache-size", service.parallel, "--prompt-cache-bytes", _prompt_cache_bytes(service)),
        *words("--max-tokens", min(MAX_TOKENS, service.context)),
        *option("--kv-bits", bits),
        *_sampling_words(service.sampling, model),
    )


def _prompt_cache_bytes(service: Service) -> int:
    """A quarter of the planned cache: kept prompts are beside the plan and must stay inside its headroom."""
    return max(MINIMUM_PROMPT_CACHE_BYTES, service.footprint.kv_cache_bytes // 4 // MIB * MIB)


def _sampling_words(sampling: Sampling, model: Model) -> tuple[Argument, ...]:
    full = with_neutral(sampling)
    off = full.thinking is False
    return (
        *option("--temp", full.temperature),
        *option("--top-p", full.top_p),
        *option("--top-k", full.top_k),
        *option("--min-p", full.min_p),
        *option("--chat-template-args", json_word(template_switch(model)) if off else None),
    )


def _notes(service: Service) -> tuple[str, ...]:
    notes = [
        "mlx-lm has no key and no metrics, and calls itself unfit for production: only the router may reach it",
        f"a request that names another model than {SERVED_NAME} would load it: the router rewrites the name",
    ]
    if KV_BITS.get(service.kv_type.k):
        notes.append("a quantized cache switches batching off: requests queue")
    if service.sampling.seed is not None:
        notes.append("a seed is a field of each request here, not of the server")
    return tuple(notes)
