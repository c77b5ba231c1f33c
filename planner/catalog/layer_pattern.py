"""Layer kinds as a person would write them: a list of 34 becomes `sliding*5 full`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby


def layer_pattern(kinds: Sequence[str]) -> tuple[str, ...]:
    """The shortest pattern that, repeated and cut, gives the list, with runs counted; empty when all are `full`."""
    if not kinds or set(kinds) == {"full"}:
        return ()
    period = next(
        length
        for length in range(1, len(kinds) + 1)
        if all(kind == kinds[index % length] for index, kind in enumerate(kinds))
    )
    runs = ((kind, len(list(run))) for kind, run in groupby(kinds[:period]))
    return tuple(kind if count == 1 else f"{kind}*{count}" for kind, count in runs)


def full_every(interval: int, other: str, layers: int) -> list[str]:
    """Layers of one kind with a `full` one at the end of every interval."""
    return [other if (index + 1) % interval else "full" for index in range(layers)]
