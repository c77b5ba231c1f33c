"""Which model and quant a server is told to load: by repository, tag, file name or folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from planner.catalog.model_names import is_file_name
from planner.catalog.records import Model, Quant
from planner.doctor.settings import Settings
from planner.errors import CatalogError, PlannerError
from planner.servers import gguf
from planner.servers.checkpoints import checkpoints

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_GGUF = re.compile(r"(?P<stem>.+?)[-._](?P<quant>(?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32))", re.IGNORECASE)
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_MLX = re.compile(r"(?P<stem>.+)-(?P<quant>\dbit|mxfp4|nvfp4|bf16)", re.IGNORECASE)
# `--quantization` of vLLM: what lies in files of its own, and what is made while loading.
STORED = {"awq": "AWQ", "awq_marlin": "AWQ", "gptq": "GPTQ", "gptq_marlin": "GPTQ", "compressed-tensors": "W4A16"}
_QUANTS = {"AWQ": "AWQ", "GPTQ": "GPTQ-INT4", "W4A16": "W4A16"}
_ONLINE = {"fp8": "FP8", "bitsandbytes": "BNB-NF4"}


class Named(NamedTuple):
    """The model and how it is quantized; None: not known."""

    model: Model | None = None
    quant: Quant | None = None


class Names:
    """Models of a catalog by the last part of their repositories, as folders and files are called."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    @cached_property
    def _folders(self) -> dict[str, Model | None]:
        found: dict[str, Model | None] = {}
        for model in self.catalog.models.values():
            for name in {name.casefold() for name in _last_parts(model)}:
                found[name] = None if name in found else model  # None: a name of several models
        return found

    def find(self, server: str | None, settings: Settings) -> Named:
        """The model that a server is told to load; the folder in front of it may be a variable."""
        name = settings.model
        if name is None or "$" in name.rpartition("/")[2]:
            return Named()
        match server:
            case "vllm":
                return self._checkpoint(name, settings.quantization)
            case "mlx-lm":
                return self._mlx(name)
            case "ollama":
                return self._tag(name)
            case _:
                return self._gguf(name)

    def model(self, name: str) -> Model | None:
        """By repository, or by the last part of one."""
        if REPOSITORY.fullmatch(name) and not is_file_name(name):
            try:
                return self.catalog.model(name)
            except CatalogError:
                pass
        return self._folders.get(name.rstrip("/").rpartition("/")[2].casefold())

    def _checkpoint(self, name: str, method: str | None) -> Named:
        model, last = self.model(name), name.rstrip("/").rpartition("/")[2].casefold()
        if model is None:
            return Named()
        stored = {
            quant_id: known
            for quant_id, known in checkpoints(model).items()
            if known.repo.rpartition("/")[2].casefold() == last and known.online is None and quant_id != "FP16"
        }
        found = next(iter(stored), None)
        if found == "BF16" and method is not None:
            found = _ONLINE.get(method) or _QUANTS.get(STORED.get(method, ""))
        return Named(model, self.catalog.find_quant(found, "hf") if found else None)

    def _mlx(self, name: str) -> Named:
        match = _MLX.fullmatch(name.rstrip("/").rpartition("/")[2])
        model = self.model(name) or (self.model(match["stem"]) if match else None)
        quant = self.catalog.find_quant(f"MLX-{match['quant']}", "mlx") if match else None
        return Named(model, quant)

    def _tag(self, name: str) -> Named:
        if name.startswith(("hf.co/", "huggingface.co/")) or name.endswith(".gguf"):
            return self._gguf(name.partition("/")[2] if not name.endswith(".gguf") else name)
        for tag in (name, name.rpartition("-")[0]):
            try:
                model = self.catalog.model(tag)
            except PlannerError:
                continue
            stated = (
                None if tag == name else self.catalog.find_quant(name.rpartition("-")[2].replace("fp16", "f16"), "gguf")
            )
            usual = gguf.ollama_tag_quant(model)
            return Named(model, stated or (self.catalog.find_quant(usual, "gguf") if usual else None))
        return Named()

    def _gguf(self, name: str) -> Named:
        if not name.casefold().endswith(".gguf"):
            repository, _, quant = name.partition(":")
            model = self.model(repository)
            # common/arg.cpp: -hf takes Q4_K_M where none is named; another file where the repository lacks it.
            return Named(model, self.catalog.find_quant(quant or "Q4_K_M", "gguf") if model else None)
        file = _PART.sub("", name.rpartition("/")[2][: -len(".gguf")])
        match = _GGUF.fullmatch(file)
        if match is None:
            return Named()
        model = self.model(match["stem"])
        return Named(model, self.catalog.find_quant(match["quant"], "gguf") if model else None)


def _last_parts(model: Model) -> Iterator[str]:
    yield model.id
    if model.repo:
        yield model.repo.rpartition("/")[2]
    for repo in model.artifacts.gguf:
        yield gguf.stem(repo)
        yield repo.rpartition("/")[2]
    for known in checkpoints(model).values():
        yield known.repo.rpartition("/")[2]
    if model.artifacts.mlx_4bit:
        yield model.artifacts.mlx_4bit.repo.rpartition("/")[2]
