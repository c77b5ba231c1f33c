"""Pitfalls of memory: what is free now, swap, container limits."""

from __future__ import annotations

from collections.abc import Iterator

from planner.planning.machine import pool_plans
from planner.planning.pitfalls.view import View
from planner.planning.plan import Warning as Pitfall
from planner.units import format_gib


def memory_now(view: View) -> Iterator[Pitfall]:
    """Less memory is free now than the plan will use."""
    for bar in pool_plans(view.site, (one.candidate.footprint for one in view.services.chosen)):
        free = bar.pool.free_bytes
        if free is not None and free < bar.used_bytes:
            swap = view.hardware.memory.swap_total_bytes
            yield Pitfall(
                rule_id="less-free-now",
                severity="warning",
                text=f"{bar.pool.id}: {format_gib(free)} free now, the plan uses {format_gib(bar.used_bytes)}",
                fix="stop what uses it, or plan with --memory now",
            )
            if bar.pool.kind != "gpu" and swap:
                yield Pitfall(
                    rule_id="swap",
                    severity="warning",
                    text=f"{format_gib(swap)} of swap: a model that does not fit RAM crawls instead of failing",
                    fix="free memory first; limit the service (MemorySwapMax=0)",
                )


def container_limit(view: View) -> Iterator[Pitfall]:
    """A container's limit is below the machine's memory."""
    memory = view.hardware.memory
    if memory.limit_bytes is not None and memory.total_bytes is not None and memory.limit_bytes < memory.total_bytes:
        yield Pitfall(
            rule_id="container-limit",
            severity="note",
            text=f"planned within the container's {format_gib(memory.limit_bytes)} of {format_gib(memory.total_bytes)}",
            fix="raise the memory limit of the container, or plan on the host",
        )
