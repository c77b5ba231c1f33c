"""Everything that may still win, best possible key first. What is known of it grows only when its turn comes: of a
model the best rates that any quant allows, then its quants and servers, then a bound from the least bytes of each, and
only then exact sizes and speeds."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import msgspec

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
    """What the least bytes of a model in a quant say on any server: those that must lie in some memory, and the news of
    their best rates (None: they exceed all memory)."""

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
        self.too_large: list[TooLarge] = []
        self.memory_bytes = sum(question.site.available_bytes(pool) for pool in question.site.pools)
        self._models = {model.id: model for model in models}
        self._offers = Offers(question)
        self._ceiling = ceiling_of(question, self._offers)
        self._lightest = self._ceiling.lightest(self._offers.quants())
        self._rated: dict[tuple[str, str, str], _Rated] = {}
        self._heap: list[_Entry] = [(alone(model, question), model.id, "", "", None, False) for model in models]
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
        if tight and triple is not None:
            return triple
        if triple is not None:
            return self._tighten(triple)
        if tight or self._is_best(bound, self._models[model_id]):
            self._expand(bound, model_id)
        return None

    def rest(self) -> dict[str, _Bound]:
        """The models that are left, by their ids, with the best key that each can have, best first."""
        left: dict[str, _Bound] = {}
        for bound, model_id, *_ in sorted(self._heap, key=lambda entry: entry[:4]):
            left.setdefault(model_id, bound)
        return left

    def triples_too_large(self) -> list[tuple[float, Triple]]:
        """Everything that exceeds all memory together, with the bytes that it needs at the least, fewest first."""
        found: list[tuple[float, Triple]] = []
        for entry in self.too_large:
            model, triple = entry.model, entry.triple
            triples = [triple] if triple else self._triples(alone(model, self._question), model)
            found += [(self._rating(one).resident_bytes, one) for one in triples]
        return sorted(found, key=lambda pair: (pair[0], pair[1].model.id))

    def _is_best(self, bound: _Bound, model: Model) -> bool:
        """Whether the bound of a model still holds with the best rates of any quant; else it waits for its turn."""
        if not self._lightest:
            return True
        rated = [(self._rate(model, quant), quant) for quant in self._lightest]
        news = [one.news for one, _ in rated if one.news is not None]
        if not news:
            least, quant = min(rated, key=lambda pair: pair[0].resident_bytes)
            self.too_large.append(TooLarge(least.resident_bytes, model, quant))
            return False
        tight = sharpened(bound, "rates", tuple(map(min, zip(*news, strict=True))), self._question.ranking)
        if tight <= bound:
            return True
        heappush(self._heap, (tight, model.id, "", "", None, True))
        return False

    def _expand(self, bound: _Bound, model_id: str) -> None:
        for triple in self._triples(bound, self._models[model_id]):
            self._push(triple, tight=False)

    def _triples(self, bound: _Bound, model: Model) -> list[Triple]:
        triples, losers = triples_of(model, self._question, self._offers, bound)
        self.losers.extend(losers)
        return triples

    def _tighten(self, triple: Triple) -> Triple | None:
        """The triple itself when its bound still holds first place."""
        rated = self._rating(triple)
        if rated.news is None:
            self.too_large.append(TooLarge(rated.resident_bytes, triple.model, triple.quant, triple))
            return None
        bound = sharpened(triple.bound, "rates", rated.news, self._question.ranking)
        if bound <= triple.bound:
            return triple
        self._push(Triple(bound, triple.model, triple.quant, triple.server, triple.ability), tight=True)
        return None

    def _rating(self, triple: Triple) -> _Rated:
        key = triple.model.id, triple.quant.id, triple.quant.format
        if key not in self._rated:
            self._rated[key] = self._rate(triple.model, triple.quant)
        return self._rated[key]

    def _rate(self, model: Model, quant: Quant) -> _Rated:
        shape = shape_in(self._question.catalog, model)
        least, demand = least_bytes(shape, quant), self._question.demand
        if least.resident > self.memory_bytes:
            return _Rated(least.resident, None)
        rate = self._ceiling.decode_tokens_per_s(least, shape, quant.speed_class, demand.users)
        wait = self._ceiling.prefill_floor_s(least, shape, demand.prompt_tokens)
        known = Known(model, 0.0, quant, None, rate, wait)
        return _Rated(least.resident, news_of("rates", known, self._question.ranking))

    def _push(self, triple: Triple, *, tight: bool) -> None:
        heappush(self._heap, (triple.bound, triple.model.id, triple.quant.id, triple.server, triple, tight))


def ceiling_of(question: Question, offers: Offers) -> Ceiling:
    """The best rates that the servers of a question reach on its machine."""
    hardware = question.site.hardware
    return Ceiling(hardware, question.site.pools, [room.stack(hardware, _ON_CPU) for room in offers.rooms])
