"""What will bite: pure checks over a few facts of services and machine, the same for plans, files and hosts."""

from __future__ import annotations

from collections.abc import Iterator

from planner.planning.pitfalls.register import PITFALLS
from planner.planning.pitfalls.scene import Pitfall, Scene, Severity, Side, Sign


def look(scene: Scene, side: Side) -> Iterator[tuple[Pitfall, Sign]]:
    """Every pitfall of that side with what its check found, in the order of the register."""
    for pitfall in PITFALLS:
        if side in pitfall.sides:
            for sign in pitfall.check(scene):
                yield pitfall, sign


def severity_of(pitfall: Pitfall, sign: Sign) -> Severity:
    """The sign's own severity, else the usual one."""
    return sign.severity or pitfall.severities[0]


def fix_of(pitfall: Pitfall, sign: Sign) -> str | None:
    """The sign's own fix, else the usual one."""
    return sign.fix or pitfall.fix
