"""Everything that may still win, best possible key first. What is known of it grows only when its turn comes: of a
model the best rates that any quant allows, then its quants and servers, then a bound from the least bytes of each, and
only then exact sizes and speeds."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import msgspec
from msgspec.structs import replace

from planner.catalog.records import Model, Quant
from planner.planning.bounds import news_of, sharpened
from planner.planning.question import Offers, Question, Triple, alone, list_models, triples_of
from planner.planning.rank import Known, Value
from planner.sizing.least import least_bytes
from planner.sizing.records import Placement
from planner.sizing.shapes import shape_in
from planner.speed.ceiling import Ceiling

_Bound = tuple[Value, ...]
_Entry = tuple[_Bound, str, str, str, Triple | None, bool]

_ON_CPU = Placement(kind="cpu")


class _Rated(msgspec.Struct, frozen=True):
    """What the least bytes of a model in a quant, or in the best of several, say on any server: those that must lie in
    some memory, and the news of the best rates (None: they exceed all memory)."""

    quant: Quant
    resident_bytes: float
    news: _Bound | None


class TooLarge(msgspec.Struct, frozen=True):
    """What exceeds all memory together: a model in every quant (no triple), or one triple of it. `least_bytes`: what it
    needs at the least."""

    least_bytes: float
    model: Model
    quant: Quant
    triple: Triple | None = None


class Frontier:
    """A queue of models and triples. `losers`: refused so far. `memory_bytes`: what a plan may put into all pools."""

    def __init__(self, question: Question) -> None:
        self._question = question
        models, self.losers = list_models(question)
        self._too_large: list[TooLarge] = []
        self.memory_bytes = sum(question.site.available_bytes(pool) for pool in question.site.pools)
        self._models = {model.id: model for model in models}
        self._offers = Offers(question)
        self._ceiling = ceiling_of(question, self._offers)
        self._lightest = self._ceiling.lightest(self._offers.quants())
        self._known: dict[tuple[str, str, str], _Rated] = {}
        self._heap = [_entry(alone(model, question), model, None, tight=False) for model in models]
        heapify(self._heap)

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def competing(self) -> int:
        """How many models may compete."""
        return len(self._models)

    @property
    def bound(self) -> _Bound:
        """The best key that anything left can have."""
        return self._heap[0][0]

    def pop(self) -> Triple | None:
        """The next triple to evaluate; None when the next entry only made its bound better known."""
        bound, model_id, _, _, triple, tight = heappop(self._heap)
        model = self._models[model_id]
        if not tight and not self._holds(bound, model, triple):
            return None
        if triple is None:
            for one in self._triples(bound, model):
                heappush(self._heap, _entry(one.bound, model, one, tight=False))
        return triple

    def rest(self) -> dict[str, _Bound]:
        """The models that are left, by their ids, with the best key that each can have, best first."""
        left: dict[str, _Bound] = {}
        for bound, model_id, *_ in sorted(self._heap, key=lambda entry: entry[:4]):
            left.setdefault(model_id, bound)
        return left

    def too_large(self, *, by_triple: bool) -> list[TooLarge]:
        """What exceeds all memory together, fewest bytes first; `by_triple`: every quant and server of it apart."""
        found = self._too_large
        if by_triple:
            found = [one for large in found for one in self._by_triple(large)]
        return sorted(found, key=lambda large: (large.least_bytes, large.model.id))

    def _by_triple(self, large: TooLarge) -> list[TooLarge]:
        if large.triple is not None:
            return [large]
        model = large.model
        triples = self._triples(alone(model, self._question), model)
        return [TooLarge(self._rated(model, one.quant).resident_bytes, model, one.quant, one) for one in triples]

    def _holds(self, bound: _Bound, model: Model, triple: Triple | None) -> bool:
        """Whether a bound is still as good with the best rates of its quant, or without a triple of any quant. What is
        worse waits for its turn, what is too large has none."""
        if triple is None and not self._lightest:
            return True
        rated = self._rated(model, triple.quant) if triple else self._best_rated(model)
        if rated.news is None:
            self._too_large.append(TooLarge(rated.resident_bytes, model, rated.quant, triple))
            return False
        tight = sharpened(bound, "rates", rated.news, self._question.ranking)
        if tight <= bound:
            return True
        heappush(self._heap, _entry(tight, model, replace(triple, bound=tight) if triple else None, tight=True))
        return False

    def _triples(self, bound: _Bound, model: Model) -> list[Triple]:
        triples, losers = triples_of(model, self._question, self._offers, bound)
        self.losers.extend(losers)
        return triples

    def _best_rated(self, model: Model) -> _Rated:
        """The best rates that any quant allows, with the fewest bytes that some quant needs."""
        rated = [self._rated(model, quant) for quant in self._lightest]
        least = min(rated, key=lambda one: one.resident_bytes)
        news = [one.news for one in rated if one.news is not None]
        return replace(least, news=tuple(map(min, zip(*news, strict=True))) if news else None)

    def _rated(self, model: Model, quant: Quant) -> _Rated:
        key = model.id, quant.id, quant.format
        if key not in self._known:
            self._known[key] = self._rate(model, quant)
        return self._known[key]

    def _rate(self, model: Model, quant: Quant) -> _Rated:
        question = self._question
        shape, demand = shape_in(question.catalog, model), question.demand
        least = least_bytes(shape, quant)
        if least.resident > self.memory_bytes:
            return _Rated(quant, least.resident, None)
        rate = self._ceiling.decode_tokens_per_s(least, shape, quant.speed_class, demand.users)
        wait = self._ceiling.prefill_floor_s(least, shape, demand.prompt_tokens)
        known = Known(model, question.abilities[model.id].doublings, quant, None, rate, wait)
        return _Rated(quant, least.resident, news_of("rates", known, question.ranking))


def _entry(bound: _Bound, model: Model, triple: Triple | None, *, tight: bool) -> _Entry:
    """Equal bounds come out by the names of model, quant and server."""
    quant, server = (triple.quant.id, triple.server) if triple else ("", "")
    return bound, model.id, quant, server, triple, tight


def ceiling_of(question: Question, offers: Offers) -> Ceiling:
    """The best rates that the servers of a question reach on its machine."""
    hardware = question.site.hardware
    return Ceiling(hardware, question.site.pools, [room.stack(hardware, _ON_CPU) for room in offers.rooms])
