"""A model from its files: a GGUF header or a Hugging Face `config.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.catalog.config_file import Config, load_config
from planner.catalog.gguf_architecture import gguf_architecture
from planner.catalog.gguf_file import GgufHeader, read_gguf
from planner.catalog.hf_config import config_architecture
from planner.catalog.records import Architecture, Artifacts, Context, Model
from planner.errors import ModelFileError

_EMBEDDERS = frozenset({"bert", "nomic-bert", "modern-bert", "gemma-embedding", "jina-bert-v2"})
_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")


def read_model(source: str | Path | Mapping[str, Any]) -> Model:
    """The model in a GGUF file (header only; all parts of a split one), a `config.json`, or its mapping.

    Raises ModelFileError naming file and field."""
    if isinstance(source, Mapping):
        return _from_config(source, str(source.get("_name_or_path") or "model"), "config")
    path = Path(source).expanduser()
    if path.is_dir():
        path /= "config.json"
    if path.suffix.casefold() == ".json":
        return _from_config(load_config(path), _config_name(path), path.name)
    return _from_gguf(read_gguf(path), path)


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
        name=name if isinstance(name, str) and name else base,
        family=str(architecture.gguf),
        kind="embedding" if architecture.gguf in _EMBEDDERS else "llm",
        license=licence if isinstance(licence, str) else None,
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
