"""Which model a name means: id, repository, Ollama tag, or a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from planner.catalog.records import Artifact, Model
from planner.errors import CatalogError, UnknownName

# Left out by people, and told apart by nothing else: `llama-3.1-8b` means the instruction-tuned one.
_TUNED = ("-instruct", "-it", "-chat")


class ModelIndex:
    """The models by every name they have; names are compared without case."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models

    @cached_property
    def _named(self) -> Mapping[str, str]:
        """Ids, repositories, artifacts and tags: an id beats a repository, the publisher's own beats an artifact's."""
        named: dict[str, str] = {}
        for names in (_ids, _repositories, _artifacts):
            for model in self._models.values():
                for name in names(model):
                    named.setdefault(name.casefold(), model.id)
        return named

    @cached_property
    def _untuned(self) -> Mapping[str, tuple[str, ...]]:
        """Ids by what is left of them without `-instruct`, `-it`, `-chat`."""
        short: dict[str, tuple[str, ...]] = {}
        for known in self._models:
            bare = without_tuning(known.casefold())
            if bare != known.casefold():
                short[bare] = (*short.get(bare, ()), known)
        return short

    def find(self, name: str) -> Model:
        """The model of that name. Raises UnknownName with near misses, CatalogError when a short name fits several,
        ModelFileError for a broken file."""
        text = name.strip()
        if is_file_name(text):
            from planner.catalog.read_model import read_model

            return read_model(text)
        asked = text.casefold().removeprefix("hf:").removeprefix("ollama:").removeprefix("https://huggingface.co/")
        known = self._named.get(asked.removesuffix("/")) or self._named.get(asked.removesuffix(":latest"))
        known = known or self._short(asked)
        if known is None:
            raise UnknownName("model", name, [*self._models, *(m.repo for m in self._models.values() if m.repo)])
        return self._models[known]

    def _short(self, asked: str) -> str | None:
        fitting = self._untuned.get(asked, ())
        if len(fitting) > 1:
            raise CatalogError(f"{asked!r} fits several models: {', '.join(fitting)}", hint="write the full id")
        return fitting[0] if fitting else None


def without_tuning(model_id: str) -> str:
    """`llama-3.1-8b` of `llama-3.1-8b-instruct`; `qwen3-4b-2507` of `qwen3-4b-instruct-2507`."""
    padded = model_id + "-"
    for word in _TUNED:
        padded = padded.replace(word + "-", "-", 1)
    return padded.removesuffix("-")


def is_file_name(name: str) -> bool:
    """A GGUF file or a `config.json`, by its ending; nothing else is read from disk."""
    return name.casefold().endswith((".gguf", ".json"))


def _ids(model: Model) -> Iterator[str]:
    yield model.id


def _repositories(model: Model) -> Iterator[str]:
    if model.repo:
        yield model.repo
    if model.artifacts.ollama:
        yield model.artifacts.ollama


def _artifacts(model: Model) -> Iterator[str]:
    for field in model.artifacts.__struct_fields__:
        published = getattr(model.artifacts, field)
        for each in published if isinstance(published, tuple) else (published,):
            if isinstance(each, Artifact):
                yield each.repo
            elif isinstance(each, str) and field != "ollama":
                yield each
