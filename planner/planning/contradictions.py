"""Which two options leave nothing together, though each alone leaves something: asked only when a search found nothing,
so that a plan pays nothing for it."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from msgspec.structs import replace

from planner.errors import UsageError
from planner.planning.constraints import Constraints
from planner.planning.eligibility import KINDS
from planner.planning.placement import Site
from planner.planning.question import Question, list_triples
from planner.planning.roles import Case, language_question, planned_roles
from planner.servers import SERVERS
from planner.sizing.records import KvType
from planner.units import format_tokens

# Constraints that rule models, quants and servers in or out by themselves, whatever memory and speed say.
_FIELDS = ("model", "family", "quant", "min_quant", "server", "kv_type", "license", "exclude", "context_tokens")
_WORKLOAD = "workload"

# Reasons that only repeat which name was asked for.
_BY_NAME = frozenset({"kind", "model", "quant"})


def contradiction(case: Case, site: Site) -> UsageError | None:
    """The error that names two options; None where no two are to blame."""
    pair = contradicting(case, site)
    if pair is None:
        return None
    first, second, why = pair
    text = f"{_option(first, case)} and {_option(second, case)} contradict each other: {why}"
    return UsageError(text, hint=f"drop {_flag(first)} or {_flag(second)}")


def contradicting(case: Case, site: Site) -> tuple[str, str, str] | None:
    """Two options and a reason; None where something is left to size, or where one option alone leaves nothing."""
    default = Constraints()
    given = [name for name in _FIELDS if getattr(case.constraints, name) != getattr(default, name)] + [_WORKLOAD]
    if not _losses(_question(given, case, site)):
        return None
    alone = [name for name in given if not _losses(_question([name], case, site))]
    for first, second in combinations(alone, 2):
        losses = _losses(_question([first, second], case, site))
        if losses:
            return first, second, losses[0]
    return None


def check_kind(case: Case) -> None:
    """Raises UsageError for a named model that can serve none of the roles, or that only a file describes."""
    name = case.constraints.model
    if name is None:
        return
    if name not in case.catalog.models:
        hint = "`planner catalog add FILE` drafts its entry; `planner size` and `planner estimate` take the file itself"
        raise UsageError(f"--model: {name} is read from a file, and no catalog says where to get it", hint=hint)
    kinds = {KINDS[role] for roles in planned_roles(case) for role in roles}
    kind = case.catalog.models[name].kind
    if kind in kinds:
        return
    asked = f"--roles {','.join(case.constraints.roles)}" if case.constraints.roles else _option(_WORKLOAD, case)
    needed = " or ".join(sorted(kinds))
    text = f"--model {name} and {asked} contradict each other: it is an {kind} model, needed is {needed}"
    fits = [work.id for work in case.catalog.workloads.values() if kind in {KINDS[role] for role in work.roles}]
    raise UsageError(text, hint=f"take another --model, or a --workload that fits it: {', '.join(fits)}")


def _question(names: list[str], case: Case, site: Site) -> Question:
    """The question of the first role with these options alone."""
    kept = {name: getattr(case.constraints, name) for name in names if name != _WORKLOAD}
    asked = case._replace(constraints=Constraints(**kept))
    question = language_question(planned_roles(case)[0][0], asked, site)
    if _WORKLOAD not in names:
        question = question._replace(capabilities=(), floor=question.floor if "min_quant" in names else None)
        if "context_tokens" not in names:
            question = question._replace(demand=replace(question.demand, context_tokens=1))
    return question


def _losses(question: Question) -> list[str]:
    """Why nothing may compete, the commonest reason first; empty where something may."""
    triples, losers = list_triples(question)
    losses = Counter(loser.text for loser in losers if loser.reason_id not in _BY_NAME)
    asked, hardware = question.constraints, question.site.hardware
    for triple in triples:
        room = SERVERS[triple.server]
        objections = room.supports(triple.model, triple.quant, hardware, kv_type=asked.kv_type)
        if not objections:
            return []
        losses[f"{triple.server}: {objections[0].text}"] += 1
    return [text for text, _ in losses.most_common()] or ["no model is left"]


def _option(name: str, case: Case) -> str:
    """The option as a person typed it."""
    if name == _WORKLOAD:
        return f"--workload {case.workload.id}"
    value = getattr(case.constraints, name)
    if name == "context_tokens":
        return f"--context {format_tokens(value) if value else 'max'}"
    if name == "exclude":
        return f"--exclude {','.join(value)}"
    return f"{_flag(name)} {value.label if isinstance(value, KvType) else value}"


def _flag(name: str) -> str:
    return "--context" if name == "context_tokens" else f"--{name.replace('_', '-')}"
