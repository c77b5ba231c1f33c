"""Which CPU series a processor belongs to, by its model name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from planner.catalog.records import CpuSeries

_MARKS = re.compile(r"\((?:r|tm|c)\)|[®™]", re.IGNORECASE)
_WILDCARDS = re.compile(r"[?*]")


def best_series(series: Iterable[CpuSeries], name: str) -> CpuSeries | None:
    """The series whose fragments all stand in the name (case ignored); of several, the one that says most letters."""
    text = " ".join(_MARKS.sub(" ", name).casefold().split())
    fitting = [each for each in series if all(_stands_in(part, text) for part in each.match)]
    return max(fitting, key=_specificity, default=None)


def _specificity(series: CpuSeries) -> int:
    """Letters that are not wildcards, so that `7950x` beats `7??0x` and that beats `ryzen`."""
    return sum(len(_WILDCARDS.sub("", part)) for part in series.match)


def _stands_in(fragment: str, text: str) -> bool:
    """Plain search first: of 700 series a handful remain for the pattern."""
    folded = fragment.casefold()
    return all(part in text for part in _WILDCARDS.split(folded)) and _pattern(folded).search(text) is not None


@lru_cache(maxsize=256)
def _pattern(fragment: str) -> re.Pattern[str]:
    """A whole word or words; `?` is one letter or digit, `*` any number of them."""
    wildcards = re.escape(fragment).replace(r"\?", "[a-z0-9]").replace(r"\*", "[a-z0-9+]*")
    return re.compile(rf"(?<![a-z0-9]){wildcards}(?![a-z0-9])")
