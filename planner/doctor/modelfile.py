"""Ollama's Modelfiles and LocalAI's model files: keys that their servers do not know."""

from __future__ import annotations

from typing import Any

from planner.doctor.records import Document, Served

_LOCALAI_KEYS = frozenset({"backend", "parameters", "context_size", "template", "usage", "known_usecases"})


def read_modelfile(path: str, text: str) -> Document:
    """A Modelfile; its text is kept for the rule that knows Ollama's keys."""
    served = Served(kind="modelfile", place=path, name=path, server="ollama", config=text)
    return Document(path=path, kind="modelfile", served=(served,))


def read_localai(path: str, content: Any, text: str) -> Document | None:
    """A LocalAI model file or list of models; None for any other YAML."""
    entries = content if isinstance(content, list) else [content]
    if not entries or not all(isinstance(entry, dict) and _LOCALAI_KEYS & entry.keys() for entry in entries):
        return None
    listed = text if isinstance(content, list) else "- " + text.strip().replace("\n", "\n  ")
    served = Served(kind="modelfile", place=path, name=path, server="localai", config=listed)
    return Document(path=path, kind="modelfile", served=(served,))
