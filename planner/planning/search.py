"""Best-first search for one service: models x quants x servers, each placed and estimated only while it can still win.

The bound of a model, quant and server is the key that a perfect placement would have. Candidates are tried in the order
of their bounds, and the search ends when the next bound is worse than enough candidates already found: what was not
tried could not have won, so nothing is lost by not trying it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import inf

import msgspec
from msgspec.structs import replace

from planner.catalog.records import Model
from planner.planning.comparison import losing_level
from planner.planning.constraints import Constraints
from planner.planning.eligibility import Refusal, rejected
from planner.planning.fit import Demand, Fitter
from planner.planning.frontier import Frontier, TooLarge
from planner.planning.placement import Attempt, Site, attempts
from planner.planning.plan import Rejected
from planner.planning.question import Question, Triple, context_of
from planner.planning.rank import Candidate, Value, key_of
from planner.servers import SERVERS
from planner.speed.records import Speed
from planner.units import format_gib, format_rate

# Runners-up that an answer carries beside the plan.
RUNNERS_UP = 6


class Found(msgspec.Struct, frozen=True):
    """What a search brought: candidates best first, losers, what did not fit, and what fits but is too slow.
    `competing`: how many models might serve, by their kind, capabilities, licence and context."""

    candidates: list[Candidate] = []
    rejected: list[Rejected] = []
    misses: list[tuple[Triple, Attempt]] = []
    slow: list[tuple[Triple, Speed]] = []
    competing: int = 0


def search(question: Question) -> Found:
    """The best candidates for one service, and why the others are none."""
    frontier = Frontier(question)
    found = Found(rejected=frontier.losers, competing=frontier.competing)
    leaders = _Leaders(question)
    while frontier and not leaders.beat(frontier.bound):
        triple = frontier.pop()
        if triple is None:
            continue
        ahead = leaders.ahead_of(triple)
        if ahead is not None:
            found.rejected.append(_outranked(triple, *ahead, question))
            continue
        for candidate in evaluate(triple, question, found):
            found.candidates.append(candidate)
            leaders.add(candidate)
    _judge_too_large(frontier, question, found)
    if found.candidates:
        found.candidates.sort(key=lambda candidate: key_of(candidate, question.ranking))
        found.rejected.extend(_not_tried(frontier.rest(), found, question))
    return found


class _Leaders:
    """The best key of each name so far: enough of them end the search."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._best: dict[str, tuple[tuple[Value, ...], Candidate]] = {}
        self._last: tuple[Value, ...] | None = None

    def add(self, candidate: Candidate) -> None:
        """Another model counts, or another label when only one model competes."""
        name = candidate.label if self._question.constraints.model else candidate.model.id
        key = key_of(candidate, self._question.ranking)
        if name not in self._best or key < self._best[name][0]:
            self._best[name] = key, candidate
            ranked = sorted(key for key, _ in self._best.values())
            self._last = ranked[RUNNERS_UP] if len(ranked) > RUNNERS_UP else None

    def ahead_of(self, triple: Triple) -> tuple[tuple[Value, ...], Candidate] | None:
        """The candidate of the same model, with its key, that the triple cannot come before; None while one model
        competes alone. A bound ends before the names: it is above a key only where it is worse."""
        best = None if self._question.constraints.model else self._best.get(triple.model.id)
        return best if best is not None and triple.bound > best[0] else None

    def beat(self, bound: tuple[Value, ...]) -> bool:
        """Whether nothing with that bound can come before the last runner-up that is shown."""
        return self._last is not None and bound > self._last


def _judge_too_large(frontier: Frontier, question: Question, found: Found) -> None:
    """What exceeds all memory together. Without any candidate the nearest misses are sized exactly: the least of a
    triple lacks no more than the triple itself."""
    for large in frontier.too_large(by_triple=not found.candidates):
        hopeless = large.least_bytes - frontier.memory_bytes > _nearest_bytes(found)
        if large.triple is None or found.candidates or hopeless:
            found.rejected.append(_exceeds(large, frontier.memory_bytes))
        else:
            found.candidates.extend(evaluate(large.triple, question, found))


def _exceeds(large: TooLarge, memory_bytes: float) -> Rejected:
    text = f"needs more than {format_gib(large.least_bytes)}, all memory together has {format_gib(memory_bytes)}"
    why = Refusal(reason_id="memory", text=text)
    return rejected(large.model, why, large.quant.id, large.triple.server if large.triple else None)


def _nearest_bytes(found: Found) -> float:
    return min((attempt.missing_bytes for _, attempt in found.misses), default=inf)


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
    """Attempts on the devices that the question allows; the CPU even where a GPU holds the model when the row asks for
    it, or when memory left over counts for more than speed."""
    ranking = question.ranking
    return attempts(
        triple.server,
        fitter.expanded.shape,
        question.site,
        fitter.attempt,
        with_cpu=ranking.row.device == "cpu" or ranking.prefer in {"context", "headroom"},
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
    """The share of its tightest memory that a placement leaves free, headroom included. The NUMA nodes of RAM count as
    one memory: what leaves a whole node to others is not tight."""
    memory_of = {pool.id: "ram" if pool.kind == "ram" else pool.id for pool in site.pools}
    usable, used = Counter[str](), Counter[str]()
    for pool in site.pools:
        usable[memory_of[pool.id]] += pool.usable_bytes
    for use in attempt.footprint.pools:
        if use.pool in memory_of:
            used[memory_of[use.pool]] += use.total_bytes
    return min((1 - used[memory] / usable[memory] for memory in used if usable[memory]), default=0.0)


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


def _outranked(triple: Triple, key: tuple[Value, ...], ahead: Candidate, question: Question) -> Rejected:
    level = losing_level(triple.bound, key, question.ranking)
    return _loser(triple, level, f"at its best it ranks below {ahead.label} by {level}")


def _loser(triple: Triple, reason_id: str, text: str, attempt: Attempt | None = None) -> Rejected:
    return Rejected(
        model=triple.model.id,
        quant=triple.quant.id,
        server=triple.server,
        placement=attempt.placement.text if attempt else None,
        reason_id=reason_id,
        text=text,
    )


def _not_tried(rest: dict[str, tuple[Value, ...]], found: Found, question: Question) -> Iterator[Rejected]:
    """One entry per model that the search never sized: the level at which its best case loses."""
    seen = {candidate.model.id for candidate in found.candidates} | {loser.model for loser in found.rejected}
    best = found.candidates[0]
    key = key_of(best, question.ranking)
    for name, bound in rest.items():
        if name not in seen:
            level = losing_level(bound, key, question.ranking)
            text = _bound_loss(level, question.abilities[name].doublings, best, question)
            yield rejected(question.catalog.models[name], Refusal(reason_id=level, text=text))


def _bound_loss(level: str, ability: float, best: Candidate, question: Question) -> str:
    if level == "shortlist":
        return f"not on the shortlist of row {question.ranking.row.id}, where {best.model.name} fits"
    if level == "ability" and ability < best.ability:
        lost = best.ability - ability
        return f"at best {lost:.1f} size doublings less able than {best.model.name}, which fits"
    return f"at its best it ranks below {best.label} by {level}"
