"""Pitfalls of speed: assumed facts, missed targets, slow prefill, NUMA, thin data."""

from __future__ import annotations

from collections.abc import Iterator

from planner.planning.comparison import missed_targets
from planner.planning.pitfalls.view import View, uses_ram
from planner.planning.placement import compute_nodes
from planner.planning.plan import Warning as Pitfall
from planner.planning.roles import Chosen
from planner.units import format_rate, format_tokens

# A wait on a prompt that people call hanging; the plan says so when the CPU reads the prompt.
SLOW_PREFILL_S = 30.0

# Ranges wider than this factor between low and high rest on few measurements.
WIDE_RANGE = 3.0


def assumed_bandwidth(view: View) -> Iterator[Pitfall]:
    """A bandwidth that nobody measured or named stands behind the speed."""
    ram = any(uses_ram(one.candidate) for one in view.services.chosen)
    gpus = {index for one in view.services.chosen for index in one.candidate.placement.gpus}
    for path, fact in sorted(view.hardware.sources.items()):
        if fact.source != "assumed" or "bandwidth" not in path:
            continue
        gpu = path.startswith("gpus.")
        if (gpu and int(path.split(".")[1]) not in gpus) or (not gpu and not ram):
            continue
        option = "--gpu-bandwidth" if gpu else "--ram-bandwidth"
        what = "GPU" if gpu else "RAM"
        yield Pitfall(
            rule_id="assumed-bandwidth",
            severity="warning",
            text=f"{what} bandwidth is assumed ({fact.note or path}), so the speed is a guess",
            fix=f"name it with {option}, or run planner probe on the machine",
        )
        if not gpu:
            break


def assumed_cpu(view: View) -> Iterator[Pitfall]:
    """The CPU computes and its cores are not known."""
    if any(uses_ram(one.candidate) for one in view.services.chosen) and view.hardware.cpu.cores is None:
        yield Pitfall(
            rule_id="assumed-cpu",
            severity="warning",
            text="the number of CPU cores is not known, so prefill in RAM is a guess",
            fix="name it with --cores or --cpu",
        )


def targets_missed(view: View) -> Iterator[Pitfall]:
    """The best plan misses a target."""
    for one in view.services.chosen:
        for missed in missed_targets(one.candidate.speed, one.question.ranking.targets):
            yield Pitfall(
                rule_id="target-missed",
                severity="warning",
                text=f"{one.role}: {missed}",
                fix="a smaller --model, fewer --users, a shorter --context, or faster memory",
            )


def numa_unbound(view: View) -> Iterator[Pitfall]:
    """Several NUMA nodes, and the share in RAM is tied to none of them."""
    nodes = compute_nodes(view.hardware)
    for one in view.services.chosen:
        placement = one.candidate.placement
        if len(nodes) < 2 or not uses_ram(one.candidate):
            continue
        if placement.numa == "none":
            yield Pitfall(
                rule_id="numa-unbound",
                severity="warning",
                text=f"{len(nodes)} NUMA nodes, {one.role} bound to none: remote reads cost speed",
                fix="start it under numactl --cpunodebind=0 --membind=0, or --interleave=all if one is too small",
            )
        elif placement.numa == "interleave":
            yield Pitfall(
                rule_id="numa-interleaved",
                severity="note",
                text=f"{one.role} is larger than one NUMA node: interleaved, so part of every read is remote",
                fix="fewer bits or a smaller model would fit one node",
            )


def slow_prefill(view: View) -> Iterator[Pitfall]:
    """The CPU reads the prompt."""
    for one in view.services.chosen:
        wait = one.candidate.speed.ttft_s
        if not uses_ram(one.candidate) or one.role == "embedding" or wait is None or wait.expected < SLOW_PREFILL_S:
            continue
        yield Pitfall(
            rule_id="slow-cpu-prefill",
            severity="warning",
            text=f"prompts are read by the CPU: {format_tokens(one.candidate.speed.prompt_tokens)} tokens take about "
            f"{wait.expected:.0f} s to the first token",
            fix="--gpu-only where a GPU is there, shorter prompts, or run it overnight",
        )


def image_on_cpu(view: View) -> Iterator[Pitfall]:
    """Image generation without a GPU."""
    for one in view.services.chosen:
        if one.role == "image" and one.candidate.placement.kind == "cpu":
            yield Pitfall(
                rule_id="image-on-cpu",
                severity="warning",
                text=f"{one.candidate.model.name} has no room in VRAM and runs on the CPU: minutes per image",
                fix="a smaller language model leaves room on the GPU: --model, or --max-memory vram=",
            )


def thin_data(view: View) -> Iterator[Pitfall]:
    """A speed that is not known, or known only within a wide range."""
    for one in view.services.chosen:
        rate = one.candidate.speed.decode_tokens_per_s
        if one.role in {"embedding", "image"}:
            continue
        if rate is None:
            yield Pitfall(
                rule_id="speed-unknown",
                severity="warning",
                text=f"{one.role}: the speed is not known, since a memory bandwidth is not",
                fix=_bandwidth_option(one),
            )
        elif rate.high > WIDE_RANGE * rate.low:
            low, high = format_rate(rate.low), format_rate(rate.high)
            yield Pitfall(
                rule_id="thin-data",
                severity="note",
                text=f"{one.role}: {low} to {high} tok/s rests on few measurements of this kind of placement",
                fix="planner bench --save measures it once and narrows the range",
            )


def _bandwidth_option(one: Chosen) -> str:
    return "name it with --gpu-bandwidth" if one.candidate.placement.gpus else "name it with --ram-bandwidth"
