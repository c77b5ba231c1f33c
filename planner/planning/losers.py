"""The losers of an answer: enough to see why each model lost on each server, not every quant that was tried."""

from __future__ import annotations

from collections.abc import Iterable

from planner.planning.comparison import explain_loss
from planner.planning.plan import Rejected
from planner.planning.rank import Candidate, Ranking

# With one model asked for, every quant and server of it is worth a line.
_ALL = 10**9
PER_REASON = 1


def losers_of(
    winner: Candidate,
    candidates: Iterable[Candidate],
    refused: Iterable[Rejected],
    ranking: Ranking,
    *,
    one_model: bool,
) -> tuple[Rejected, ...]:
    """Candidates that ranked lower, best first, then what was refused or did not fit: the first of each model,
    server and reason; all of them when only one model competes."""
    lower = (_lower(winner, other, ranking) for other in candidates if other is not winner)
    kept: dict[tuple[str, str | None, str], int] = {}
    found = []
    for loser in (*lower, *refused):
        key = (loser.model, loser.server, loser.reason_id)
        kept[key] = kept.get(key, 0) + 1
        if kept[key] <= (_ALL if one_model else PER_REASON):
            found.append(loser)
    return tuple(found)


def _lower(winner: Candidate, other: Candidate, ranking: Ranking) -> Rejected:
    level, text = explain_loss(winner, other, ranking)
    return Rejected(
        model=other.model.id,
        quant=other.quant.id,
        server=other.server,
        placement=other.placement.text,
        reason_id=level,
        text=text,
    )
