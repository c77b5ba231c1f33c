"""The decision on imagined machines: what must hold, why, and what the losers were told."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.errors import NoFeasiblePlan, UsageError
from planner.hardware.facts import Hardware
from planner.hardware.what_if import what_if
from planner.planning.ability import abilities
from planner.planning.facts import WORKLOADS
from planner.planning.plan import Plan
from planner.planning.recommend import parameter_counts
from planner.planning.why_not import why_not
from planner.units import GIB
from tests.planning.machines import mac, plan, rtx4090, two_nodes


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def rules(found: Plan) -> set[str]:
    return {warning.rule_id for warning in found.warnings}


@pytest.mark.parametrize("workload", ["chat", "team", "code", "reasoning", "agent"])
def test_a_slow_machine_gets_a_model_of_use_though_a_weaker_one_would_be_faster(
    catalog: Catalog, workload: str
) -> None:
    slow = what_if(catalog, cores=4, ram="24GiB", ram_bandwidth="30GB/s")
    asked = catalog.workload(workload)
    chosen = plan(catalog, slow, workload).plan.services[0].model
    ability = abilities(catalog, parameter_counts, asked)[chosen]
    assert ability.doublings >= (catalog.axes[asked.axis].useful_from or 0.0)


def test_a_model_too_weak_to_be_of_use_is_told_so(catalog: Catalog) -> None:
    slow = what_if(catalog, cores=4, ram="24GiB", ram_bandwidth="30GB/s")
    loser = why_not(slow, catalog, catalog.workload("agent"), "granite-4.0-350m")[0]
    assert loser.reason_id == "usefulness"
    assert "too weak to be of use" in loser.text


def test_where_only_a_weak_model_fits_the_plan_says_so(catalog: Catalog) -> None:
    tiny = what_if(catalog, cores=2, ram="2.2GiB", ram_bandwidth="10GB/s")
    found = plan(catalog, tiny, "chat", family="granite-4.0").plan
    assert any("too weak to be of much use" in reason.text for reason in found.reasons)


def test_a_large_moe_keeps_its_experts_in_ram_and_has_a_speed(catalog: Catalog) -> None:
    service = plan(catalog, rtx4090(catalog, "192GiB"), model="qwen3-235b-a22b", quant="Q4_K_M").plan.services[0]
    assert service.placement.kind == "experts-in-ram"
    # All 235 billion parameters are resident: 142 GB in the published file (132 GiB), so most of it in RAM.
    assert 130 * GIB < service.footprint.weights_bytes < 134 * GIB
    rate = service.speed.decode_tokens_per_s
    assert rate is not None
    # 22 billion active at 4.9 bits are 13.5 GB a token; 80 GB/s of RAM alone could not read them faster than 6 per s,
    # and the share in VRAM cannot make it twice as fast.
    assert 2 < rate.expected < 12


def test_without_the_ram_for_it_nothing_fits_and_the_error_says_what_lacks(catalog: Catalog) -> None:
    with pytest.raises(NoFeasiblePlan) as caught:
        plan(catalog, rtx4090(catalog, "64GiB"), model="qwen3-235b-a22b", quant="Q4_K_M")
    assert "Qwen3-235B-A22B Q4_K_M" in caught.value.message
    assert "in ram too little" in caught.value.message
    assert "more RAM" in (caught.value.hint or "")
    assert caught.value.exit_code == 4


def test_the_hint_is_enough_memory(catalog: Catalog) -> None:
    with pytest.raises(NoFeasiblePlan):
        plan(catalog, rtx4090(catalog, "112GiB"), model="qwen3-235b-a22b", quant="Q4_K_M")
    assert plan(catalog, rtx4090(catalog, "128GiB"), model="qwen3-235b-a22b", quant="Q4_K_M").plan.services


def test_apple_silicon_gets_mlx_for_macos_behind_a_router(catalog: Catalog) -> None:
    found = plan(catalog, mac(catalog), "macos").plan
    assert found.services[0].server == "mlx-lm"
    assert found.services[0].placement.kind == "unified"
    assert found.services[0].quant.startswith("MLX-")
    assert found.router is not None
    assert "no API key" in found.router.reason


def test_two_nodes_are_bound_or_interleaved_as_speed_and_size_ask(catalog: Catalog) -> None:
    machine = two_nodes(catalog)
    same_band = plan(catalog, machine, server="llama-server", model="qwen3-1.7b", quant="Q8_0").plan
    assert (same_band.services[0].placement.numa, same_band.services[0].placement.numa_nodes) == ("bind", (0,))
    for model in ("qwen3-32b", "deepseek-v3.1"):
        spread = plan(catalog, machine, server="llama-server", model=model, quant="Q4_K_M").plan
        assert (spread.services[0].placement.numa, spread.services[0].placement.numa_nodes) == ("interleave", (0, 1))
        # 405 GB exceed one node of 256 GiB; 19.8 GB lie on both for the sum of their bandwidths, which is worth more
        # than what twice the cores cost at every operation.
        assert ("numa-interleaved" in rules(spread)) == (model == "deepseek-v3.1")
        assert {pool.pool.id for pool in spread.pools} == {"node0", "node1"}


def test_several_users_on_two_nodes_share_two_copies_of_a_small_model(catalog: Catalog) -> None:
    found = plan(catalog, two_nodes(catalog), "team", model="qwen3.5-4b").plan
    service = found.services[0]
    assert service.placement.instances == 2
    assert service.parallel == 5
    assert found.router is not None


def test_ten_users_on_two_3090_get_tensor_parallel_vllm(catalog: Catalog) -> None:
    machine = what_if(catalog, gpus=["RTX 3090:2"], ram="128GiB", ram_bandwidth="80GB/s", cores=16)
    service = plan(catalog, machine, users=10).plan.services[0]
    assert service.server == "vllm"
    assert service.placement.gpus == (0, 1)
    assert service.parallel == 10
    assert service.speed.concurrency == 10


def test_the_team_reference_fits_the_card_that_the_scenario_names(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), "team").plan
    assert found.matrix_row.reference == "Qwen3-14B or Qwen3-32B AWQ on vllm in VRAM"
    outcome = found.matrix_row.reference_outcome or ""
    assert "Qwen3-14B AWQ: fits with" in outcome
    assert [service.role for service in found.services] == ["interactive", "batch"]
    interactive, batch = found.services
    assert interactive.server == "vllm"
    assert (batch.model, batch.placement.kind) == (interactive.model, "cpu")
    assert len({service.port for service in found.services}) == 2
    assert found.router is not None
    assert [endpoint.role for endpoint in found.router.endpoints] == ["interactive", "batch"]


def test_a_batch_service_in_ram_has_the_same_model_only_where_ram_is_fast_enough(catalog: Catalog) -> None:
    """A dense 27B writes less than 2 tokens a second for each of ten users from 80 GB/s; a mixture writes more."""
    two = what_if(catalog, gpus=["RTX 3090:2"], ram="128GiB", ram_bandwidth="80GB/s", cores=16)
    found = plan(catalog, two, "team").plan
    interactive, batch = found.services
    assert batch.model != interactive.model
    assert batch.speed.decode_tokens_per_s is not None
    assert batch.speed.decode_tokens_per_s.expected >= 2
    assert any("is too slow or too large there" in reason.text for reason in found.reasons)


def test_overnight_work_gets_the_card_and_one_person_who_chats_the_ram(catalog: Catalog) -> None:
    batch, chat = plan(catalog, rtx4090(catalog), "batch").plan.services
    assert (batch.role, batch.server, batch.placement.kind, batch.parallel) == ("batch", "vllm", "gpu", 8)
    assert (chat.role, chat.placement.kind, chat.parallel, chat.context) == ("interactive", "cpu", 1, 8192)
    alone = plan(catalog, two_nodes(catalog), "batch").plan
    assert [service.role for service in alone.services] == ["batch"]
    asked = plan(catalog, rtx4090(catalog), "batch", roles="interactive,batch").plan.services
    assert [(service.role, service.placement.kind) for service in asked] == [("interactive", "gpu"), ("batch", "cpu")]


@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name != "embedding"])
def test_every_workload_has_a_plan_on_a_workstation_within_its_memory(catalog: Catalog, workload: str) -> None:
    found = plan(catalog, rtx4090(catalog), workload).plan
    assert found.services
    assert found.reasons
    for bar in found.pools:
        assert bar.used_bytes + bar.headroom_bytes <= bar.pool.usable_bytes
    assert all(service.source.uri for service in found.services)


def test_multimodal_has_one_service_per_role_behind_one_endpoint(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), "multimodal").plan
    assert [service.role for service in found.services] == ["interactive", "embedding", "image"]
    assert {service.server for service in found.services} == {"localai"}
    assert found.router is not None
    assert "image" in catalog.model(found.services[0].model).modalities


def test_images_are_given_up_with_a_reason_where_they_do_not_fit(catalog: Catalog) -> None:
    small = what_if(catalog, gpus=["RTX 4060"], ram="16GiB", ram_bandwidth="60GB/s", cores=8)
    found = plan(catalog, small, "multimodal").plan
    assert [service.role for service in found.services] == ["interactive", "embedding"]
    assert any(reason.rule == "role.image" and "no image service" in reason.text for reason in found.reasons)


def test_long_documents_go_to_the_cpu_and_the_wait_is_said(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), "long-context").plan
    assert found.services[0].placement.kind == "cpu"
    assert "slow-cpu-prefill" in rules(found)
    assert "first token" in (found.matrix_row.reference_outcome or "")
    on_gpu = plan(catalog, rtx4090(catalog), "long-context", gpu_only=True).plan
    assert on_gpu.services[0].placement.kind == "gpu"


def test_code_is_sampled_deterministically_and_phi_4_is_what_the_row_says(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), "code", model="phi-4", quant="Q5_K_M").plan
    assert found.matrix_row.reference_outcome == "phi-4 Q5_K_M: is the plan"
    assert found.services[0].server == "localai"
    assert found.services[0].sampling.temperature == 0.0
    assert found.services[0].context == 16384


def test_prototype_is_ollama_and_the_reference_stands_beside_it(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), "prototype").plan
    assert found.services[0].server == "ollama"
    assert found.matrix_row.reference == "Qwen3-14B Q4_K_M on ollama"
    assert "stands lower by ability" in (found.matrix_row.reference_outcome or "")


def test_unknown_ram_is_not_used(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog, None)).plan
    assert all(service.placement.kind == "gpu" for service in found.services)
    with pytest.raises(NoFeasiblePlan):
        plan(catalog, rtx4090(catalog, None), model="qwen3-235b-a22b")


def test_a_machine_without_any_memory_asks_for_it() -> None:
    catalog = load_catalog()
    with pytest.raises(NoFeasiblePlan) as caught:
        plan(catalog, Hardware())
    assert "no memory of this machine is known" in caught.value.message
    assert "--vram" in (caught.value.hint or "")


def test_too_fast_a_demand_names_what_comes_nearest(catalog: Catalog) -> None:
    with pytest.raises(NoFeasiblePlan) as caught:
        plan(catalog, rtx4090(catalog), model="qwen3-14b", min_decode=1000)
    assert "nothing that fits is fast enough; the nearest, Qwen3-14B" in caught.value.message
    assert "--min-decode" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"model": "phi-4", "context": "32k"}, "trained for 16384 tokens"),
        ({"model": "flux.2-klein-4b"}, "it is an image model"),
        ({"model": "phi-4", "license": "apache-2.0"}, "licence mit, asked for apache-2.0"),
    ],
)
def test_constraints_that_leave_nothing_say_why(catalog: Catalog, given: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(catalog, rtx4090(catalog), **given)
    assert part in caught.value.message
    assert caught.value.hint


def test_a_missed_target_of_the_workload_names_what_limits_it(catalog: Catalog) -> None:
    """Most of the weights lie in RAM of 80 GB/s: bandwidth; 16 cores read the prompt: arithmetic."""
    found = plan(catalog, what_if(catalog, ram="64GiB", ram_bandwidth="80GB/s", cores=16), model="qwen3-32b").plan
    said = next(reason.text for reason in found.reasons if reason.rule == "targets")
    assert "decoding is limited by memory bandwidth" in said
    assert "reading the prompt is limited by compute" in said
    met = plan(catalog, rtx4090(catalog), model="qwen3-14b").plan
    assert "limited" not in next(reason.text for reason in met.reasons if reason.rule == "targets")


def test_only_the_model_asked_for_competes(catalog: Catalog) -> None:
    answer = plan(catalog, rtx4090(catalog), model="gemma-4-12b-it")
    assert {answer.plan.services[0].model, *(other.model for other in answer.alternatives)} == {"gemma-4-12b-it"}
    assert len({(other.quant, other.server) for other in answer.alternatives}) == len(answer.alternatives)


def test_every_language_model_has_a_fate(catalog: Catalog) -> None:
    answer = plan(catalog, rtx4090(catalog))
    told = {loser.model for loser in answer.rejected} | {service.model for service in answer.plan.services}
    assert told == set(catalog.models)
    assert all(loser.text and loser.reason_id for loser in answer.rejected)


def test_runners_up_are_other_models_and_say_what_decided(catalog: Catalog) -> None:
    answer = plan(catalog, rtx4090(catalog))
    models = [other.model for other in answer.alternatives]
    assert len(models) == len(set(models)) == 6
    assert answer.plan.services[0].model not in models
    assert all(other.reason for other in answer.alternatives)


def test_why_not_tells_every_way_of_one_model(catalog: Catalog) -> None:
    machine, workload = rtx4090(catalog), catalog.workload("chat")
    told = why_not(machine, catalog, workload, "qwen3-32b")
    assert {loser.model for loser in told} == {"qwen3-32b"}
    assert {loser.server for loser in told} >= {"llama-server", "ollama", "vllm"}
    assert why_not(machine, catalog, workload, plan(catalog, machine).plan.services[0].model) == ()


def test_the_same_question_has_the_same_answer(catalog: Catalog) -> None:
    assert plan(catalog, rtx4090(catalog), "agent") == plan(load_catalog(), rtx4090(catalog), "agent")


def test_a_named_pool_can_be_capped_and_an_unknown_one_is_an_error(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), max_memory="vram=10GiB").plan
    used = {bar.pool.id: bar.used_bytes for bar in found.pools}
    assert used["gpu0"] <= 9 * GIB
    with pytest.raises(UsageError):
        plan(catalog, rtx4090(catalog), max_memory="gpu7=10GiB")


def test_copies_of_two_roles_share_no_port(catalog: Catalog) -> None:
    wishes = {"model": "qwen3-0.6b", "quant": "Q8_0", "server": "llama-server", "roles": "interactive,batch"}
    services = plan(catalog, two_nodes(catalog), users=32, **wishes).plan.services
    assert [service.placement.instances for service in services] == [2, 2]
    assert [service.port for service in services] == [8080, 8082]


def test_roles_that_are_named_are_required(catalog: Catalog) -> None:
    found = plan(catalog, rtx4090(catalog), roles="interactive,batch").plan
    assert [service.role for service in found.services] == ["interactive", "batch"]
    with pytest.raises(NoFeasiblePlan):
        plan(catalog, rtx4090(catalog, None), roles="interactive,batch")
