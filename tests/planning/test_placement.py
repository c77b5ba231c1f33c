"""Placements: the simplest that fits, the fewest experts and the most layers, no memory that is not known."""

from __future__ import annotations

from collections.abc import Callable

from planner.hardware.facts import Gpu, Hardware, Memory, NumaNode
from planner.planning.placement import Attempt, Site, attempts
from planner.sizing.records import Footprint, ModelShape, Placement, Pool, PoolUse
from planner.units import GIB

LAYERS = 40
DENSE = ModelShape(
    id="m", gguf_architecture=None, layers=LAYERS, hidden_size=1, vocabulary_size=1, intermediate_size=1, heads=32,
    kv_heads=8, head_dim=1, total_parameters=1, stored_parameters=1, active_parameters=1, read_parameters=1,
)  # fmt: skip
MOE = ModelShape(
    id="m", gguf_architecture=None, layers=LAYERS, hidden_size=1, vocabulary_size=1, intermediate_size=1, heads=32,
    kv_heads=8, head_dim=1, experts=8, active_experts=2, moe_layers=LAYERS, total_parameters=1, stored_parameters=1,
    active_parameters=1, read_parameters=1,
)  # fmt: skip


def card(name: str = "RTX 4090", size: int = 24, node: int | None = None) -> Gpu:
    return Gpu(vendor="nvidia", name=name, backend="cuda", memory_bytes=size * GIB, numa_node=node)


def site(*gpus: Gpu, ram: tuple[int, ...] = (64,), gpu_only: bool = False) -> Site:
    pools = [Pool(id=f"gpu{i}", kind="gpu", capacity_bytes=g.memory_bytes or 0, usable_bytes=g.memory_bytes or 0, gpu=i)
             for i, g in enumerate(gpus)]  # fmt: skip
    name = "ram" if len(ram) == 1 else "node{}"
    pools += [
        Pool(id=name.format(i), kind="ram", capacity_bytes=s * GIB, usable_bytes=s * GIB, node=i)
        for i, s in enumerate(ram)
    ]
    nodes = tuple(NumaNode(id=i, cpus=(i,), memory_bytes=s * GIB) for i, s in enumerate(ram))
    machine = Hardware(gpus=gpus, numa_nodes=nodes, memory=Memory(total_bytes=sum(ram) * GIB or None))
    return Site(hardware=machine, pools=tuple(pools), gpu_only=gpu_only)


def model(where: Site, size_gib: int, *, experts: bool = False) -> Callable[[Placement], Attempt]:
    """A toy model: weights spread evenly over layers, three quarters of them experts if it has any."""

    def attempt(placement: Placement) -> Attempt:
        per_layer = size_gib * GIB // LAYERS
        on_gpu = LAYERS if placement.gpu_layers is None else placement.gpu_layers
        if placement.kind == "cpu":
            on_gpu = 0
        moved = placement.cpu_expert_layers * per_layer * 3 // 4 if experts else 0
        gpu_bytes = on_gpu * per_layer - moved
        ram_bytes = (LAYERS - on_gpu) * per_layer + moved
        uses = [PoolUse(pool=f"gpu{i}", weights_bytes=gpu_bytes // len(placement.gpus)) for i in placement.gpus]
        names = [f"node{i}" for i in placement.numa_nodes] or ["ram"]
        if ram_bytes:
            uses += [PoolUse(pool=name, weights_bytes=ram_bytes // len(names)) for name in names]
        whole = Footprint(
            model="m", quant="q", server="s", file_bytes=1, tensor_bytes=1, weights_bytes=size_gib * GIB,
            kv_cache_bytes=0, state_bytes=0, compute_bytes=0, overhead_bytes=0, bits_per_weight=4,
            read_bytes_per_token=1, kv_bytes_per_token=0, pools=tuple(uses),
        )  # fmt: skip
        return Attempt(placement=placement, footprint=whole, missing=where.missing(whole))

    return attempt


def fitting(
    where: Site,
    size: int,
    server: str = "llama-server",
    *,
    experts: bool = False,
    with_cpu: bool = False,
    users: int = 1,
) -> list[Placement]:
    shape = MOE if experts else DENSE
    tried = attempts(server, shape, where, model(where, size, experts=experts), with_cpu=with_cpu, users=users)
    return [attempt.placement for attempt in tried if attempt.fits]


def test_what_fits_one_gpu_is_not_split() -> None:
    assert [place.kind for place in fitting(site(card(), card()), 20)] == ["gpu"]


def test_equal_gpus_are_tried_once_and_different_ones_each() -> None:
    assert len(fitting(site(card(), card()), 10)) == 1
    assert [place.gpus for place in fitting(site(card(), card("RTX 3060", 12)), 10)] == [(0,), (1,)]


def test_layers_go_over_as_few_gpus_as_hold_them() -> None:
    found = fitting(site(card(), card(), card()), 40)
    assert [(place.kind, place.gpus) for place in found] == [("multi-gpu", (0, 1))]


def test_the_most_layers_that_fit_stay_in_vram() -> None:
    [found] = fitting(site(card()), 40)
    # 1 GiB per layer: 24 of them in 24 GiB.
    assert (found.kind, found.gpu_layers) == ("split", 24)


def test_the_fewest_experts_that_make_it_fit_go_to_ram_or_whole_layers_do() -> None:
    experts, layers = fitting(site(card()), 40, experts=True)
    # 40 GiB, each layer's experts 0.75 GiB: 22 of them must leave for 16 GiB to be free.
    assert (experts.kind, experts.cpu_expert_layers) == ("experts-in-ram", 22)
    assert (layers.kind, layers.gpu_layers) == ("split", 24)


def test_a_server_that_cannot_keep_experts_in_ram_splits_layers() -> None:
    assert [place.kind for place in fitting(site(card()), 40, "ollama", experts=True)] == ["split"]


def test_vllm_offloads_nothing_and_tries_tensor_parallel_beside_one_gpu() -> None:
    assert [place.kind for place in fitting(site(card(), ram=(16,)), 40, "vllm")] == []
    four = fitting(site(card(), card(), card(), card()), 20, "vllm")
    assert [(place.kind, place.tensor_parallel) for place in four] == [
        ("gpu", 1), ("tensor-parallel", 2), ("tensor-parallel", 4),
    ]  # fmt: skip


def test_unequal_gpus_are_not_tensor_parallel() -> None:
    assert [place.kind for place in fitting(site(card(), card("RTX 3060", 12)), 20, "vllm")] == ["gpu"]


def test_ram_is_one_node_where_it_fits_and_all_of_them() -> None:
    found = fitting(site(ram=(64, 64)), 50)
    assert [(place.numa, place.numa_nodes) for place in found] == [("bind", (0,)), ("interleave", (0, 1))]
    [found_over_all] = fitting(site(ram=(64, 64)), 100)
    assert (found_over_all.numa, found_over_all.numa_nodes) == ("interleave", (0, 1))


def test_the_share_in_ram_lies_on_the_gpu_s_own_node_or_on_all() -> None:
    found = fitting(site(card(node=1), ram=(64, 64)), 40)
    assert [(place.kind, place.numa, place.numa_nodes) for place in found] == [
        ("split", "bind", (1,)),
        ("split", "interleave", (0, 1)),
    ]


def test_several_users_may_share_one_copy_per_node() -> None:
    found = fitting(site(ram=(64, 64)), 30, users=4)
    assert [(place.numa, place.instances) for place in found] == [("bind", 1), ("interleave", 1), ("bind", 2)]


def test_the_cpu_is_tried_beside_a_gpu_only_when_asked() -> None:
    assert [place.kind for place in fitting(site(card()), 10)] == ["gpu"]
    assert [place.kind for place in fitting(site(card()), 10, with_cpu=True)] == ["gpu", "cpu"]


def test_unknown_or_forbidden_ram_is_not_used() -> None:
    assert fitting(site(card(), ram=()), 40) == []
    assert fitting(site(card(), gpu_only=True), 40) == []


def test_headroom_and_what_lacks_are_counted_per_pool() -> None:
    where = Site(hardware=Hardware(), pools=site(card()).pools, kept_free={"gpu0": 2 * GIB})
    use = (PoolUse(pool="gpu0", weights_bytes=23 * GIB), PoolUse(pool="elsewhere", weights_bytes=GIB))
    tried = model(where, 1)(Placement(kind="gpu", gpus=(0,))).footprint
    from msgspec.structs import replace

    assert where.missing(replace(tried, pools=use)) == {"gpu0": GIB}
