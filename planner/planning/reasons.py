"""Why this plan: each statement with the rule that made it."""

from __future__ import annotations

from planner.planning.ability import Ability, kl_divergence, native
from planner.planning.comparison import explain_loss, limits_of, missed_targets
from planner.planning.eligibility import KINDS
from planner.planning.machine import pool_plans
from planner.planning.placement import Site
from planner.planning.plan import Alternative, Reason
from planner.planning.rank import ORDERS, Candidate, Ranking, key_of
from planner.planning.role_questions import Chosen
from planner.planning.roles import Services
from planner.planning.room import MOST_USERS, Room, room_of
from planner.planning.search import RUNNERS_UP
from planner.units import format_gib, format_rate, format_tokens


def reasons_of(services: Services, site: Site, ability: Ability | None, runners: list[Candidate]) -> tuple[Reason, ...]:
    """Fit, targets, model, quant, roles, and the order by which the runner-up lost."""
    main = services.chosen[0]
    found = [_fit(services, site), _room(main, room_of(services, site)), _targets(main)]
    if ability is not None:
        found.append(_model(main, ability))
    found += [_quant(main), *_roles(services)]
    if runners:
        level, text = explain_loss(main.candidate, runners[0], main.question.ranking)
        found.append(Reason(rule=f"order.{level}", text=f"next best is {runners[0].label}: {text}"))
    names = [level.name for level in ORDERS[main.question.ranking.prefer]]
    order = ", ".join(names[: names.index("simplicity") + 1])
    found.append(Reason(rule="order", text=f"candidates are compared by {order}: the first difference decides"))
    return tuple(reason for reason in found if reason.text)


def _fit(services: Services, site: Site) -> Reason:
    parts = []
    for bar in pool_plans(site, (one.candidate.footprint for one in services.chosen)):
        free = bar.pool.usable_bytes - bar.used_bytes
        used, usable = format_gib(bar.used_bytes), format_gib(bar.pool.usable_bytes)
        parts.append(f"{used} of {usable} in {bar.pool.id} ({format_gib(free)} free)")
    return Reason(rule="fit", text=f"fits: {', '.join(parts)}" if parts else "")


def _room(main: Chosen, room: Room | None) -> Reason:
    """How much longer the context, or how many more the users could be."""
    if room is None:
        return Reason(rule="room", text="")
    tokens = max(room.context_tokens // 1024 * 1024, room.planned_tokens)
    whole = " (all that it was trained for)" if room.context_tokens == room.trained_tokens else ""
    each = " for each user" if main.demand.users > 1 else ""
    more = " or more" if room.users >= MOST_USERS else ""
    users = f"or for {room.users}{more} users of {format_tokens(room.planned_tokens)}"
    if room.users <= main.demand.users:
        users = "but for no more users"
    return Reason(rule="room", text=f"leaves room for {format_tokens(tokens)} of context{each}{whole}, {users}")


def _targets(main: Chosen) -> Reason:
    targets = main.question.ranking.targets
    missed = missed_targets(main.candidate.speed, targets)
    if missed:
        text = f"misses {'; '.join(missed)}: nothing of use that fits here does better"
        limits = ", ".join(limits_of(main.candidate.speed, targets))
        return Reason(rule="targets", text=f"{text}; {limits}" if limits else text)
    parts = []
    speed = main.candidate.speed
    if targets.decode_tokens_per_s is not None and speed.decode_tokens_per_s is not None:
        shown = format_rate(speed.decode_tokens_per_s.expected)
        parts.append(f"decode {shown} tok/s, target {format_rate(targets.decode_tokens_per_s)}")
    if targets.ttft_s is not None and speed.ttft_s is not None:
        parts.append(f"first token {speed.ttft_s.expected:.1f} s, target {targets.ttft_s:g} s")
    return Reason(rule="targets", text=f"meets its targets: {'; '.join(parts)}" if parts else "")


def _model(main: Chosen, ability: Ability) -> Reason:
    name = main.candidate.model.name
    asked = main.question.constraints.models
    if len(asked) == 1:
        return Reason(rule="model", text=f"{name} was asked for")
    rivals = main.found.competing
    among = f", first of {rivals} models that may serve here" if rivals > 1 else ""
    text = f"{name}: ability {ability.doublings:.1f} size doublings ({ability.basis}){among}"
    if not main.question.ranking.is_useful(main.candidate.ability):
        text += "; too weak to be of much use, but nothing more able fits here"
    return Reason(rule="ability", text=text)


def _quant(main: Chosen) -> Reason:
    quant = main.candidate.quant
    if native(main.candidate.model, quant):
        return Reason(rule="quant", text=f"{quant.id} is what the model was published in: nothing lost")
    loss, measured = kl_divergence(quant)
    if quant.loss is None and measured:
        return Reason(rule="quant", text=f"{quant.id}: 16 bits, nothing lost")
    how = "measured" if measured else "assumed from its bits, not measured"
    return Reason(rule="quant", text=f"{quant.id} loses {loss:.3f} nats a token ({how})")


def _roles(services: Services) -> list[Reason]:
    main, *others = services.chosen
    found = [
        Reason(
            rule=f"role.{one.role}",
            text=f"{one.role}: {one.candidate.label} {one.candidate.placement.text}{_other_model(one, main)}",
        )
        for one in others
    ]
    return found + [Reason(rule=f"role.{role}", text=f"no {role} service: {why}") for role, why in services.left_out]


def _other_model(one: Chosen, main: Chosen) -> str:
    """Why a second language service has a model of its own."""
    same = one.candidate.model.id == main.candidate.model.id
    if same or KINDS[one.role] != KINDS[main.role]:
        return ""
    return f", since {main.candidate.model.name} is too slow or too large there"


def runners_up(
    winner: Candidate, ranked: list[Candidate], ranking: Ranking, *, one_model: bool
) -> tuple[Candidate, ...]:
    """Candidates behind the winner, the best of each model (of each quant and server when only one model competes)."""
    found: dict[str, Candidate] = {}
    for other in sorted(ranked, key=lambda candidate: key_of(candidate, ranking)):
        found.setdefault(other.label if one_model else other.model.id, other)
    found.pop(winner.label if one_model else winner.model.id, None)
    return tuple(found.values())[:RUNNERS_UP]


def alternatives_of(winner: Candidate, runners: tuple[Candidate, ...], ranking: Ranking) -> tuple[Alternative, ...]:
    """Runners-up with their figures, and what puts each behind the winner."""
    return tuple(
        Alternative(
            model=other.model.id,
            model_name=other.model.name,
            quant=other.quant.id,
            server=other.server,
            placement=other.placement,
            total_bytes=other.footprint.total_bytes,
            context=other.footprint.context_tokens,
            decode_tokens_per_s=other.speed.decode_tokens_per_s,
            reason=explain_loss(winner, other, ranking)[1],
        )
        for other in runners
    )
