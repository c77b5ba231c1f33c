"""A model from its files: a GGUF header, a Hugging Face `config.json`, a safetensors index with its config beside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from planner.catalog.config_file import Config, load_config
from planner.catalog.gguf_architecture import gguf_architecture
from planner.catalog.gguf_file import GgufHeader, read_gguf
from planner.catalog.hf_config import config_architecture
from planner.catalog.records import Architecture, Artifacts, Context, Model
from planner.catalog.records.model import Published
from planner.catalog.safetensors_file import checkpoint_beside
from planner.errors import ModelFileError

_EMBEDDERS = frozenset({"bert", "nomic-bert", "modern-bert", "gemma-embedding", "jina-bert-v2"})
_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")


def read_model(source: str | Path | Mapping[str, Any]) -> Model:
    """The model in a GGUF file (header only; all parts of a split one), a `config.json`, or its mapping.

    A safetensors file or index stands for the `config.json` of its folder; what lies beside a config is counted and
    becomes the published total. Raises ModelFileError naming file and field."""
    if isinstance(source, Mapping):
        return _from_config(source, str(source.get("_name_or_path") or "model"), "config")
    path = Path(source).expanduser()
    if path.is_dir():
        path /= "config.json"
    if path.suffix.casefold() == ".safetensors" or path.name.casefold().endswith(".safetensors.index.json"):
        path = _config_beside(path)
    if path.suffix.casefold() == ".json":
        return _with_count(_from_config(values := load_config(path), _config_name(path), path.name), values, path)
    return _from_gguf(read_gguf(path), path)


def _config_beside(path: Path) -> Path:
    """Weights alone do not say how they are used."""
    config = path.with_name("config.json")
    if not path.is_file():
        raise ModelFileError(f"{path.name}: no such file")
    if not config.is_file():
        raise ModelFileError(f"{path.name}: no config.json beside it", hint="both come from the model's repository")
    return config


def _with_count(model: Model, values: Mapping[str, Any], path: Path) -> Model:
    """The parameters that the checkpoint beside the config holds, as the count to check against."""
    stated = values.get("dtype", values.get("torch_dtype"))
    plain = stated if isinstance(stated, str) and "quantization_config" not in values else None
    found = checkpoint_beside(path, plain) if path.name == "config.json" else None
    if found is None or found.parameters is None:
        return model
    sources = (*model.sources, f"total parameters: {found.source}")
    return replace(model, published=Published(total_parameters=found.parameters), sources=sources)


def _config_name(path: Path) -> str:
    """A file called config.json is named by its folder."""
    return path.stem if path.stem != "config" else path.absolute().parent.name


def _identifier(name: str) -> str:
    """A name as the catalog writes ids: `Qwen/Qwen3-8B` is `qwen3-8b`."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.rstrip("/").rpartition("/")[2].casefold()).strip("-") or "model"


def _from_config(values: Mapping[str, Any], name: str, file: str) -> Model:
    architecture = config_architecture(values, file)
    config = Config(values, file)
    context = config.number("max_position_embeddings", "n_positions", "max_sequence_length", "model_max_length")
    sees = any(isinstance(values.get(key), Mapping) for key in ("vision_config", "visual", "vision_tower"))
    stated = values.get("_name_or_path")
    return Model(
        id=_identifier(name),
        name=name.rpartition("/")[2] or name,
        family=str(config.get("model_type") or architecture.gguf or "unknown"),
        kind="embedding" if architecture.gguf in _EMBEDDERS else "llm",
        repo=stated if isinstance(stated, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", stated) else None,
        modalities=("text", "image") if sees else ("text",),
        context=Context(native_tokens=context) if context else None,
        architecture=architecture,
        sources=(f"read from {file}",),
    )


def _from_gguf(header: GgufHeader, path: Path) -> Model:
    architecture = gguf_architecture(header, path.name)
    base = _SPLIT.sub("", path.stem)
    context = _metadata_int(header, f"{architecture.gguf}.context_length")
    name = header.metadata.get("general.name")
    template = header.metadata.get("tokenizer.chat_template")
    licence = header.metadata.get("general.license")
    return Model(
        id=_identifier(base),
        name=name if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 256 else base,
        family=str(architecture.gguf),
        kind="embedding" if architecture.gguf in _EMBEDDERS else "llm",
        license=licence if isinstance(licence, str) and licence.isprintable() else None,
        context=Context(native_tokens=context) if context else None,
        tool_calling="tools" in template if isinstance(template, str) else None,
        artifacts=Artifacts(),
        architecture=_checked(architecture, path),
        sources=(f"read from {path.name}",),
        tensors=tuple((tensor.name, tensor.shape, tensor.type) for tensor in header.tensors),
    )


def _checked(architecture: Architecture, path: Path) -> Architecture:
    """A projector or adapter file is no language model."""
    if architecture.gguf == "clip":
        raise ModelFileError(f"{path.name}: general.architecture: a vision projector, not a language model")
    return architecture


def _metadata_int(header: GgufHeader, key: str) -> int | None:
    value = header.metadata.get(key)
    return value if isinstance(value, int) and value > 0 else None
