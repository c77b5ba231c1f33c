"""The question that each role of a plan asks: what it must carry, on what it may run, and what it is ranked by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from planner.catalog.records import Axis, MatrixRow, Quant, Workload
from planner.catalog.records.policy import Role
from planner.errors import UnknownName
from planner.hardware.facts import Hardware
from planner.planning.ability import EMBEDDING, Ability
from planner.planning.constraints import Constraints
from planner.planning.facts import Situation
from planner.planning.fit import Demand, demand_of
from planner.planning.placement import Site
from planner.planning.question import Question
from planner.planning.rank import Candidate, Ranking, Targets, targets_of
from planner.planning.search import Found

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

# Where a second language service runs beside one on the GPU: in RAM.
RAM_SERVERS = ("llama-server", "ollama")

# Embedding models lose nothing that retrieval notices at 8 bits.
EMBEDDING_QUANTS = ("Q8_0", "F16", "BF16", "FP16")


class Case(NamedTuple):
    """Everything that all services of one plan share."""

    hardware: Hardware
    catalog: Catalog
    workload: Workload
    constraints: Constraints
    users: int
    context_tokens: int
    row: MatrixRow
    abilities: Mapping[str, Ability]
    situation: Situation

    @property
    def axis(self) -> Axis:
        """What the models of the workload are compared on."""
        return self.catalog.axes[self.workload.axis]

    @property
    def native_context(self) -> bool:
        """True when each model's own length was asked for."""
        return self.constraints.context_tokens == 0


class Chosen(NamedTuple):
    """One service: its candidate, how it was found, and what it was ranked by."""

    role: Role
    candidate: Candidate
    demand: Demand
    question: Question
    found: Found


def questions_for(role: Role, case: Case, site: Site, chosen: tuple[Chosen, ...], *, both: bool) -> list[Question]:
    """The questions of a role, the preferred first; later ones are asked only when nothing answers the earlier."""
    match role:
        case "interactive" if chosen and chosen[0].role == "batch" and chosen[0].candidate.placement.gpus:
            return _beside_questions(role, case, site, chosen)
        case "interactive":
            main = language_question(role, case, site)
            return [main._replace(kinds=_GPU_KINDS)] if both and case.workload.roles == ("batch",) else [main]
        case "batch" if both:
            return _beside_questions(role, case, site, chosen)
        case "batch":
            return [language_question("batch", case, site)]
        case "embedding":
            return _embedding_questions(case, site, chosen)
        case _:
            return [_image_question(case, site)]


_GPU_KINDS = ("gpu", "multi-gpu", "tensor-parallel")


def language_question(role: Role, case: Case, site: Site) -> Question:
    """The question of a role that writes text: the workload's own demand, floor and targets."""
    demand = demand_of(case.workload, case.users, case.context_tokens, case.constraints.kv_type)
    return Question(
        catalog=case.catalog,
        role=role,
        site=site,
        demand=demand,
        native_context=case.native_context,
        capabilities=tuple(name for name in case.workload.capabilities if name not in {"embedding", "image"}),
        floor=_floor(case.constraints.min_quant or case.workload.quant_floor, case.catalog),
        constraints=case.constraints,
        ranking=Ranking(
            row=_row_here(case.row, site), targets=_targets(case), prefer=case.constraints.prefer, axis=case.axis
        ),
        abilities=case.abilities,
    )


def _row_here(row: MatrixRow, site: Site) -> MatrixRow:
    """The row without a device that this machine lacks: what nothing can satisfy tells no candidates apart."""
    kinds = {pool.kind for pool in site.pools}
    there = {"any": True, "cpu": site.has_ram, "unified": "unified" in kinds, "gpu": bool(kinds - {"ram"})}
    return row if there[row.device] else replace(row, device="any")


def _targets(case: Case) -> Targets:
    """The workload's targets; what the person demands replaces them."""
    own = targets_of(case.workload)
    return Targets(
        decode_tokens_per_s=case.constraints.min_decode_tokens_per_s or own.decode_tokens_per_s,
        ttft_s=case.constraints.max_ttft_s or own.ttft_s,
    )


def _floor(name: str | None, catalog: Catalog) -> Quant | None:
    if name is None:
        return None
    try:
        return catalog.quant(name)
    except UnknownName as error:
        hint = error.hint or "planner catalog check names every wrong row"
        raise UnknownName("quant", name, (quant.id for quant in catalog.quants.values()), hint=hint) from None


def _beside_questions(role: Role, case: Case, site: Site, chosen: tuple[Chosen, ...]) -> list[Question]:
    """A second language service, in RAM: batch work at the rate of the batch workload, or one person who chats. The
    same model first, so that a request may go to either, where RAM is fast enough for it."""
    own = case.catalog.workloads.get("batch" if role == "batch" else "chat", case.workload)
    row = replace(case.row, servers=RAM_SERVERS, device="cpu", quants=("Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "MXFP4_MOE"))
    free = case.constraints
    asked = replace(free, server=None, quant=None, min_decode_tokens_per_s=None, max_ttft_s=None)
    targets = targets_of(own) if role == "interactive" else Targets(decode_tokens_per_s=own.min_decode_tokens_per_s)
    question = language_question(role, case, site)._replace(
        ranking=Ranking(row=row, targets=targets, axis=case.axis), kinds=("cpu",), constraints=asked
    )
    if role == "interactive":
        question = question._replace(demand=demand_of(own, own.users, own.context_tokens, free.kv_type))
    if not chosen:
        return [question._replace(constraints=replace(asked, server=free.server, quant=free.quant))]
    same = replace(
        asked,
        models=(chosen[0].candidate.model.id,),
        min_decode_tokens_per_s=targets.decode_tokens_per_s,
        max_ttft_s=targets.ttft_s,
    )
    return [question._replace(constraints=same), question]


def _embedding_questions(case: Case, site: Site, chosen: tuple[Chosen, ...]) -> list[Question]:
    """Beside another service: on its server if it can, in RAM if there is any, so that the GPU stays free."""
    workload = case.catalog.workloads.get("embedding", case.workload)
    alone = case.workload.id == "embedding"
    users, context = case.users, case.context_tokens if alone else workload.context_tokens
    row = case.row
    asked = case.constraints
    if not alone:
        own = next((r for r in case.catalog.matrix if "workload_is_embedding" in r.when), case.row)
        first = tuple(dict.fromkeys([*(one.candidate.server for one in chosen), *case.row.servers[:1]]))
        servers = (*first, *(server for server in own.servers if server not in first))
        listed = tuple(name for name in case.row.shortlist if _kind(case.catalog, name) == "embedding")
        row = replace(own, servers=servers, shortlist=listed or own.shortlist)
        asked = replace(
            asked, models=(), family=None, quant=None, min_quant=None, server=None, min_decode_tokens_per_s=None,
            max_ttft_s=None, kv_type=None,
        )  # fmt: skip
    question = Question(
        catalog=case.catalog,
        role="embedding",
        site=site,
        demand=demand_of(workload, users, context, asked.kv_type),
        native_context=False,
        capabilities=("embedding",),
        floor=_floor(asked.min_quant or workload.quant_floor, case.catalog),
        constraints=asked,
        ranking=Ranking(
            row=row,
            targets=_targets(case) if alone else Targets(),
            prefer=asked.prefer if alone else None,
            axis=case.catalog.axes[EMBEDDING],
        ),
        abilities=case.abilities,
    )
    return [question] if alone or not site.has_ram else [question._replace(kinds=("cpu",)), question]


def _kind(catalog: Catalog, name: str) -> str | None:
    model = catalog.models.get(name)
    return model.kind if model else None


def _image_question(case: Case, site: Site) -> Question:
    """Images: only the licence, what is excluded, and the row's shortlist matter."""
    asked = Constraints(license=case.constraints.license, exclude=case.constraints.exclude)
    return language_question("image", case, site)._replace(capabilities=("image",), constraints=asked)
