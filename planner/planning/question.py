"""What one service is asked for, and everything that may compete for it, best possible key first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from planner.catalog.records import Model, Quant
from planner.catalog.records.policy import Role
from planner.planning.ability import Ability, ability_in
from planner.planning.bounds import bound_of, news_of, sharpened
from planner.planning.constraints import Constraints
from planner.planning.eligibility import Refusal, refuse_model, refuse_quant, rejected
from planner.planning.fit import Demand
from planner.planning.placement import KINDS, Site
from planner.planning.plan import Rejected
from planner.planning.rank import Known, Ranking, Value
from planner.servers import SERVERS

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.servers.base import ServerRoom


class Question(NamedTuple):
    """One service to find."""

    catalog: Catalog
    role: Role
    site: Site
    demand: Demand
    native_context: bool
    capabilities: tuple[str, ...]
    floor: Quant | None
    constraints: Constraints
    ranking: Ranking
    abilities: Mapping[str, Ability]
    kinds: tuple[str, ...] | None = None


class Triple(msgspec.Struct, frozen=True):
    """A model, quant and server, with the best key that it could reach."""

    bound: tuple[Value, ...]
    model: Model
    quant: Quant
    server: str
    ability: float


_NO_SOURCE = Refusal(reason_id="no-source", text="no published file is known that an allowed server could read")


def list_models(question: Question) -> tuple[list[Model], list[Rejected]]:
    """The models that may compete, and why the others may not."""
    found: list[Model] = []
    losers: list[Rejected] = []
    for model in question.catalog.models.values():
        context = context_of(model, question)
        refusal = refuse_model(model, question.role, question.capabilities, context, question.constraints)
        refusal = refusal or _unsized(model, question)
        if refusal is None:
            found.append(model)
        else:
            losers.append(rejected(model, refusal))
    return found, losers


class Offers:
    """The quants that each allowed server can get for a model. Whether a quant may be used does not depend on the model
    and is judged once."""

    def __init__(self, question: Question) -> None:
        asked, kinds = question.constraints, question.kinds
        self._question = question
        self._rooms = [
            (server, room)
            for server, room in SERVERS.items()
            if asked.server in {None, server}
            and server not in asked.exclude
            and (kinds is None or set(kinds) & set(KINDS[server]))
        ]
        self._judged: dict[tuple[str, str], tuple[Quant | None, Refusal | None]] = {}

    @property
    def rooms(self) -> list[ServerRoom]:
        """The servers that may serve."""
        return [room for _, room in self._rooms]

    def quants(self) -> list[Quant]:
        """The quants that some allowed server reads and that may be used."""
        question, formats = self._question, set[str]()
        for server, _ in self._rooms:
            formats.update(question.catalog.server(server).formats)
        readable = [quant for quant in question.catalog.quants.values() if quant.format in formats]
        return [quant for quant in readable if refuse_quant(quant, question.floor, question.constraints) is None]

    def of(self, model: Model) -> Iterator[tuple[Quant, str, Refusal | None]]:
        """Quant, server, and the reason where it may not be used."""
        asked = self._question.constraints.quant
        for server, room in self._rooms:
            offered = room.quants(model, self._question.site.hardware)
            for name in offered if asked is None or asked in offered else (asked,):
                quant, why = self._judge(name, server)
                if quant is not None:
                    yield quant, server, why

    def _judge(self, name: str, server: str) -> tuple[Quant | None, Refusal | None]:
        known = self._judged.get((name, server))
        if known is None:
            question = self._question
            quant = quant_for(question.catalog, name, server)
            why = None if quant is None else refuse_quant(quant, question.floor, question.constraints)
            known = self._judged[name, server] = quant, why
        return known


class _Bounds:
    """The bounds of one model's triples: what a quant says on any server, and a server in any quant, is asked once."""

    def __init__(self, model: Model, question: Question, alone: tuple[Value, ...]) -> None:
        self._model, self._question, self._alone = model, question, alone
        self._in_quant: dict[tuple[str, str], tuple[float, tuple[Value, ...]]] = {}
        self._on_server: dict[str, tuple[Value, ...]] = {}

    def triple(self, quant: Quant, server: str) -> Triple:
        """The model in a quant on a server."""
        key = quant.id, quant.format
        if key not in self._in_quant:
            self._in_quant[key] = self._sharper(quant)
        ability, bound = self._in_quant[key]
        if server not in self._on_server:
            known = Known(self._model, ability, quant, server)
            self._on_server[server] = news_of("server", known, self._question.ranking)
        bound = sharpened(bound, "server", self._on_server[server], self._question.ranking)
        return Triple(bound, self._model, quant, server, ability)

    def _sharper(self, quant: Quant) -> tuple[float, tuple[Value, ...]]:
        ability, ranking = ability_in(quant, self._model, self._question.abilities), self._question.ranking
        news = news_of("quant", Known(self._model, ability, quant), ranking)
        return ability, sharpened(self._alone, "quant", news, ranking)


def alone(model: Model, question: Question) -> tuple[Value, ...]:
    """The bound of a model of which nothing else is known."""
    return bound_of(Known(model, question.abilities[model.id].doublings), question.ranking)


def triples_of(
    model: Model, question: Question, offers: Offers, bound: tuple[Value, ...]
) -> tuple[list[Triple], list[Rejected]]:
    """The quants and servers of one model that may compete, and why the others may not. `bound`: the model's own."""
    found: list[Triple] = []
    losers: list[Rejected] = []
    bounds = _Bounds(model, question, bound)
    for quant, server, why in offers.of(model):
        if why is None:
            found.append(bounds.triple(quant, server))
        else:
            losers.append(rejected(model, why, quant.id, server))
    if not found and not losers:
        losers.append(rejected(model, _NO_SOURCE))
    return found, losers


def list_triples(question: Question) -> tuple[list[Triple], list[Rejected]]:
    """Everything that may compete, best bound first, and what may not."""
    models, losers = list_models(question)
    offers = Offers(question)
    found: list[Triple] = []
    for model in models:
        triples, refused = triples_of(model, question, offers, alone(model, question))
        found.extend(triples)
        losers.extend(refused)
    found.sort(key=lambda triple: (triple.bound, triple.model.id, triple.quant.id, triple.server))
    return found, losers


def context_of(model: Model, question: Question) -> int:
    """Tokens one user gets of this model: its native length when that was asked for."""
    if question.native_context and model.context is not None:
        return model.context.native_tokens
    return question.demand.context_tokens


def _unsized(model: Model, question: Question) -> Refusal | None:
    if model.id in question.abilities:
        return None
    return Refusal(reason_id="unsized", text="its architecture is not known well enough to size it")


def quant_for(catalog: Catalog, name: str, server: str) -> Quant | None:
    """The quant of that id in a format of the server; None when it has none."""
    for form in catalog.server(server).formats:
        quant = catalog.find_quant(name, form)
        if quant is not None:
            return quant
    return None
