"""Expected failures: what happened, where, and what to try. Only the command line prints or exits."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PlannerError(Exception):
    """An expected failure. `hint` is the remedy; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PlannerError):
    """The caller asked for something contradictory or unreadable (exit 2)."""

    exit_code = 2


class UnknownChoice(UsageError):
    """A name that is none of a fixed list, whose members are called `kind`."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = tuple(known)
        close = near_misses(name, names)
        hint = f"did you mean {close[0]}?" if close else f"{kind}s: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}", hint=hint)


class CatalogError(PlannerError):
    """A catalog file is broken or names something that does not exist."""


class UnknownName(CatalogError):
    """A model, quant, server, device or workload that the catalog does not hold; `matches` are near misses."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> None:
        self.matches = near_misses(name, known)
        shown = f"did you mean {', '.join(self.matches)}?" if self.matches else None
        super().__init__(f"unknown {kind} {name!r}", hint=hint or shown)


class ProbeError(PlannerError):
    """A saved machine or captured tree could not be used at all (a missing fact is a note instead)."""


class ModelFileError(PlannerError):
    """A GGUF file or config.json is broken; the message names the field."""


class RenderError(PlannerError):
    """A plan cannot be rendered for this target, or a file could not be written."""


class NoFeasiblePlan(PlannerError):
    """Nothing fits (exit 4); the message holds the nearest miss, the hint what would make it fit."""

    exit_code = 4


def near_misses(name: str, known: Iterable[str], limit: int = 4) -> tuple[str, ...]:
    """The known names most like `name`, best first, compared without case."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), by_folded, n=limit, cutoff=0.5)
    if len(close) < limit:
        close += [c for c in by_folded if name.casefold() in c and c not in close][: limit - len(close)]
    return tuple(by_folded[folded] for folded in close)
