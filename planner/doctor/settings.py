"""What a server is told by its words, variables or configuration: model, context, slots, devices, sampling."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from planner.catalog.records import Sampling
from planner.catalog.yaml_file import parse_foreign_yaml
from planner.doctor.programs import flag_value
from planner.doctor.records import Served
from planner.doctor.values import items, mapping
from planner.errors import CatalogError
from planner.sizing.records import KvType

_COUNT = re.compile(r"(\d{1,9}(?:\.\d+)?)([kKmM]?)")
# vLLM reads 32k as 32,000 and 32K as 32,768 (vllm/engine/arg_utils.py, human_readable_int).
_FACTORS = {"": 1, "k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2}
_LOCKING = frozenset({"mlock", "mmap+mlock"})


class Settings(NamedTuple):
    """None: not stated. `model`: a repository, tag, file or folder; `downloads`: the server fetches it itself.
    `context_tokens` is what one request gets, `shared_tokens` a total that slots divide; 0 means the model's own.
    `ranks` and `stages`: GPUs that share each layer, and groups of them that share the layers. `makes_room`: what does
    not fit is moved or shortened by the server. `cache_bytes` and `memory_fraction`: vLLM's share of a card. `host` and
    `port`: where it listens, as written."""

    model: str | None = None
    downloads: bool = False
    quantization: str | None = None
    context_tokens: int | None = None
    shared_tokens: int | None = None
    slots: int | None = None
    kv_type: KvType = KvType()
    host: str | None = None
    port: str | None = None
    numa_bound: bool = False
    ranks: int = 1
    stages: int = 1
    gpu_layers: int | None = None
    all_on_gpu: bool = False
    expert_layers: int = 0
    on_cpu: bool = False
    stretched: bool = False
    makes_room: bool = False
    locks_memory: bool = False
    cache_bytes: int | None = None
    memory_fraction: float | None = None
    sampling: Sampling | None = None


class _Words:
    """The words and variables of one program."""

    def __init__(self, served: Served) -> None:
        self.argv, self.environment = served.argv, served.environment

    def text(self, *names: str) -> str | None:
        """The value of a flag, or of a variable."""
        flags = [name for name in names if name.startswith("-")]
        found = flag_value(self.argv, *flags)
        return found or next((self.environment[name] for name in names if self.environment.get(name)), None)

    def count(self, *names: str) -> int | None:
        """A whole number, with k or m; None for anything else, negative ones included."""
        return _count(self.text(*names))

    def has(self, *flags: str) -> bool:
        return any(word.partition("=")[0] in flags for word in self.argv)


def settings_of(served: Served) -> Settings:
    """The settings of a program; empty ones for a server that is not known."""
    read = _READERS.get(served.server or "")
    if read is None:
        return Settings()
    return _of_config(served) if served.config is not None else read(_Words(served))


def _count(value: object) -> int | None:
    match = _COUNT.fullmatch(str(value).strip()) if value is not None else None
    return round(float(match[1]) * _FACTORS[match[2]]) if match else None


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if isfinite(number) else None


def _kv(k: str | None, v: str | None) -> KvType:
    return KvType(k=(k or "f16").lower(), v=(v or k or "f16").lower())


def _llama_server(words: _Words) -> Settings:
    file, repository = (
        words.text("-m", "--model", "LLAMA_ARG_MODEL"),
        words.text("-hf", "-hfr", "--hf-repo", "LLAMA_ARG_HF_REPO"),
    )
    slots = words.count("-np", "--parallel", "LLAMA_ARG_N_PARALLEL")
    total = words.count("-c", "--ctx-size", "LLAMA_ARG_CTX_SIZE")
    unified = words.has("-kvu", "--kv-unified")
    layers = words.text("-ngl", "--gpu-layers", "--n-gpu-layers", "LLAMA_ARG_N_GPU_LAYERS")
    shared = total if total and not unified else None
    return Settings(
        model=file or repository,
        downloads=file is None and repository is not None,
        host=words.text("--host", "LLAMA_ARG_HOST"),
        port=words.text("--port", "LLAMA_ARG_PORT"),
        numa_bound=words.text("--numa", "LLAMA_ARG_NUMA") in {"distribute", "isolate"},
        context_tokens=total // (slots or 1) if total and not unified else total,
        shared_tokens=shared,
        slots=slots,
        kv_type=_kv(words.text("-ctk", "--cache-type-k"), words.text("-ctv", "--cache-type-v")),
        gpu_layers=_count(layers),
        all_on_gpu=layers == "all",
        expert_layers=10**6 if words.has("-cmoe", "--cpu-moe") else words.count("-ncmoe", "--n-cpu-moe") or 0,
        on_cpu=words.text("-dev", "--device") == "none" or _count(layers) == 0,
        stretched=words.text("--rope-scaling") not in (None, "none") or words.has("--rope-scale", "--rope-freq-scale"),
        makes_room=words.text("-fit", "--fit", "LLAMA_ARG_FIT") != "off",
        locks_memory=words.text("--load-mode", "LLAMA_ARG_LOAD_MODE") in _LOCKING or words.has("--mlock"),
        sampling=_sampling(
            {
                "temperature": words.text("--temp", "--temperature"),
                "seed": words.text("-s", "--seed"),
                "thinking": "off" if words.text("--reasoning") == "off" else None,
            }
        ),
    )


def _vllm(words: _Words) -> Settings:
    name = words.text("--model")
    if name is None and words.argv[1:2] == ("serve",) and len(words.argv) > 2 and not words.argv[2].startswith("-"):
        name = words.argv[2]
    cache = words.text("--kv-cache-dtype") or "auto"
    stated = _json(words.text("--override-generation-config"))
    template = _json(words.text("--default-chat-template-kwargs"))
    off = template.get("enable_thinking") is False or template.get("thinking") is False
    return Settings(
        model=name,
        downloads=name is not None and not name.startswith(("/", ".", "$")),
        host=words.text("--host"),
        port=words.text("--port"),
        quantization=(words.text("--quantization", "-q") or "").casefold() or None,
        context_tokens=words.count("--max-model-len"),
        slots=words.count("--max-num-seqs"),
        kv_type=KvType(k="fp8", v="fp8") if cache.startswith("fp8") else KvType(),
        ranks=words.count("--tensor-parallel-size", "-tp") or 1,
        stages=words.count("--pipeline-parallel-size", "-pp") or 1,
        all_on_gpu=True,
        stretched="rope" in " ".join(words.argv),
        cache_bytes=words.count("--kv-cache-memory-bytes"),
        memory_fraction=_number(words.text("--gpu-memory-utilization")),
        sampling=_sampling(
            {
                "temperature": stated.get("temperature"),
                "seed": words.text("--seed"),
                "thinking": "off" if off else None,
            }
        ),
    )


def _json(text: str | None) -> dict[str, Any]:
    try:
        return mapping(json.loads(text or ""))
    except ValueError:
        return {}


def _mlx_lm(words: _Words) -> Settings:
    name = words.text("--model")
    return Settings(
        model=name,
        downloads=name is not None and not name.startswith(("/", ".", "$")),
        host=words.text("--host"),
        port=words.text("--port"),
        sampling=_sampling({"temperature": words.text("--temp")}),
    )


def _ollama(words: _Words) -> Settings:
    host, port = _address(words.text("OLLAMA_HOST"))
    return Settings(
        host=host,
        port=port,
        context_tokens=words.count("OLLAMA_CONTEXT_LENGTH"),
        # envconfig/config.go, v0.33: one request at a time unless told otherwise.
        slots=words.count("OLLAMA_NUM_PARALLEL") or 1,
        makes_room=True,
    )


def _localai(words: _Words) -> Settings:
    host, port = _address(words.text("--address", "LOCALAI_ADDRESS"))
    return Settings(
        host=host,
        port=port,
        context_tokens=words.count("LOCALAI_CONTEXT_SIZE", "--context-size"),
        makes_room=True,
    )


def _address(text: str | None) -> tuple[str | None, str | None]:
    """Host and port of `[scheme://][host][:port]`; a host alone has the usual port."""
    host, _, port = (text or "").rpartition("//")[2].partition("/")[0].rpartition(":")
    return (host or None, port) if host or ":" in (text or "") else (port or None, None)


_READERS: Mapping[str, Callable[[_Words], Settings]] = {
    "llama-server": _llama_server,
    "vllm": _vllm,
    "mlx-lm": _mlx_lm,
    "ollama": _ollama,
    "localai": _localai,
}


def _of_config(served: Served) -> Settings:
    text = served.config or ""
    return _modelfile(text) if served.server == "ollama" else _model_yaml(text, served.name)


def _modelfile(text: str) -> Settings:
    lines = [line.split(None, 2) for line in text.splitlines() if line.strip()]
    model = next((words[1] for words in lines if words[0].upper() == "FROM" and len(words) > 1), None)
    values = {words[1]: words[2] for words in lines if words[0].upper() == "PARAMETER" and len(words) == 3}
    return Settings(
        model=model,
        context_tokens=_count(values.get("num_ctx")),
        makes_room=True,
        sampling=_sampling({name: values.get(name) for name in ("temperature", "seed")}),
    )


def _model_yaml(text: str, name: str) -> Settings:
    try:
        entries = items(next(iter(parse_foreign_yaml(text, name)), None))
    except CatalogError:
        return Settings()
    entry = mapping(entries[0]) if len(entries) == 1 else {}
    parameters = mapping(entry.get("parameters"))
    return Settings(
        model=str(parameters["model"]) if "model" in parameters else None,
        context_tokens=_count(entry.get("context_size")),
        makes_room=True,
        sampling=_sampling({name: parameters.get(name) for name in ("temperature", "seed")}),
    )


def _sampling(stated: Mapping[str, object]) -> Sampling | None:
    """What is stated of temperature, seed and thinking; None when nothing is."""
    temperature, seed = _number(stated.get("temperature")), _number(stated.get("seed"))
    thinking = False if stated.get("thinking") == "off" else None
    if temperature is None and seed is None and thinking is None:
        return None
    return Sampling(
        temperature=temperature, seed=int(seed) if seed is not None and seed >= 0 else None, thinking=thinking
    )
