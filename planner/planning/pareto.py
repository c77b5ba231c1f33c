"""The Pareto view: what no other way to run a model here beats in quality, speed and context at once.

Compared in the steps of the ranking (bands of ability, half doublings of speed and context), so that differences within
the uncertainty do not count; of several ways in one step of all three, the one that ranks first stands for them. A
model, quant and server is passed over only when the best that it could reach is beaten already: its ability is known,
its speed is at most what memories and cores allow, its context at most what the model was trained for.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, log2
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from planner.catalog.records import Workload
from planner.errors import UsageError
from planner.hardware.facts import Hardware
from planner.planning.comparison import missed_targets
from planner.planning.constraints import Constraints
from planner.planning.frontier import ceiling_of
from planner.planning.machine import site_of
from planner.planning.question import Offers, Question, Triple, list_triples
from planner.planning.rank import SPEED_BANDS_PER_DOUBLING, Candidate, Ranking, Value, ability_band, key_of
from planner.planning.recommend import case_of, decide
from planner.planning.search import Found, evaluate
from planner.sizing.least import least_bytes
from planner.sizing.records import Placement, Record
from planner.sizing.shapes import shape_in
from planner.speed.records import Range

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

# Below every step of a rate that is known.
_UNKNOWN_SPEED = -1000
_NO_LIMIT = 1000

TEXT_ROLES = frozenset({"interactive", "batch"})


class Point(NamedTuple):
    """Steps of quality, speed and context: more is better."""

    quality: int
    speed: int
    context: int

    def dominates(self, other: Point) -> bool:
        """At least as good in all three, and better in one."""
        return self != other and all(mine >= theirs for mine, theirs in zip(self, other, strict=True))


class Option(Record, kw_only=True):
    """One way to run a model. `ability` in doublings of size, quant loss included; `context`: the longest that fits one
    user beside the others, at most what the model was trained for; `total_bytes` at the context asked for;
    `dominated_by`: an option that is at least as good in everything, None on the front."""

    model: str
    model_name: str
    quant: str
    server: str
    placement: Placement
    ability: float
    decode_tokens_per_s: Range | None
    context: int
    total_bytes: int
    useful: bool
    missed_targets: tuple[str, ...] = ()
    dominated_by: str | None = None

    @property
    def label(self) -> str:
        """`Qwen3-14B Q4_K_M on ollama`."""
        return f"{self.model_name} {self.quant} on {self.server}"


class Front(Record):
    """Options that nothing dominates, best quality first, and those that something does (only when asked for). `plan`:
    what `recommend` chooses, which may be dominated: it weighs the server, targets and headroom too."""

    options: tuple[Option, ...]
    plan: Option | None = None
    dominated: tuple[Option, ...] = ()


def pareto_front(question: Question, planned: Candidate | None = None, *, everything: bool = False) -> Front:
    """The front of one service; with `everything`, nothing is passed over and dominated options are told too.
    `planned`: what was chosen for the service.

    Raises UsageError for a role that does not write text: its speed is not predicted."""
    if question.role not in TEXT_ROLES:
        raise UsageError(
            f"--pareto compares models that write text, not {question.role} models", hint="take another --workload"
        )
    best = best_of_points(question, everything=everything)
    front = sorted((point for point in best if not _dominators(point, best)), reverse=True)
    rest = sorted((point for point in best if point not in front), reverse=True) if everything else []
    ranking = question.ranking
    chosen = _with_reach(planned, question) if planned else None
    return Front(
        options=tuple(_option(best[point], ranking) for point in front),
        plan=_option(chosen, ranking, _dominator(chosen, front, best, ranking)) if chosen else None,
        dominated=tuple(_option(best[point], ranking, best[_dominators(point, front)[0]]) for point in rest),
    )


def best_of_points(question: Question, *, everything: bool = False) -> dict[Point, Candidate]:
    """The first in rank at each point that something reaches; without `everything`, of points on the front all, of
    others some."""
    far = _far(question)
    limits = _Limits(question)
    best: dict[Point, tuple[tuple[Value, ...], Candidate]] = {}
    for triple in list_triples(question)[0]:
        bound = limits.point_of(triple)
        if bound is None or (not everything and _dominators(bound, best)):
            continue
        for candidate in evaluate(triple, far, Found()):
            point, key = point_of(candidate, question.ranking), key_of(candidate, question.ranking)
            if point not in best or key < best[point][0]:
                best[point] = key, candidate
    return {point: candidate for point, (_, candidate) in best.items()}


def point_of(candidate: Candidate, ranking: Ranking) -> Point:
    """Where a candidate stands."""
    rate = candidate.speed.decode_tokens_per_s
    return Point(
        ability_band(candidate.ability, ranking.edges),
        _step(rate.expected) if rate else _UNKNOWN_SPEED,
        _step(candidate.reachable_context_tokens),
    )


def _step(value: float) -> int:
    return floor(SPEED_BANDS_PER_DOUBLING * log2(value)) if value else 0


class _Limits:
    """What a model, quant and server can reach at best on one machine."""

    def __init__(self, question: Question) -> None:
        site = question.site
        self._question = question
        self._ceiling = ceiling_of(question, Offers(question))
        self._memory_bytes = sum(site.available_bytes(pool) for pool in site.pools)

    def point_of(self, triple: Triple) -> Point | None:
        """None when it exceeds all memory together."""
        model, demand = triple.model, self._question.demand
        shape = shape_in(self._question.catalog, model)
        least = least_bytes(shape, triple.quant)
        if least.resident > self._memory_bytes:
            return None
        rate = self._ceiling.decode_tokens_per_s(least, shape, triple.quant.speed_class, demand.users)
        return Point(
            ability_band(triple.ability, self._question.ranking.edges),
            _NO_LIMIT if rate is None else _step(rate),
            _step(model.context.native_tokens if model.context else demand.context_tokens),
        )


def _with_reach(planned: Candidate, question: Question) -> Candidate | None:
    """The chosen candidate with the context that it reaches."""
    triple = Triple((), planned.model, planned.quant, planned.server, planned.ability)
    every = evaluate(triple, _far(question), Found())
    return next((other for other in every if other.placement == planned.placement), None)


def _far(question: Question) -> Question:
    """The question in which evaluating a candidate also tells how far its context reaches, and the CPU is tried too."""
    return question._replace(ranking=replace(question.ranking, prefer="context"))


def _dominator(
    candidate: Candidate, front: Iterable[Point], best: dict[Point, Candidate], ranking: Ranking
) -> Candidate | None:
    found = _dominators(point_of(candidate, ranking), front)
    return best[found[0]] if found else None


def _dominators(point: Point, points: Iterable[Point]) -> list[Point]:
    return [other for other in points if other.dominates(point)]


def _option(candidate: Candidate, ranking: Ranking, by: Candidate | None = None) -> Option:
    return Option(
        model=candidate.model.id,
        model_name=candidate.model.name,
        quant=candidate.quant.id,
        server=candidate.server,
        placement=candidate.placement,
        ability=candidate.ability,
        decode_tokens_per_s=candidate.speed.decode_tokens_per_s,
        context=candidate.reachable_context_tokens,
        total_bytes=candidate.footprint.total_bytes,
        useful=ranking.is_useful(candidate.ability),
        missed_targets=missed_targets(candidate.speed, ranking.targets),
        dominated_by=by.label if by else None,
    )


def pareto(
    hardware: Hardware,
    catalog: Catalog,
    workload: Workload,
    constraints: Constraints,
    *,
    everything: bool = False,
) -> Front:
    """The front of the first service that a workload plans. Raises as `recommend`, and UsageError as `pareto_front`."""
    case = case_of(hardware, catalog, workload, constraints)
    main = decide(case, site_of(hardware, constraints)).chosen[0]
    return pareto_front(main.question, main.candidate, everything=everything)
