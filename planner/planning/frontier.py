"""Everything that may still win, best possible key first. What is known of it grows only when its turn comes: a model,
then its quants and servers, then a bound from its least bytes, and only then its exact sizes and speeds."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import msgspec

from planner.planning.bounds import bound_of, news_of, sharpened
from planner.planning.question import Offers, Question, Triple, list_models, triples_of
from planner.planning.rank import Known, Value
from planner.sizing.least import least_bytes
from planner.sizing.shapes import shape_in
from planner.speed.ceiling import Ceiling

_Entry = tuple[tuple[Value, ...], str, str, str, Triple | None, bool]


class _Rated(msgspec.Struct, frozen=True):
    """What the least bytes of a model in a quant say on any server: those that must lie in some memory, and the news of
    their best rates (None: they exceed all memory)."""

    resident_bytes: float
    news: tuple[Value, ...] | None


class Frontier:
    """A queue of models and triples. `losers`: refused so far. `too_large`: exceed all memory of the site together,
    with the bytes that they need at the least. `memory_bytes`: what a plan may put into all pools."""

    def __init__(self, question: Question) -> None:
        self._question = question
        models, self.losers = list_models(question)
        self.too_large: list[tuple[float, Triple]] = []
        self.memory_bytes = sum(question.site.available_bytes(pool) for pool in question.site.pools)
        self._ceiling = Ceiling(question.site.hardware, question.site.pools)
        self._models = {model.id: model for model in models}
        self._offers = Offers(question)
        self._rated: dict[tuple[str, str, str], _Rated] = {}
        ranking, abilities = question.ranking, question.abilities
        self._heap: list[_Entry] = [
            (bound_of(Known(model, abilities[model.id].doublings), ranking), model.id, "", "", None, False)
            for model in models
        ]
        heapify(self._heap)

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def bound(self) -> tuple[Value, ...]:
        """The best key that anything left can have."""
        return self._heap[0][0]

    def pop(self) -> Triple | None:
        """The next triple to evaluate; None when the next entry only made its bound better known."""
        _, model_id, _, _, triple, tight = heappop(self._heap)
        if triple is None:
            self._expand(model_id)
            return None
        return triple if tight else self._tighten(triple)

    def rest(self) -> list[str]:
        """Ids of models that are left, best first, each once."""
        return list(dict.fromkeys(entry[1] for entry in sorted(self._heap, key=lambda entry: entry[:4])))

    def _expand(self, model_id: str) -> None:
        triples, losers = triples_of(self._models[model_id], self._question, self._offers)
        self.losers.extend(losers)
        for triple in triples:
            self._push(triple, tight=False)

    def _tighten(self, triple: Triple) -> Triple | None:
        """The triple itself when its bound still holds first place."""
        key = triple.model.id, triple.quant.id, triple.quant.format
        rated = self._rated.get(key)
        if rated is None:
            rated = self._rated[key] = self._rate(triple)
        if rated.news is None:
            self.too_large.append((rated.resident_bytes, triple))
            return None
        bound = sharpened(triple.bound, "rates", rated.news, self._question.ranking)
        if bound <= triple.bound:
            return triple
        self._push(Triple(bound, triple.model, triple.quant, triple.server, triple.ability), tight=True)
        return None

    def _rate(self, triple: Triple) -> _Rated:
        shape = shape_in(self._question.catalog, triple.model)
        least, demand = least_bytes(shape, triple.quant), self._question.demand
        if least.resident > self.memory_bytes:
            return _Rated(least.resident, None)
        rate = self._ceiling.decode_tokens_per_s(least, shape, demand.users)
        wait = self._ceiling.prefill_floor_s(shape, demand.prompt_tokens)
        known = Known(triple.model, triple.ability, triple.quant, None, rate, wait)
        return _Rated(least.resident, news_of("rates", known, self._question.ranking))

    def _push(self, triple: Triple, *, tight: bool) -> None:
        heappush(self._heap, (triple.bound, triple.model.id, triple.quant.id, triple.server, triple, tight))
