"""What became of the row's reference choice on this machine: it is always shown beside the plan."""

from __future__ import annotations

from planner.catalog.records.policy import Reference
from planner.errors import UnknownName
from planner.planning.ability import ability_in
from planner.planning.bounds import bound_of
from planner.planning.comparison import explain_loss
from planner.planning.constraints import Constraints
from planner.planning.eligibility import refuse_model
from planner.planning.plan import RowQuote
from planner.planning.question import Question, Triple, quant_for
from planner.planning.rank import Candidate, Known, key_of
from planner.planning.search import Found, evaluate
from planner.units import format_gib, format_rate

_KINDS: dict[str, tuple[str, ...] | None] = {
    "any": None,
    "cpu": ("cpu",),
    "gpu": ("gpu", "multi-gpu", "tensor-parallel", "unified"),
    "unified": ("unified",),
}

_NO_DEVICE = {
    "any": "has no place on this machine",
    "cpu": "no RAM apart from the GPU's memory is known here",
    "gpu": "this machine has no GPU with known memory that it can use",
    "unified": "this machine has no unified memory",
}


def quote_row(question: Question, winner: Candidate) -> RowQuote:
    """The row that decided, with its reference choice and its fate."""
    row = question.ranking.row
    label, outcome = None, None
    if row.reference is not None:
        label = reference_label(question, row.reference)
        outcome = "; ".join(_outcomes(question, row.reference, winner))
    return RowQuote(
        id=row.id,
        title=row.title,
        because=row.because,
        cost=row.cost,
        reference=label,
        reference_outcome=outcome,
    )


def reference_label(question: Question, reference: Reference) -> str:
    """`Qwen3-14B or Qwen3-32B AWQ on vllm`."""
    models = question.catalog.models
    names = " or ".join(models[name].name if name in models else name for name in reference.models)
    parts = [names or "several models", " or ".join(reference.quants), "on", reference.server]
    where = {"cpu": "on the CPU", "gpu": "in VRAM", "unified": "in unified memory"}.get(reference.device, "")
    return " ".join(part for part in (*parts, where) if part)


def _outcomes(question: Question, reference: Reference, winner: Candidate) -> list[str]:
    if not reference.models:
        served = "as planned" if winner.server == reference.server else f"planned on {winner.server} instead"
        return [f"one {reference.server} for all roles: {served}"]
    return [
        f"{question.catalog.models[name].name} {quant}: {_outcome(question, reference, name, quant, winner)}"
        for name in reference.models
        for quant in reference.quants
        if name in question.catalog.models
    ]


def _outcome(question: Question, reference: Reference, model_id: str, quant_id: str, winner: Candidate) -> str:
    """One sentence: is the plan, does not fit, or how it compares."""
    same = (winner.model.id, winner.quant.id, winner.server) == (model_id, quant_id, reference.server)
    kinds = _KINDS[reference.device]
    if same and (kinds is None or winner.placement.kind in kinds):
        return "is the plan"
    model = question.catalog.models[model_id]
    try:
        quant = quant_for(question.catalog, quant_id, reference.server)
    except UnknownName as error:
        return error.message
    if quant is None or model_id not in question.abilities:
        return f"{reference.server} cannot read {quant_id}"
    free = Constraints(kv_type=question.constraints.kv_type)
    refusal = refuse_model(model, question.role, question.capabilities, question.demand.context_tokens, free)
    if refusal is not None:
        return refusal.text
    ability = ability_in(quant, model, question.abilities)
    bound = bound_of(Known(model, ability, quant, reference.server), question.ranking)
    found = Found()
    asked = question._replace(kinds=kinds, constraints=free)
    candidates = list(evaluate(Triple(bound, model, quant, reference.server, ability), asked, found))
    if not candidates:
        return found.rejected[0].text if found.rejected else _NO_DEVICE[reference.device]
    best = min(candidates, key=lambda candidate: key_of(candidate, question.ranking))
    return _compare(best, winner, question)


def _compare(candidate: Candidate, winner: Candidate, question: Question) -> str:
    rate = candidate.speed.decode_tokens_per_s
    wait = candidate.speed.ttft_s
    figures = f"fits with {format_gib(candidate.footprint.total_bytes)}"
    if rate is not None:
        figures += f", {format_rate(rate.expected)} tok/s"
    if wait is not None:
        figures += f", first token {wait.expected:.1f} s"
    if key_of(candidate, question.ranking) < key_of(winner, question.ranking):
        return f"{figures}; ruled out by the constraints"
    level, text = explain_loss(winner, candidate, question.ranking)
    return f"{figures}; stands lower by {level}: {text}"
