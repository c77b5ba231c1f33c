"""A placement turned into bytes per pool: weights, caches and buffers, and what one token reads where.

llama.cpp (`src/llama-model.cpp`, `load_tensors`): the token embedding always lies on the host; a tied head is copied to
the GPU; layers go to the GPUs from the last one down, the output first; routed experts of the first N expert layers may
stay on the host; caches lie with their layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from planner.sizing.buffers import compute_buffer, host_buffer_bytes, output_buffer_bytes
from planner.sizing.kv_cache import layer_caches
from planner.sizing.records import PoolUse
from planner.sizing.targets import gpu_pools, ram_pools, ram_weights, spread

if TYPE_CHECKING:
    from planner.sizing.artifact import QuantizedModel
    from planner.sizing.kv_cache import LayerBytes
    from planner.sizing.records import Allocation, ExpandedModel, Placement, Pool, Runtime

_FIELDS = (
    "weights_bytes",
    "kv_cache_bytes",
    "state_bytes",
    "compute_bytes",
    "overhead_bytes",
    "dense_read_bytes",
    "expert_read_bytes",
    "expert_bytes",
    "layers",
)


class Bin:
    """What gathers in one place while a placement is laid out."""

    __slots__ = (*_FIELDS, "cache_share")

    def __init__(self) -> None:
        self.weights_bytes = self.kv_cache_bytes = self.state_bytes = self.compute_bytes = self.overhead_bytes = 0
        self.dense_read_bytes = self.expert_read_bytes = self.expert_bytes = self.layers = 0
        self.cache_share = 0.0


class Placed(NamedTuple):
    """Bytes per pool, and the sums of one instance."""

    uses: tuple[PoolUse, ...]
    weights_bytes: int
    kv_cache_bytes: int
    state_bytes: int
    compute_bytes: int
    overhead_bytes: int


def loaded_bytes(quantized: QuantizedModel, allocation: Allocation) -> int:
    """Weights in memory: the text model, and the encoders where the server loads them (mlx-lm does not)."""
    unused = quantized.encoder_bytes if allocation.policy == "mlx" else 0
    return quantized.weights_bytes - unused


def place(
    expanded: ExpandedModel,
    quantized: QuantizedModel,
    runtime: Runtime,
    allocation: Allocation,
    placement: Placement,
    pools: tuple[Pool, ...],
) -> Placed:
    """Bytes of every pool that the placement uses. Raises PlannerError for a GPU whose memory is not known, and for
    cache types that the engine refuses."""
    gpus = gpu_pools(placement, pools)
    caches = layer_caches(expanded, runtime, allocation, placement.tensor_parallel)
    layout = Layout(expanded, quantized, runtime, allocation, placement, gpus, caches)
    layout.lay_blocks()
    layout.lay_frame()
    layout.lay_buffers()
    uses = [_use(pool.id, own) for pool, own in zip(gpus, layout.gpus, strict=True)]
    bins = list(layout.gpus)
    if layout.host not in bins:
        bins.append(layout.host)
        uses += _in_ram(layout.host, placement, ram_pools(placement, pools))
    return Placed(
        tuple(uses),
        sum(own.weights_bytes for own in bins),
        sum(own.kv_cache_bytes for own in bins),
        sum(own.state_bytes for own in bins),
        sum(own.compute_bytes for own in bins),
        sum(own.overhead_bytes for own in bins),
    )


class Layout:
    """The bins of one placement: one per GPU and the host."""

    def __init__(
        self,
        expanded: ExpandedModel,
        quantized: QuantizedModel,
        runtime: Runtime,
        allocation: Allocation,
        placement: Placement,
        pools: tuple[Pool, ...],
        caches: tuple[LayerBytes, ...],
    ) -> None:
        self.expanded, self.quantized, self.runtime = expanded, quantized, runtime
        self.allocation, self.placement, self.pools = allocation, placement, pools
        self.gpus = [Bin() for _ in pools]
        self.host = self.gpus[0] if pools and pools[0].kind == "unified" else Bin()
        count = len(quantized.blocks)
        self.kv, self.state = [0] * count, [0] * count
        for cache in caches:
            for layer in cache.layers:
                self.kv[layer] += cache.kv
                self.state[layer] += cache.state
        self.cache_bytes = sum(self.kv) + sum(self.state)
        self.first_on_gpu = self._first_on_gpu(count)
        self.host_experts = self._host_experts()
        self.compute = compute_buffer(expanded, runtime, allocation, placement.tensor_parallel).bytes

    def _first_on_gpu(self, count: int) -> int:
        if not self.gpus:
            return count
        wanted = self.placement.gpu_layers
        return 0 if wanted is None else max(count - wanted, 0)

    def _host_experts(self) -> frozenset[int]:
        wanted = self.placement.cpu_expert_layers
        with_experts = [i for i, block in enumerate(self.quantized.blocks) if block.experts] if wanted else []
        return frozenset(with_experts[:wanted])

    @property
    def output_on_gpu(self) -> bool:
        """The output goes to the GPU with the first block that does."""
        return bool(self.gpus) and self.placement.gpu_layers != 0

    def lay_blocks(self) -> None:
        """Every block with its cache."""
        owners = self._owners()
        for layer in range(len(self.quantized.blocks)):
            owner = self.host if layer < self.first_on_gpu else owners[layer - self.first_on_gpu]
            if owner is None:
                self._divide(layer)
            else:
                self._lay(layer, owner)

    def _lay(self, layer: int, owner: Bin) -> None:
        block = self.quantized.blocks[layer]
        kv, state = self.kv[layer], self.state[layer]
        owner.weights_bytes += block.dense
        owner.dense_read_bytes += block.dense_read
        owner.kv_cache_bytes += kv
        owner.state_bytes += state
        owner.layers += 1
        owner.cache_share += self._cache_share(kv + state)
        if block.experts:
            self._lay_experts(layer, owner if layer not in self.host_experts else self.host)

    def _cache_share(self, size: int) -> float:
        return size / self.cache_bytes if self.cache_bytes else 1.0 / len(self.quantized.blocks)

    def _lay_experts(self, layer: int, owner: Bin) -> None:
        block = self.quantized.blocks[layer]
        owner.weights_bytes += block.experts
        owner.expert_bytes += block.experts
        owner.expert_read_bytes += block.expert_read

    def _divide(self, layer: int) -> None:
        """One block over all ranks."""
        block, ranks = self.quantized.blocks[layer], len(self.gpus)
        on_host = layer in self.host_experts
        if on_host:
            self._lay_experts(layer, self.host)
        figures = {
            "weights_bytes": block.dense + (0 if on_host else block.experts),
            "dense_read_bytes": block.dense_read,
            "kv_cache_bytes": self.kv[layer],
            "state_bytes": self.state[layer],
            "expert_bytes": 0 if on_host else block.experts,
            "expert_read_bytes": 0 if on_host else block.expert_read,
        }
        for name, total in figures.items():
            self._over_ranks(name, total)
        share = self._cache_share(self.kv[layer] + self.state[layer]) / ranks
        for rank in self.gpus:
            rank.layers += 1
            rank.cache_share += share

    def _over_ranks(self, name: str, total: int) -> None:
        for rank, part in zip(self.gpus, spread(total, (1,) * len(self.gpus)), strict=True):
            setattr(rank, name, getattr(rank, name) + part)

    def _owners(self) -> list[Bin | None]:
        """The GPU of each block from `first_on_gpu` on; None where all of them share it."""
        layers = range(self.first_on_gpu, len(self.quantized.blocks))
        if self.placement.tensor_parallel > 1 and len(self.gpus) > 1:
            return [None] * len(layers)
        if len(self.gpus) < 2:
            return [self.gpus[0] for _ in layers]
        costs = [self._gpu_bytes(layer) for layer in layers]
        return self._split(costs)

    def _gpu_bytes(self, layer: int) -> int:
        block = self.quantized.blocks[layer]
        experts = 0 if layer in self.host_experts else block.experts
        return block.dense + experts + self.kv[layer] + self.state[layer]

    def _split(self, costs: list[int]) -> list[Bin | None]:
        """Blocks in order over the GPUs, so that each is filled to the same part of what it can hold."""
        fixed = self.compute + self.allocation.device_overhead_bytes
        head = self.quantized.output_bytes + self.quantized.tied_bytes
        room = [max(pool.usable_bytes, 1) for pool in self.pools]
        filled = (sum(costs) + head + fixed * len(room)) / sum(room)
        owners: list[Bin | None] = []
        gpu, before, target = 0, 0.0, filled * room[0] - fixed
        for cost in costs:
            while gpu < len(room) - 1 and before + cost / 2 > target:
                gpu += 1
                target += filled * room[gpu] - fixed
            owners.append(self.gpus[gpu])
            before += cost
        return owners

    def lay_frame(self) -> None:
        """Embedding, lookup tables, head, encoders: what stands outside the blocks."""
        model = self.quantized
        encoders = 0 if self.allocation.policy == "mlx" else model.encoder_bytes
        inputs = model.embedding_bytes + model.lookup_bytes
        head, read = model.output_bytes + model.other_bytes, model.output_bytes + model.tied_bytes
        llama = self.allocation.policy == "llama.cpp"
        if llama or not self.gpus:
            self.host.weights_bytes += inputs
        else:
            head += inputs
        if self.output_on_gpu and llama and self.pools[0].kind != "unified":
            head += model.tied_bytes
        head += encoders
        if self.placement.tensor_parallel > 1 and len(self.gpus) > 1:
            self._over_ranks("weights_bytes", head)
            self._over_ranks("dense_read_bytes", read)
            return
        owner = self.gpus[-1] if self.output_on_gpu else self.host
        owner.weights_bytes += head
        owner.dense_read_bytes += read

    def lay_buffers(self) -> None:
        """Work buffers and contexts of every device that computes."""
        for own in self.gpus:
            own.compute_bytes += self.compute
            own.overhead_bytes += self.allocation.device_overhead_bytes
        host = self.host
        works = not self.gpus or self.first_on_gpu > 0 or bool(self.host_experts)
        if not self.gpus or host is not self.gpus[0]:
            idle = host_buffer_bytes(self.expanded, self.runtime, self.allocation)
            host.compute_bytes += self.compute if works else idle
        host.overhead_bytes += output_buffer_bytes(self.expanded, self.runtime, self.allocation)


def _use(pool: str, own: Bin) -> PoolUse:
    return PoolUse(
        pool=pool,
        weights_bytes=own.weights_bytes,
        kv_cache_bytes=own.kv_cache_bytes,
        state_bytes=own.state_bytes,
        compute_bytes=own.compute_bytes,
        overhead_bytes=own.overhead_bytes,
        dense_read_bytes=own.dense_read_bytes,
        expert_read_bytes=own.expert_read_bytes,
        expert_bytes=own.expert_bytes,
        layers=own.layers,
        cache_share=own.cache_share,
    )


def _in_ram(host: Bin, placement: Placement, pools: tuple[Pool, ...]) -> list[PoolUse]:
    """The host's share in RAM: one pool, a copy in each, or spread over them."""
    if not host.weights_bytes and not host.compute_bytes and not host.overhead_bytes:
        return []
    if not pools:
        return [_use("ram", host)]
    if len(pools) == 1:
        return [_use(pools[0].id, host)]
    if placement.instances > 1:
        return [_use(pool.id, host) for pool in pools]
    weights = ram_weights(placement, pools)
    parts = {name: spread(getattr(host, name), weights) for name in _FIELDS}
    share = host.cache_share / sum(weights)
    return [
        PoolUse(
            pool=pool.id,
            cache_share=share * weights[index],
            **{name: parts[name][index] for name in _FIELDS},
        )
        for index, pool in enumerate(pools)
    ]
