"""The tables of docs/plans.md are current, and every plan in them keeps the rules that a reader would hold it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.catalog.records import Model
from planner.planning.ability import abilities, kl_divergence
from planner.planning.eligibility import has_capability
from planner.planning.plan import Answer
from planner.planning.recommend import parameter_counts
from planner.servers import SERVERS
from planner.servers.records import Service
from planner.units import GIB
from tools.plans_table import MACHINES, PAGE, Machine, answers, page

Found = list[tuple[Machine, str, Answer]]
LANGUAGE = {"interactive", "batch"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def found(catalog: Catalog) -> Found:
    return list(answers(catalog))


def services(found: Found) -> Iterator[tuple[str, Answer, Service]]:
    for machine, workload, answer in found:
        for service in answer.plan.services:
            yield f"{machine.name}, {workload}, {service.role}", answer, service


def test_every_machine_has_a_plan_for_every_workload(catalog: Catalog, found: Found) -> None:
    assert len(found) == len(MACHINES) * len(catalog.workloads)


def test_the_page_is_current(found: Found) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(found), "run python tools/plans_table.py"


def newer_and_better(model: Model, service: Service, answer: Answer, catalog: Catalog) -> Iterator[str]:
    """Later models of the same vendor that are no larger, no less able, and could be served in the same place."""
    known = abilities(catalog, parameter_counts, answer.plan.workload)
    size = parameter_counts(model)
    assert size is not None
    for other in catalog.models.values():
        theirs = parameter_counts(other) if other.kind == "llm" else None
        if theirs is None or other.vendor != model.vendor or (other.released or "") <= (model.released or ""):
            continue
        smaller = theirs[0] <= size[0] and theirs[1] <= size[1]
        able = known[other.id].doublings >= known[model.id].doublings
        offered = service.quant in SERVERS[service.server].quants(other, answer.plan.hardware)
        long_enough = other.context is None or other.context.native_tokens >= service.context
        fit = all(has_capability(other, name) for name in answer.plan.workload.capabilities)
        if smaller and able and offered and long_enough and fit:
            yield other.id


def test_no_model_is_dominated_by_a_newer_one_of_its_vendor(catalog: Catalog, found: Found) -> None:
    dominated = {
        where: newer
        for where, answer, service in services(found)
        if service.role in LANGUAGE
        for newer in [list(newer_and_better(catalog.models[service.model], service, answer, catalog))]
        if newer
    }
    assert dominated == {}


def test_no_quant_is_below_the_floor_of_its_workload(catalog: Catalog, found: Found) -> None:
    for where, answer, service in services(found):
        floor = answer.plan.workload.quant_floor
        if service.role in LANGUAGE and floor is not None:
            least, _ = kl_divergence(catalog.quant(floor))
            assert kl_divergence(catalog.quant(service.quant))[0] <= least, where


def test_every_server_reads_what_it_is_given(catalog: Catalog, found: Found) -> None:
    for where, answer, service in services(found):
        room, model = SERVERS[service.server], catalog.models[service.model]
        quants = [
            q for form in catalog.server(service.server).formats if (q := catalog.find_quant(service.quant, form))
        ]
        assert quants, where
        assert service.quant in room.quants(model, answer.plan.hardware), where
        assert not room.supports(model, quants[0], answer.plan.hardware, service.placement), where


def test_no_plan_swaps(found: Found) -> None:
    for machine, workload, answer in found:
        where, plan = f"{machine.name}, {workload}", answer.plan
        for bar in plan.pools:
            assert bar.headroom_bytes >= max(GIB, round(bar.pool.usable_bytes * 0.05)), where
            assert bar.used_bytes <= bar.pool.usable_bytes - bar.headroom_bytes, where
            assert bar.pool.usable_bytes <= bar.pool.capacity_bytes, where
        ram = sum(bar.used_bytes for bar in plan.pools if bar.pool.kind != "gpu")
        assert ram <= (plan.hardware.ram_bytes or 0) - GIB or not ram, where
        assert not [warning for warning in plan.warnings if warning.severity == "error"], where


def test_nothing_is_cut_to_fit(catalog: Catalog, found: Found) -> None:
    """The context and the users of the workload, and no 16 bits for text where 4 bits are published."""
    for where, answer, service in services(found):
        if service.role == answer.plan.services[0].role:
            own = catalog.workload(answer.plan.workload.id)
            assert service.context >= own.context_tokens, where
            assert service.parallel * service.placement.instances >= own.users, where
        assert service.role not in LANGUAGE or catalog.quant(service.quant).speed_class != "16bit", where
    assert all(w.rule_id != "sixteen-bit" for _, _, answer in found for w in answer.plan.warnings)


def test_a_missed_target_is_marked_and_nothing_that_meets_them_was_passed_over(found: Found) -> None:
    """A plan misses a target only where none of use meets all: those behind it in the order miss as much or more."""
    for machine, workload, answer in found:
        decision = answer.decision
        assert decision is not None
        useful, targets = (decision.levels.index(name) for name in ("usefulness", "targets"))
        first = decision.places[0].values
        for place in decision.places[1:]:
            assert (first[useful], first[targets]) <= (place.values[useful], place.values[targets]) or (
                decision.row.shortlist
            ), f"{machine.name}, {workload}"


def test_work_for_several_users_is_done_where_the_machine_is_fast(found: Found) -> None:
    """Teams and batches on machines with GPUs of their own run on them, over all that vLLM can join."""
    for machine, workload, answer in found:
        own = [gpu for gpu in answer.plan.hardware.gpus if not gpu.unified]
        if own and workload in {"team", "batch"}:
            main = answer.plan.services[0]
            assert len(main.placement.gpus) == len(own), f"{machine.name}, {workload}"
            assert main.server == "vllm", f"{machine.name}, {workload}"
