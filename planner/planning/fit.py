"""One model, quant and server tried on a site: bytes per pool of any placement, and the speed of those that fit."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from planner.catalog.records import Model, Quant, Workload
from planner.hardware.facts import Hardware
from planner.planning.placement import Attempt, Site
from planner.servers.base import ServerRoom
from planner.servers.origin import made_by
from planner.sizing.capacity import max_context, max_parallel
from planner.sizing.footprint import size_model
from planner.sizing.records import ExpandedModel, Footprint, KvType, Placement, Record, Runtime
from planner.sizing.tensors import expand
from planner.speed.estimate import estimate_speed
from planner.speed.records import Speed


class Demand(Record):
    """What one service must carry: users, context of each, cache type, and the request that is typical."""

    users: int
    context_tokens: int
    prompt_tokens: int
    output_tokens: int
    kv_type: KvType = KvType()

    @property
    def runtime(self) -> Runtime:
        """One slot per user."""
        return Runtime(context_tokens=self.context_tokens, parallel=self.users, kv_type=self.kv_type)

    @property
    def typical_depth_tokens(self) -> int:
        """The middle of an answer: the prompt and half of the output lie in the cache."""
        return min(self.prompt_tokens + self.output_tokens // 2, self.context_tokens - 1)


def demand_of(workload: Workload, users: int, context_tokens: int, kv_type: KvType | None) -> Demand:
    """The workload's request, shortened where the context asked for is smaller than its prompt and answer."""
    output = min(workload.output_tokens, max(context_tokens // 4, 1))
    prompt = max(min(workload.prompt_tokens, context_tokens - output), 1)
    return Demand(
        users=users,
        context_tokens=context_tokens,
        prompt_tokens=prompt,
        output_tokens=output,
        kv_type=kv_type or KvType(),
    )


class Fitter:
    """Sizes placements of one model, quant and server under one demand."""

    def __init__(self, model: Model, quant: Quant, room: ServerRoom, demand: Demand, site: Site) -> None:
        self.model, self.quant, self.room, self.demand, self.site = model, quant, room, demand, site
        self.expanded: ExpandedModel = expand(model)
        self.made = made_by(room.source(model, quant), model, quant)

    def runtime(self, placement: Placement) -> Runtime:
        """The slots of one copy: users are shared out over the copies of the server."""
        return replace(self.demand.runtime, parallel=-(-self.demand.users // max(placement.instances, 1)))

    def footprint(self, placement: Placement) -> Footprint:
        """Memory by part and by pool."""
        allocation = self.room.allocation(self.model, self.quant, self.site.hardware, placement)
        return size_model(
            self.expanded,
            self.quant,
            self.runtime(placement),
            allocation,
            server=self.room.id,
            made=self.made,
            placement=placement,
            pools=self.site.pools,
        )

    def reachable_context(self, placement: Placement) -> int:
        """The longest context per user that fits this placement, at most the model's native length."""
        context = self.model.context
        limit = context.native_tokens if context else self.demand.context_tokens
        return self._largest(max_context, placement, limit_tokens=limit)

    def reachable_users(self, placement: Placement, limit: int) -> int:
        """The most users with the demanded context that fit this placement, at most `limit` for each copy."""
        return self._largest(max_parallel, placement, limit=limit) * max(placement.instances, 1)

    def _largest(self, solve: Callable[..., int], placement: Placement, **limit: int) -> int:
        return solve(
            self.expanded,
            self.quant,
            self.runtime(placement),
            self.room.allocation(self.model, self.quant, self.site.hardware, placement),
            placement,
            self.site.pools,
            made=self.made,
            free_bytes={pool.id: self.site.available_bytes(pool) for pool in self.site.pools},
            **limit,
        )

    def attempt(self, placement: Placement) -> Attempt:
        """The placement with its footprint and what is lacking."""
        footprint = self.footprint(placement)
        return Attempt(placement=placement, footprint=footprint, missing=self.site.missing(footprint))

    def speed(self, attempt: Attempt) -> Speed:
        """Decode in the middle of an answer; prefill, first token and throughput of a request from an empty cache."""
        fresh = self._estimate(attempt, 0)
        depth = self.demand.typical_depth_tokens
        if depth <= 0 or fresh.decode_tokens_per_s is None:
            return fresh
        deep = self._estimate(attempt, depth)
        return replace(
            fresh,
            decode_tokens_per_s=deep.decode_tokens_per_s,
            bound_by=deep.bound_by,
            terms=deep.terms,
            depth_tokens=depth,
        )

    def _estimate(self, attempt: Attempt, depth: int) -> Speed:
        hardware: Hardware = self.site.hardware
        return estimate_speed(
            self.expanded,
            self.quant,
            attempt.footprint,
            hardware,
            self.site.pools,
            attempt.placement,
            stack=self.room.stack(hardware, attempt.placement),
            runtime=self.runtime(attempt.placement),
            depth=depth,
            prompt_tokens=self.demand.prompt_tokens,
            output_tokens=self.demand.output_tokens,
            concurrency=self.demand.users,
        )
