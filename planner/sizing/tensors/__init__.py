"""A model as tensor groups and per-layer caches: everything about size and speed follows from that one list."""

from planner.sizing.tensors.expand import expand

__all__ = ["expand"]
