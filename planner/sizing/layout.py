"""The layout of one placement: blocks, frame and buffers gathered in bins, one per GPU and one for the host.

llama.cpp (`src/llama-model.cpp`, `load_tensors`): the token embedding always lies on the host; a tied head is copied to
the GPU; layers go to the GPUs from the last one down, the output first; routed experts of the first N expert layers may
stay on the host; caches lie with their layer; an image projector lies on the first GPU (`tools/mtmd/clip.cpp`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from planner.sizing.identity import IdentityCache
from planner.sizing.targets import spread

if TYPE_CHECKING:
    from planner.sizing.artifact import QuantizedModel
    from planner.sizing.demand import Demand
    from planner.sizing.records import Allocation, Placement, Pool

FIELDS: Final = (
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

    __slots__ = (*FIELDS, "cache_share")

    def __init__(self) -> None:
        self.weights_bytes = self.kv_cache_bytes = self.state_bytes = self.compute_bytes = self.overhead_bytes = 0
        self.dense_read_bytes = self.expert_read_bytes = self.expert_bytes = self.layers = 0
        self.cache_share = 0.0


class Columns(msgspec.Struct, frozen=True):
    """A quantized model's blocks by column, for sums over runs of blocks."""

    dense: tuple[int, ...]
    dense_read: tuple[int, ...]
    experts: tuple[int, ...]
    expert_read: tuple[int, ...]
    with_experts: tuple[int, ...]


_columns: IdentityCache[Columns] = IdentityCache(8192)


def _columns_of(quantized: QuantizedModel) -> Columns:
    def build() -> Columns:
        blocks = quantized.blocks
        return Columns(
            tuple(block.dense for block in blocks),
            tuple(block.dense_read for block in blocks),
            tuple(block.experts for block in blocks),
            tuple(block.expert_read for block in blocks),
            tuple(index for index, block in enumerate(blocks) if block.experts),
        )

    return _columns.value((quantized,), (), build)


class Layout:
    """The bins of one placement: one per GPU and the host."""

    def __init__(
        self,
        quantized: QuantizedModel,
        demand: Demand,
        allocation: Allocation,
        placement: Placement,
        pools: tuple[Pool, ...],
    ) -> None:
        self.quantized, self.demand = quantized, demand
        self.allocation, self.placement, self.pools = allocation, placement, pools
        self.columns = _columns_of(quantized)
        self.count = len(quantized.blocks)
        self.gpus = [Bin() for _ in pools]
        self.host = self.gpus[0] if pools and pools[0].kind == "unified" else Bin()
        self.parallel = placement.tensor_parallel > 1 and len(pools) > 1
        wanted = placement.gpu_layers
        self.first_on_gpu = self.count if not pools else 0 if wanted is None else max(self.count - wanted, 0)
        self.host_experts = self.columns.with_experts[: placement.cpu_expert_layers]

    @property
    def output_on_gpu(self) -> bool:
        """The output goes to the GPU with the first block that does."""
        return bool(self.gpus) and self.placement.gpu_layers != 0

    def lay_blocks(self) -> None:
        """Every block with its cache; the experts of the first layers to the host."""
        self._lay(0, self.first_on_gpu, self.host)
        if self.parallel:
            whole = Bin()
            self._lay(self.first_on_gpu, self.count, whole)
            self._over_ranks(whole)
            return
        start = self.first_on_gpu
        for own, stop in zip(self.gpus, self._ends(), strict=True):
            self._lay(start, stop, own)
            start = stop

    def _lay(self, start: int, stop: int, own: Bin) -> None:
        """Blocks `start` to `stop` in `own`."""
        if start >= stop:
            return
        columns, demand = self.columns, self.demand
        kv, state = sum(demand.kv[start:stop]), sum(demand.state[start:stop])
        own.weights_bytes += sum(columns.dense[start:stop])
        own.dense_read_bytes += sum(columns.dense_read[start:stop])
        own.kv_cache_bytes += kv
        own.state_bytes += state
        own.layers += stop - start
        cached = demand.kv_bytes + demand.state_bytes
        own.cache_share += (kv + state) / cached if cached else (stop - start) / self.count
        if columns.with_experts:
            self._lay_experts(start, stop, own)

    def _lay_experts(self, start: int, stop: int, own: Bin) -> None:
        columns = self.columns
        experts, read = sum(columns.experts[start:stop]), sum(columns.expert_read[start:stop])
        if self.host_experts and own is not self.host:
            moved = [layer for layer in self.host_experts if start <= layer < stop]
            away, away_read = sum(columns.experts[i] for i in moved), sum(columns.expert_read[i] for i in moved)
            self._add_experts(self.host, away, away_read)
            experts, read = experts - away, read - away_read
        self._add_experts(own, experts, read)

    @staticmethod
    def _add_experts(own: Bin, resident: int, read: int) -> None:
        own.weights_bytes += resident
        own.expert_bytes += resident
        own.expert_read_bytes += read

    def _over_ranks(self, whole: Bin) -> None:
        """What all ranks share, divided; every rank computes every block."""
        ranks = len(self.gpus)
        for name in FIELDS:
            total = getattr(whole, name)
            parts = [total] * ranks if name == "layers" else spread(total, (1,) * ranks)
            for rank, part in zip(self.gpus, parts, strict=True):
                setattr(rank, name, getattr(rank, name) + part)
        for rank in self.gpus:
            rank.cache_share += whole.cache_share / ranks

    def _ends(self) -> list[int]:
        """The block after the last of each GPU: each is filled to the same part of what it can hold."""
        if len(self.gpus) < 2:
            return [self.count] * len(self.gpus)
        fixed = self.demand.compute.bytes + self.allocation.device_overhead_bytes
        head = self.quantized.output_bytes + self.quantized.tied_bytes
        costs = self._gpu_costs()
        room = [max(pool.usable_bytes, 1) for pool in self.pools]
        filled = (sum(costs) + head + fixed * len(room)) / sum(room)
        ends, gpu, before, target = [self.count] * len(room), 0, 0.0, filled * room[0] - fixed
        for layer, cost in enumerate(costs, self.first_on_gpu):
            while gpu < len(room) - 1 and before + cost / 2 > target:
                ends[gpu] = layer
                gpu += 1
                target += filled * room[gpu] - fixed
            before += cost
        return ends

    def _gpu_costs(self) -> list[int]:
        columns, demand = self.columns, self.demand
        away = set(self.host_experts)
        return [
            columns.dense[i] + (0 if i in away else columns.experts[i]) + demand.kv[i] + demand.state[i]
            for i in range(self.first_on_gpu, self.count)
        ]

    def lay_frame(self) -> None:
        """Embedding, lookup tables, head, encoders: what stands outside the blocks."""
        model, frame = self.quantized, Bin()
        inputs = model.embedding_bytes + model.lookup_bytes
        frame.weights_bytes = model.output_bytes + model.other_bytes
        frame.dense_read_bytes = model.output_bytes + model.tied_bytes
        if self.allocation.policy == "vllm":
            frame.weights_bytes += model.encoder_bytes
        elif self.allocation.policy == "llama.cpp":
            (self.gpus[0] if self.output_on_gpu else self.host).weights_bytes += model.encoder_bytes
        if self.allocation.policy == "llama.cpp" or not self.gpus:
            self.host.weights_bytes += inputs
            if self.output_on_gpu and self.pools[0].kind != "unified":
                frame.weights_bytes += model.tied_bytes
        else:
            frame.weights_bytes += inputs
        if self.parallel:
            self._over_ranks(frame)
            return
        own = self.gpus[-1] if self.output_on_gpu else self.host
        own.weights_bytes += frame.weights_bytes
        own.dense_read_bytes += frame.dense_read_bytes

    def lay_buffers(self) -> None:
        """Work buffers and contexts of every device that computes."""
        for own in self.gpus:
            own.compute_bytes += self.demand.compute.bytes
            own.overhead_bytes += self.allocation.device_overhead_bytes
        host = self.host
        if not self.gpus or host is not self.gpus[0]:
            works = not self.gpus or self.first_on_gpu > 0 or bool(self.host_experts)
            host.compute_bytes += self.demand.compute.bytes if works else self.demand.host_bytes
        host.overhead_bytes += self.demand.output_bytes
