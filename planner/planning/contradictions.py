"""Which two options leave nothing together, though each alone leaves something: asked only when a search found nothing,
so that a plan pays nothing for it."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import NamedTuple

from msgspec.structs import replace

from planner.errors import UsageError
from planner.planning.constraints import READERS, Constraints
from planner.planning.eligibility import KINDS
from planner.planning.placement import Site
from planner.planning.question import Question, list_triples
from planner.planning.role_questions import Case, language_question
from planner.planning.roles import planned_roles
from planner.servers import SERVERS
from planner.sizing.records import KvType
from planner.units import format_tokens

# Constraints that rule models, quants and servers in or out by themselves, whatever memory and speed say.
_FIELDS = ("models", "family", "quant", "min_quant", "server", "kv_type", "license", "exclude", "context_tokens")
_KEYWORDS = {field: keyword for keyword, (field, _) in READERS.items()}
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
    if _look(_question(given, case, site)).left:
        return None
    alone = {name: _look(_question([name], case, site)).left for name in given}
    for first, second in combinations([name for name in given if alone[name]], 2):
        seen = _look(_question([first, second], case, site))
        if not seen.left:
            return first, second, seen.why(alone[first])
    return None


class _Seen(NamedTuple):
    """Models that may compete on some server, and why others may not: model and reason."""

    left: frozenset[str]
    losses: tuple[tuple[str, str], ...]

    def why(self, models: frozenset[str]) -> str:
        """The commonest reason by which these models are lost."""
        counts = Counter(text for model, text in self.losses if model in models)
        return counts.most_common(1)[0][0] if counts else "nothing is left"


def _look(question: Question) -> _Seen:
    """What may compete whatever memory and speed say, and what may not."""
    triples, losers = list_triples(question)
    left: set[str] = set()
    losses = [(loser.model, loser.text) for loser in losers if loser.reason_id not in _BY_NAME]
    asked, hardware = question.constraints, question.site.hardware
    for triple in triples:
        if triple.model.id in left:
            continue
        room = SERVERS[triple.server]
        objections = room.supports(triple.model, triple.quant, hardware, kv_type=asked.kv_type)
        if objections:
            losses.append((triple.model.id, f"{triple.server}: {objections[0].text}"))
        else:
            left.add(triple.model.id)
    return _Seen(frozenset(left), tuple(losses))


def check_roles(case: Case) -> None:
    """What was asked for must suit the roles of the plan. Raises UsageError for a named model that can serve none of
    them, or that only a file describes, and for a decode rate where no role writes text."""
    kinds = {KINDS[role] for roles in planned_roles(case) for role in roles}
    for name in case.constraints.models:
        _check_model(name, kinds, case)
    least = case.constraints.min_decode_tokens_per_s
    if least is not None and "llm" not in kinds:
        text = f"--min-decode {least:g} and {_roles_option(case)} contradict each other: nothing of it writes text"
        raise UsageError(text, hint="drop --min-decode; --max-ttft limits the wait")


def _check_model(name: str, kinds: set[str], case: Case) -> None:
    if name not in case.catalog.models:
        hint = "`planner catalog add FILE` drafts its entry; `planner size` and `planner estimate` take the file itself"
        raise UsageError(f"--model: {name} is read from a file, and no catalog says where to get it", hint=hint)
    kind = case.catalog.models[name].kind
    if kind in kinds:
        return
    needed = " or ".join(sorted(kinds))
    named = f"--model {name} and {_roles_option(case)}"
    fits = [work.id for work in case.catalog.workloads.values() if kind in {KINDS[role] for role in work.roles}]
    raise UsageError(
        f"{named} contradict each other: it is an {kind} model, needed is {needed}",
        hint=f"take another --model, or a --workload that fits it: {', '.join(fits)}",
    )


def _roles_option(case: Case) -> str:
    roles = case.constraints.roles
    return f"--roles {','.join(roles)}" if roles else _option(_WORKLOAD, case)


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


def _option(name: str, case: Case) -> str:
    """The option as a person typed it."""
    if name == _WORKLOAD:
        return f"--workload {case.workload.id}"
    value = getattr(case.constraints, name)
    if name == "context_tokens":
        return f"{_flag(name)} {format_tokens(value) if value else 'max'}"
    if name == "exclude":
        return f"{_flag(name)} {','.join(value)}"
    if name == "models":
        return " ".join(f"{_flag(name)} {one}" for one in value)
    return f"{_flag(name)} {value.label if isinstance(value, KvType) else value}"


def _flag(name: str) -> str:
    return f"--{_KEYWORDS.get(name, name).replace('_', '-')}"
