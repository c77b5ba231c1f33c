"""Which models may compete at all: kind, capabilities, licence, family, context. Every refusal has a reason."""

from __future__ import annotations

from planner.catalog.records import Model, Quant
from planner.catalog.records.policy import Role
from planner.planning.ability import kl_divergence
from planner.planning.constraints import Constraints
from planner.planning.plan import Rejected
from planner.sizing.records import Record

# Licences of the catalog that the Open Source Initiative lists.
OPEN_LICENSES = frozenset({"apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "isc"})

# Words in licence ids that forbid commercial use: Creative Commons NC, research licences, vendors' non-commercial ones.
_NOT_COMMERCIAL = ("non-commercial", "noncommercial", "-nc", "research")

KINDS: dict[Role, str] = {"interactive": "llm", "batch": "llm", "embedding": "embedding", "image": "image"}
_NAMED = {"llm": "a language model", "embedding": "an embedding model", "image": "an image model"}


class Refusal(Record):
    """Why a model or quant may not compete."""

    reason_id: str
    text: str


def refuse_model(
    model: Model, role: Role, capabilities: tuple[str, ...], context_tokens: int, constraints: Constraints
) -> Refusal | None:
    """The first reason why a model may not serve a role, None when it may."""
    if model.kind != KINDS[role]:
        return Refusal(reason_id="kind", text=f"is {_NAMED[model.kind]}, the role {role} needs {_NAMED[KINDS[role]]}")
    return (
        _refuse_by_name(model, role, constraints)
        or _refuse_license(model, constraints.license)
        or _refuse_capability(model, capabilities)
        or _refuse_context(model, context_tokens, named=model.id in constraints.models)
    )


def _refuse_by_name(model: Model, role: Role, constraints: Constraints) -> Refusal | None:
    if constraints.models and model.id not in constraints.models:
        return Refusal(reason_id="model", text=f"only {' and '.join(constraints.models)} may compete")
    if role in {"interactive", "batch"} and constraints.family not in {None, model.family}:
        return Refusal(reason_id="family", text=f"family {model.family}, asked for {constraints.family}")
    for name in (model.id, model.family):
        if name in constraints.exclude:
            return Refusal(reason_id="excluded", text=f"{name} is excluded")
    return None


def _refuse_license(model: Model, wanted: str | None) -> Refusal | None:
    if wanted is None:
        return None
    if model.license is None:
        return Refusal(reason_id="license", text="licence unknown")
    name = model.license.casefold()
    fits = {"open": name in OPEN_LICENSES, "commercial": is_commercial(name)}.get(wanted, name == wanted)
    return None if fits else Refusal(reason_id="license", text=f"licence {model.license}, asked for {wanted}")


def is_commercial(license_id: str) -> bool:
    """Whether a licence id does not forbid commercial use (terms of vendors' own licences still apply)."""
    return not any(word in license_id.casefold() for word in _NOT_COMMERCIAL)


def has_capability(model: Model, capability: str) -> bool:
    """Whether the catalog says that a model can do it; not known counts as no."""
    match capability:
        case "tools":
            return model.tool_calling is True
        case "vision":
            return "image" in model.modalities
        case "reasoning":
            return model.thinking != "no" or "reasoning" in model.tags
        case "embedding" | "image":
            return model.kind == capability
        case _:
            return capability in model.tags


def _refuse_capability(model: Model, capabilities: tuple[str, ...]) -> Refusal | None:
    lacking = [name for name in capabilities if not has_capability(model, name)]
    if not lacking:
        return None
    return Refusal(reason_id="capability", text=f"{' and '.join(lacking)} not known of it")


def _refuse_context(model: Model, context_tokens: int, *, named: bool) -> Refusal | None:
    """A context above the trained length needs an extension method; planned only for a model named by the person."""
    if model.context is None or context_tokens <= model.context.native_tokens:
        return None
    reach = max(model.context.native_tokens, (model.context.extended_tokens or 0) if named else 0)
    if context_tokens <= reach:
        return None
    return Refusal(
        reason_id="context", text=f"trained for {model.context.native_tokens} tokens, {context_tokens} asked for"
    )


def refuse_quant(quant: Quant, floor: Quant | None, constraints: Constraints) -> Refusal | None:
    """Why a quant may not be used: excluded, not the one asked for, or more loss than allowed."""
    if quant.id in constraints.exclude:
        return Refusal(reason_id="excluded", text=f"{quant.id} is excluded")
    if constraints.quant is not None:
        if constraints.quant != quant.id:
            return Refusal(reason_id="quant", text=f"only {constraints.quant} was asked for")
        return None
    if floor is not None and quant.id != floor.id:
        loss, _ = kl_divergence(quant)
        least, _ = kl_divergence(floor)
        if loss > least:
            text = f"{quant.id} loses {loss:.3f} nats a token, more than {floor.id} with {least:.3f}"
            return Refusal(reason_id="quant-floor", text=text)
    return None


def rejected(model: Model, refusal: Refusal, quant: str | None = None, server: str | None = None) -> Rejected:
    """The refusal as it stands in an answer."""
    return Rejected(
        model=model.id, quant=quant, server=server, placement=None, reason_id=refusal.reason_id, text=refusal.text
    )
