"""What one service is asked for, and everything that may compete for it, best possible key first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from planner.catalog.records import Model, Quant
from planner.catalog.records.policy import Role
from planner.planning.ability import Ability, ability_in
from planner.planning.constraints import Constraints
from planner.planning.eligibility import Refusal, refuse_model, refuse_quant, rejected
from planner.planning.fit import Demand
from planner.planning.placement import KINDS, Site
from planner.planning.plan import Rejected
from planner.planning.rank import Known, Ranking, Value, bound_of
from planner.servers import SERVERS

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog


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


class Triple(NamedTuple):
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


def triples_of(model: Model, question: Question) -> tuple[list[Triple], list[Rejected]]:
    """The quants and servers of one model that may compete, and why the others may not."""
    found: list[Triple] = []
    losers: list[Rejected] = []
    offers = list(_offers(model, question))
    if not offers:
        losers.append(rejected(model, _NO_SOURCE))
    for quant, server, why in offers:
        if why is not None:
            losers.append(rejected(model, why, quant.id, server))
            continue
        ability = ability_in(quant, model, question.abilities)
        bound = bound_of(Known(model, ability, quant, server), question.ranking)
        found.append(Triple(bound, model, quant, server, ability))
    return found, losers


def list_triples(question: Question) -> tuple[list[Triple], list[Rejected]]:
    """Everything that may compete, best bound first, and what may not."""
    models, losers = list_models(question)
    found: list[Triple] = []
    for model in models:
        triples, refused = triples_of(model, question)
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


def _offers(model: Model, question: Question) -> Iterator[tuple[Quant, str, Refusal | None]]:
    """Quants that each allowed server can get for the model; with a reason when it may not be used."""
    asked = question.constraints
    for server, room in SERVERS.items():
        if asked.server not in {None, server} or server in asked.exclude:
            continue
        if question.kinds is not None and not set(question.kinds) & set(KINDS[server]):
            continue
        offered = room.quants(model, question.site.hardware)
        if asked.quant is not None and asked.quant not in offered:
            offered = (asked.quant,)
        for name in offered:
            quant = quant_for(question.catalog, name, server)
            if quant is not None:
                yield quant, server, refuse_quant(quant, question.floor, asked)


def quant_for(catalog: Catalog, name: str, server: str) -> Quant | None:
    """The quant of that id in a format of the server; None when it has none."""
    for form in catalog.server(server).formats:
        quant = catalog.find_quant(name, form)
        if quant is not None:
            return quant
    return None
