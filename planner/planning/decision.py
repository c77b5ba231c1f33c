"""The decision as a table that a reader can redo: facts, row, and the first places with their value at every level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from planner.planning.ability import lost_doublings
from planner.planning.comparison import deciding_level, explain_loss
from planner.planning.plan import Decision, Place
from planner.planning.question import Question
from planner.planning.rank import ORDERS, Candidate, key_of

# The plan and four behind it: as many columns as 80 characters hold.
PLACES = 5


def decision_of(
    facts: tuple[str, ...], question: Question, winner: Candidate, runners: Iterable[Candidate]
) -> Decision:
    """The decision on one service, with the first places of its order."""
    ranking = question.ranking
    return Decision(
        facts=facts,
        row=ranking.row,
        targets=ranking.targets,
        prefer=ranking.prefer,
        axis=ranking.axis,
        levels=tuple(level.name for level in ORDERS[ranking.prefer]),
        places=tuple(_places([winner, *runners][:PLACES], question)),
    )


def _places(ranked: list[Candidate], question: Question) -> Iterator[Place]:
    yield _place(ranked[0], question, None, None)
    for ahead, candidate in pairwise(ranked):
        level = deciding_level(ahead, candidate, question.ranking)
        yield _place(candidate, question, level, explain_loss(ahead, candidate, question.ranking)[1])


def _place(candidate: Candidate, question: Question, level: str | None, text: str | None) -> Place:
    rate, wait = candidate.speed.decode_tokens_per_s, candidate.speed.ttft_s
    return Place(
        model=candidate.model.id,
        model_name=candidate.model.name,
        quant=candidate.quant.id,
        server=candidate.server,
        placement=candidate.placement,
        values=key_of(candidate, question.ranking),
        ability=candidate.ability,
        quant_loss=_quant_loss(candidate, question),
        decode_tokens_per_s=rate.expected if rate else None,
        ttft_s=wait.expected if wait else None,
        total_bytes=candidate.footprint.total_bytes,
        free_fraction=candidate.free_fraction,
        behind_by=level,
        behind_text=text,
    )


def _quant_loss(candidate: Candidate, question: Question) -> float:
    if candidate.model.id not in question.abilities:
        return 0.0
    return lost_doublings(candidate.quant, candidate.model, question.abilities)
