"""A memory of results by the identity of frozen records: hashing a model of a thousand tensors costs more than
looking it up. The records are kept alive beside the result, so that an identity is never reused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class IdentityCache(Generic[T]):
    """At most `limit` results; the oldest half is dropped when it is full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[tuple[Hashable, ...], tuple[tuple[object, ...], T]] = {}

    def value(self, records: tuple[object, ...], key: tuple[Hashable, ...], build: Callable[[], T]) -> T:
        """The result for these very records and key, built at the first call."""
        full_key = (*map(id, records), *key)
        found = self._values.get(full_key)
        if found is not None:
            return found[1]
        result = build()
        if len(self._values) >= self._limit:
            for old in list(self._values)[: self._limit // 2]:
                del self._values[old]
        self._values[full_key] = (records, result)
        return result
