"""The bounds that let the search pass over models: never above what the exact sizes and speeds say."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.catalog.records import Quant
from planner.hardware.what_if import what_if
from planner.planning.bounds import bound_of, news_of, sharpened
from planner.planning.constraints import Constraints, Prefer
from planner.planning.frontier import Frontier, ceiling_of
from planner.planning.machine import site_of
from planner.planning.question import Offers, list_triples
from planner.planning.rank import ORDERS, Known, key_of
from planner.planning.recommend import case_of, recommend
from planner.planning.roles import find_services
from planner.planning.search import Found, evaluate
from planner.sizing.least import least_bytes
from planner.sizing.quantize import quantize
from planner.sizing.records import ModelShape
from planner.sizing.tensors import expand

from .machines import rtx4090

MACHINES = {
    "one GPU": {"gpus": ("RTX 4090",), "ram": "64GiB", "ram_bandwidth": "80GB/s"},
    "two GPUs": {"gpus": ("RTX 3090:2",), "ram": "128GiB", "ram_bandwidth": "150GB/s"},
    "CPU": {"cpu": "AMD EPYC 9354", "cores": 32, "ram": "128GiB", "ram_bandwidth": "200GB/s", "numa_nodes": 2},
    "Apple": {"apple": "M3 Max 40c 128GiB"},
    "few cores": {"cores": 2, "ram": "64GiB", "ram_bandwidth": "40GB/s"},
    "RAM faster than the GPU": {"gpus": ("GTX 1650",), "ram": "256GiB", "ram_bandwidth": "400GB/s"},
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def test_least_bytes_are_below_the_exact_bytes_of_every_model_and_searched_quant(catalog: Catalog) -> None:
    quants = [quant for quant in catalog.quants.values() if not quant.rare or quant.id == "IQ3_XS"]
    for index, model in enumerate(catalog.models.values()):
        if model.architecture is None:
            continue
        expanded = expand(model)
        for quant in quants[index % 5 :: 5]:
            exact, least = quantize(expanded, quant), least_bytes(expanded.shape, quant)
            assert least.resident <= exact.weights_bytes, (model.id, quant.id)
            assert least.expert_read + least.dense_read <= exact.read_bytes_per_token, (model.id, quant.id)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_candidate_beats_the_bound_under_which_it_was_taken_out(catalog: Catalog, machine: str) -> None:
    hardware = what_if(catalog, **MACHINES[machine])  # type: ignore[arg-type]
    for workload in ("chat", "code", "team"):
        constraints = Constraints(prefer="speed")
        case = case_of(hardware, catalog, catalog.workload(workload), constraints)
        question = find_services(case, site_of(hardware, constraints)).chosen[0].question
        frontier = Frontier(question)
        tried = 0
        while frontier and tried < 60:
            bound = frontier.bound
            triple = frontier.pop()
            if triple is None:
                continue
            tried += 1
            for candidate in evaluate(triple, question, Found()):
                assert key_of(candidate, question.ranking)[: len(bound)] >= bound


def test_bounds_come_out_in_order(catalog: Catalog) -> None:
    machine = rtx4090(catalog)
    case = case_of(machine, catalog, catalog.workload("code"), Constraints())
    question = find_services(case, site_of(machine, Constraints())).chosen[0].question
    frontier, last = Frontier(question), None
    while frontier:
        bound = frontier.bound
        assert last is None or bound >= last
        last = bound
        frontier.pop()


@pytest.mark.parametrize("prefer", ORDERS)
def test_bounds_sharpened_step_by_step_are_those_of_all_that_is_known(catalog: Catalog, prefer: Prefer | None) -> None:
    machine = what_if(catalog, **MACHINES["CPU"])  # type: ignore[arg-type]
    constraints = Constraints(prefer=prefer)
    case = case_of(machine, catalog, catalog.workload("team"), constraints)
    question = find_services(case, site_of(machine, constraints)).chosen[0].question
    ranking = question.ranking
    triples, _ = list_triples(question)
    assert triples
    for number, triple in enumerate(triples):
        known = Known(triple.model, triple.ability, triple.quant, triple.server)
        assert triple.bound == bound_of(known, ranking)
        rated = replace(known, ceiling_tokens_per_s=1.0 + number, least_ttft_s=30.0 / (1 + number))
        assert sharpened(triple.bound, "rates", news_of("rates", rated, ranking), ranking) == bound_of(rated, ranking)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("workload", ["chat", "team"])
def test_nothing_is_faster_than_the_best_rates_of_its_machine(catalog: Catalog, machine: str, workload: str) -> None:
    hardware = what_if(catalog, **MACHINES[machine])  # type: ignore[arg-type]
    case = case_of(hardware, catalog, catalog.workload(workload), Constraints())
    question = find_services(case, site_of(hardware, Constraints())).chosen[0].question
    ceiling, demand = ceiling_of(question, Offers(question)), question.demand
    compared = 0
    for triple in list_triples(question)[0][::17]:
        shape = expand(triple.model).shape
        least = least_bytes(shape, triple.quant)
        best = ceiling.decode_tokens_per_s(least, shape, triple.quant.speed_class, demand.users)
        floor_s = ceiling.prefill_floor_s(least, shape, demand.prompt_tokens)
        for candidate in evaluate(triple, question, Found()):
            rate, wait = candidate.speed.decode_tokens_per_s, candidate.speed.ttft_s
            assert rate
            assert wait
            assert best
            assert rate.expected <= best, candidate.label
            assert floor_s is None or wait.expected >= floor_s, candidate.label
            compared += 1
    assert compared >= 10


@pytest.mark.parametrize("machine", MACHINES)
def test_no_quant_is_faster_or_smaller_than_all_of_the_lightest(catalog: Catalog, machine: str) -> None:
    hardware = what_if(catalog, **MACHINES[machine])  # type: ignore[arg-type]
    case = case_of(hardware, catalog, catalog.workload("chat"), Constraints(min_quant="Q2_K"))
    question = find_services(case, site_of(hardware, Constraints())).chosen[0].question
    offers = Offers(question)
    ceiling = ceiling_of(question, offers)
    lightest = ceiling.lightest(offers.quants())
    assert 0 < len(lightest) < len(offers.quants())
    for model in list(catalog.models.values())[::7]:
        if model.architecture is None:
            continue
        shape = expand(model).shape

        def best(quant: Quant, shape: ModelShape = shape) -> tuple[float, float]:
            least = least_bytes(shape, quant)
            return least.resident, ceiling.decode_tokens_per_s(least, shape, quant.speed_class) or 0.0

        least, fastest = (list(figures) for figures in zip(*map(best, lightest), strict=True))
        for quant in offers.quants():
            resident, rate = best(quant)
            assert resident >= min(least), (model.id, quant.id)
            assert rate <= max(fastest) * (1 + 1e-9), (model.id, quant.id)


def test_every_model_is_a_candidate_or_is_told_why_not(catalog: Catalog) -> None:
    for machine in MACHINES.values():
        answer = recommend(what_if(catalog, **machine), catalog, catalog.workload("chat"))  # type: ignore[arg-type]
        told = {loser.model for loser in answer.rejected} | {answer.plan.services[0].model}
        assert told == set(catalog.models)
