"""What the checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from planner.hardware.facts import Hardware
from planner.planning.placement import Site
from planner.planning.plan import Warning as Pitfall
from planner.planning.rank import Candidate
from planner.planning.roles import Case, Services


class View(NamedTuple):
    """A finished decision: the question, its services, and the memory they were placed in."""

    case: Case
    services: Services
    site: Site

    @property
    def hardware(self) -> Hardware:
        """The machine."""
        return self.case.hardware


Check = Callable[[View], Iterator[Pitfall]]


def uses_ram(candidate: Candidate) -> bool:
    """Whether the CPU computes a part."""
    return candidate.placement.kind in {"cpu", "experts-in-ram", "split"}
