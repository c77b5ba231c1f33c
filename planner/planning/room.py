"""What a plan leaves room for: a longer context, or more users, in the memory that it does not use."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from planner.planning.eligibility import KINDS
from planner.planning.fit import Fitter
from planner.planning.machine import after
from planner.planning.placement import Site
from planner.planning.roles import Services
from planner.servers import SERVERS

# More users than anybody asks one machine for; beyond it the answer is `or more`.
MOST_USERS = 256


class Room(NamedTuple):
    """The context that is planned, the longest one for each of the planned users (at most what the model was trained
    for), and the most users (at most MOST_USERS) with the planned context, both beside the headroom and the plan's
    other services."""

    planned_tokens: int
    context_tokens: int
    users: int
    trained_tokens: int | None


def room_of(services: Services, site: Site) -> Room | None:
    """The room of the first service; None for one that writes no text."""
    main, *others = services.chosen
    candidate, model = main.candidate, main.candidate.model
    if KINDS[main.role] != "llm":
        return None
    demand = replace(main.demand, context_tokens=candidate.footprint.context_tokens or main.demand.context_tokens)
    rest = after(site, (one.candidate.footprint for one in others))
    fitter = Fitter(model, candidate.quant, SERVERS[candidate.server], demand, rest)
    return Room(
        planned_tokens=demand.context_tokens,
        context_tokens=fitter.reachable_context(candidate.placement),
        users=min(fitter.reachable_users(candidate.placement, MOST_USERS), MOST_USERS),
        trained_tokens=model.context.native_tokens if model.context else None,
    )
