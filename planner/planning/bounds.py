"""The best key that something not yet placed could have, sharpened as more becomes known of it."""

from __future__ import annotations

from typing import get_args

from planner.planning.rank import NAMES, ORDERS, Known, Ranking, Step, Value

# The levels of each order before the names, and where in them a step sharpens the bound, and how.
_BOUNDED = {prefer: levels[: len(levels) - len(NAMES)] for prefer, levels in ORDERS.items()}
_PLACES = {
    (prefer, step): tuple(place for place, level in enumerate(levels) if level.sharper == step)
    for prefer, levels in _BOUNDED.items()
    for step in get_args(Step)
}
_NEWS = {
    (prefer, step): tuple(_BOUNDED[prefer][place].bound for place in places)
    for (prefer, step), places in _PLACES.items()
}


def bound_of(known: Known, ranking: Ranking) -> tuple[Value, ...]:
    """The best key that any candidate with this known part could have, up to the first level that is a name."""
    return tuple([level.bound(known, ranking) for level in _BOUNDED[ranking.prefer]])


def news_of(step: Step, known: Known, ranking: Ranking) -> tuple[Value, ...]:
    """What a step adds to bounds: the values of the levels of which it says more."""
    return tuple([bound(known, ranking) for bound in _NEWS[ranking.prefer, step]])


def sharpened(bound: tuple[Value, ...], step: Step, news: tuple[Value, ...], ranking: Ranking) -> tuple[Value, ...]:
    """The bound of the step before with the news of this one: `bound_of` of all that is then known."""
    values = list(bound)
    for place, value in zip(_PLACES[ranking.prefer, step], news, strict=True):
        values[place] = value
    return tuple(values)
