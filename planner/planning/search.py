"""Best-first search for one service: models x quants x servers, each placed and estimated only while it can still win.

The bound of a model, quant and server is the key that a perfect placement would have. Candidates are tried in the order
of their bounds, and the search ends when the next bound is worse than enough candidates already found: what was not
tried could not have won, so nothing is lost by not trying it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from planner.catalog.records import Model
from planner.planning.constraints import Constraints
from planner.planning.eligibility import Refusal
from planner.planning.fit import Demand, Fitter
from planner.planning.placement import Attempt, Site, attempts
from planner.planning.plan import Rejected
from planner.planning.question import Question, Triple, context_of, list_triples
from planner.planning.rank import Candidate, Ranking, Value, key_of
from planner.servers import SERVERS
from planner.speed.records import Speed
from planner.units import format_gib, format_rate

# Runners-up that an answer carries beside the plan.
RUNNERS_UP = 6


class Found(NamedTuple):
    """What a search brought: candidates best first, losers, what did not fit, and what fits but is too slow."""

    candidates: list[Candidate]
    rejected: list[Rejected]
    misses: list[tuple[Triple, Attempt]]
    slow: list[tuple[Triple, Speed]]


def search(question: Question) -> Found:
    """The best candidates for one service, and why the others are none."""
    triples, losers = list_triples(question)
    found = Found([], losers, [], [])
    keys: list[tuple[tuple[Value, ...], str]] = []
    wanted = RUNNERS_UP + 1
    for number, triple in enumerate(triples):
        best = _best_per_name(keys, wanted)
        if len(best) >= wanted and triple.bound > best[-1][: len(triple.bound)]:
            found.rejected.extend(_not_tried(triples[number:], found, question))
            break
        for candidate in evaluate(triple, question, found):
            found.candidates.append(candidate)
            keys.append((key_of(candidate, question.ranking), _name(candidate, question)))
    found.candidates.sort(key=lambda candidate: key_of(candidate, question.ranking))
    return found


def _name(candidate: Candidate, question: Question) -> str:
    """What counts as another runner-up: another model, or another label when only one model competes."""
    return candidate.label if question.constraints.model else candidate.model.id


def _best_per_name(keys: list[tuple[tuple[Value, ...], str]], wanted: int) -> list[tuple[Value, ...]]:
    best: dict[str, tuple[Value, ...]] = {}
    for key, name in keys:
        if name not in best or key < best[name]:
            best[name] = key
    return sorted(best.values())[:wanted]


def evaluate(triple: Triple, question: Question, found: Found) -> Iterator[Candidate]:
    """Candidates of one triple: objections, then sizes, then speeds of what fits. Losers go to `found`."""
    room = SERVERS[triple.server]
    kv_type = question.constraints.kv_type
    objections = room.supports(triple.model, triple.quant, question.site.hardware, kv_type=kv_type)
    if objections:
        found.rejected.append(_loser(triple, objections[0].reason_id, objections[0].text))
        return
    fitter = Fitter(triple.model, triple.quant, room, _demand_for(triple.model, question), question.site)
    nearest: Attempt | None = None
    placed = False
    for attempt in _attempts(fitter, triple, question):
        if not attempt.fits:
            nearest = attempt if nearest is None or attempt.missing_bytes < nearest.missing_bytes else nearest
            continue
        why = room.supports(triple.model, triple.quant, question.site.hardware, attempt.placement, kv_type=kv_type)
        if why:
            found.rejected.append(_loser(triple, why[0].reason_id, why[0].text, attempt))
            continue
        placed = True
        speed = fitter.speed(attempt)
        problem = _too_slow(speed, question.constraints)
        if problem is not None:
            found.rejected.append(_loser(triple, problem.reason_id, problem.text, attempt))
            found.slow.append((triple, speed))
            continue
        candidate = _candidate(triple, attempt, speed, question.site)
        if question.ranking.prefer == "context":
            candidate = replace(candidate, reachable_context_tokens=fitter.reachable_context(attempt.placement))
        yield candidate
    if nearest is not None and not placed:
        found.misses.append((triple, nearest))
        found.rejected.append(_loser(triple, "memory", miss_text(nearest), nearest))


def _demand_for(model: Model, question: Question) -> Demand:
    if not question.native_context:
        return question.demand
    return replace(question.demand, context_tokens=context_of(model, question))


def _attempts(fitter: Fitter, triple: Triple, question: Question) -> Iterator[Attempt]:
    """Attempts on the devices that the question allows; with the CPU where the row asks for it."""
    return attempts(
        triple.server,
        fitter.expanded.shape,
        question.site,
        fitter.attempt,
        with_cpu=question.ranking.row.device == "cpu",
        users=question.demand.users,
        allowed=question.kinds,
    )


def _candidate(triple: Triple, attempt: Attempt, speed: Speed, site: Site) -> Candidate:
    return Candidate(
        model=triple.model,
        quant=triple.quant,
        server=triple.server,
        placement=attempt.placement,
        footprint=attempt.footprint,
        speed=speed,
        ability=triple.ability,
        free_fraction=free_fraction(attempt, site),
    )


def free_fraction(attempt: Attempt, site: Site) -> float:
    """The share of its tightest pool that a placement leaves free, headroom included."""
    usable = {pool.id: pool.usable_bytes for pool in site.pools}
    shares = [1 - use.total_bytes / usable[use.pool] for use in attempt.footprint.pools if usable.get(use.pool)]
    return min(shares, default=0.0)


def _too_slow(speed: Speed, asked: Constraints) -> Refusal | None:
    if asked.min_decode_tokens_per_s is not None:
        rate = speed.decode_tokens_per_s
        if rate is None:
            return Refusal(reason_id="speed-unknown", text="its speed is not known, so --min-decode cannot be promised")
        if rate.expected < asked.min_decode_tokens_per_s:
            text = f"decodes {format_rate(rate.expected)} tok/s, asked for {format_rate(asked.min_decode_tokens_per_s)}"
            return Refusal(reason_id="min-decode", text=text)
    if asked.max_ttft_s is not None:
        wait = speed.ttft_s
        if wait is None:
            return Refusal(reason_id="speed-unknown", text="its prefill is not known, so --max-ttft cannot be promised")
        if wait.expected > asked.max_ttft_s:
            text = f"first token after {wait.expected:.1f} s, asked for {asked.max_ttft_s:g} s"
            return Refusal(reason_id="max-ttft", text=text)
    return None


def miss_text(attempt: Attempt) -> str:
    """What is lacking where."""
    lacks = ", ".join(f"{format_gib(count)} in {pool}" for pool, count in sorted(attempt.missing.items()))
    return f"needs {format_gib(attempt.footprint.total_bytes)} {attempt.placement.text}: {lacks} too little"


def _loser(triple: Triple, reason_id: str, text: str, attempt: Attempt | None = None) -> Rejected:
    return Rejected(
        model=triple.model.id,
        quant=triple.quant.id,
        server=triple.server,
        placement=attempt.placement.text if attempt else None,
        reason_id=reason_id,
        text=text,
    )


def _not_tried(rest: list[Triple], found: Found, question: Question) -> Iterator[Rejected]:
    """One entry per model that the search never reached: the level at which its best case loses."""
    seen = {candidate.model.id for candidate in found.candidates} | {loser.model for loser in found.rejected}
    best = min(found.candidates, key=lambda candidate: key_of(candidate, question.ranking))
    for triple in rest:
        if triple.model.id in seen:
            continue
        seen.add(triple.model.id)
        yield _loser(triple, *_bound_loss(triple, best, question.ranking))


def _bound_loss(triple: Triple, best: Candidate, ranking: Ranking) -> tuple[str, str]:
    row = ranking.row
    if row.shortlist and triple.model.id not in row.shortlist and best.model.id in row.shortlist:
        return "shortlist", f"not on the shortlist of row {row.id}, where {best.model.name} fits"
    if triple.ability < best.ability:
        lost = best.ability - triple.ability
        return "ability", f"at best {lost:.1f} size doublings less able than {best.model.name}, which fits"
    if triple.server != best.server:
        return "server", f"the row prefers {best.server}"
    return "order", f"ranked below {best.model.name} before its size was asked"
