"""What the planner says of the same requests, and how far the server is from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from planner.bench.records import Figure, Level, Verdict
from planner.bench.subject import Subject
from planner.hardware.facts import Calibration, Hardware
from planner.planning.estimate import estimate_placed
from planner.servers import SERVERS
from planner.sizing.pools import machine_pools
from planner.sizing.records import Placement, Runtime
from planner.sizing.tensors import expand
from planner.speed.classes import placement_class
from planner.speed.constants import load_constants
from planner.speed.estimate import estimate_speed
from planner.speed.records import Range, Speed
from planner.units import format_tokens

_BLOCK_TOKENS = 256  # llama.cpp pads caches to this; the context of the estimate is a whole number of them


@dataclass(frozen=True)
class Forced:
    """A placement that the person knows of the running server."""

    gpu_layers: int | str | None = None
    cpu_experts: int | str | None = None
    tensor_parallel: int | None = None


@dataclass(frozen=True)
class Predictor:
    """One model, quant, server and machine."""

    subject: Subject
    hardware: Hardware
    forced: Forced = Forced()

    def speed(self, level: Level, depth: int) -> Speed:
        """Speed of the level's users with their prompts and answers, decode at `depth`.

        Raises PlannerError when model, quant or server are unknown, NoFeasiblePlan when nothing fits."""
        return self._speed(self.hardware, level, depth)

    def uncalibrated(self, level: Level, depth: int) -> Speed:
        """The same from the constants alone: what a stored measurement is held against."""
        return self._speed(replace(self.hardware, calibration=()), level, depth)

    def _speed(self, hardware: Hardware, level: Level, depth: int) -> Speed:
        subject = self.subject
        assert subject.model is not None
        assert subject.quant is not None
        assert subject.server is not None
        prompt, output = level.prompt_tokens or 1, max(level.output_tokens, 1)
        context = -(-(prompt + output) // _BLOCK_TOKENS) * _BLOCK_TOKENS
        if subject.service is not None:
            return self._planned(hardware, depth, prompt, output, level.concurrency)
        return estimate_placed(
            subject.model,
            subject.quant,
            subject.server,
            hardware,
            Runtime(context_tokens=context, parallel=level.concurrency),
            depth=min(depth, context),
            prompt_tokens=prompt,
            output_tokens=output,
            gpu_layers=self.forced.gpu_layers,
            cpu_experts=self.forced.cpu_experts,
            tensor_parallel=self.forced.tensor_parallel,
        )

    def _planned(self, hardware: Hardware, depth: int, prompt: int, output: int, users: int) -> Speed:
        """The plan's own placement and footprint."""
        subject = self.subject
        assert subject.model is not None
        assert subject.quant is not None
        assert subject.service is not None
        service = subject.service
        context = max(service.context, prompt + output)
        return estimate_speed(
            expand(subject.model),
            subject.quant,
            service.footprint,
            hardware,
            machine_pools(hardware),
            service.placement,
            stack=self.stack(service.placement),
            runtime=Runtime(context_tokens=context, parallel=service.parallel, kv_type=service.kv_type),
            depth=depth,
            prompt_tokens=prompt,
            output_tokens=output,
            concurrency=users,
        )

    def stack(self, placement: Placement) -> str:
        """The key of the speed constants for the server in this placement."""
        assert self.subject.server is not None
        return SERVERS[self.subject.server].stack(self.hardware, placement)

    def compare(self, level: Level) -> tuple[tuple[Figure, ...], Speed]:
        """The level's figures beside their ranges. First token and prefill are those of one prompt alone, so they
        are compared for a single user."""
        speed = self.speed(level, mid_answer(level))
        fresh = self.speed(level, 0)
        figures = [_figure("decode", "tok/s", level.decode_tokens_per_s, speed.decode_tokens_per_s)]
        if level.concurrency == 1 and level.prompt_tokens is not None and not level.cached_tokens:
            figures.append(_figure("prefill", "tok/s", level.prefill_tokens_per_s, fresh.prefill_tokens_per_s))
            figures.append(_figure("ttft", "s", level.ttft_s.p50, fresh.ttft_s))
        if level.prompt_tokens is not None:
            figures.append(_figure("aggregate", "tok/s", level.aggregate_tokens_per_s, fresh.aggregate_tokens_per_s))
        return tuple(figure for figure in figures if figure is not None), speed

    def calibration(self, level: Level) -> Calibration | None:
        """Measured over predicted decode of a single user, without what earlier measurements say; None when one of
        the two is unknown."""
        plain = self.uncalibrated(level, mid_answer(level))
        subject, predicted, placement = self.subject, plain.decode_tokens_per_s, plain.placement
        if predicted is None or placement is None or not level.decode_tokens_per_s:
            return None
        assert subject.model is not None
        assert subject.quant is not None
        stack = self.stack(placement)
        vendor = self.hardware.gpus[placement.gpus[0]].vendor if placement.gpus else None
        constants, _ = load_constants().stack(stack, vendor, self.hardware.os.name)
        return Calibration(
            engine=stack,
            placement_class=placement_class(expand(subject.model), placement, constants),
            build=subject.served.build,
            model=subject.model.id,
            quant=subject.quant.id,
            measured_over_predicted=round(level.decode_tokens_per_s / predicted.expected, 4),
            rows=level.requests,
        )


def mid_answer(level: Level) -> int:
    """Tokens in the cache when half of the answer is written: the depth that the mean decode rate stands for."""
    return (level.prompt_tokens or 0) + level.output_tokens // 2


def at_depth(level: Level) -> str:
    """`704 depth`."""
    return f"{format_tokens(mid_answer(level))} depth"


def verdict(measured: float, predicted: Range) -> Verdict:
    """Where a measured value lies."""
    if measured < predicted.low:
        return "below"
    return "above" if measured > predicted.high else "inside"


def _figure(
    name: Literal["decode", "prefill", "ttft", "aggregate"],
    unit: Literal["tok/s", "s"],
    measured: float | None,
    predicted: Range | None,
) -> Figure | None:
    if measured is None or predicted is None:
        return None
    return Figure(
        name=name,
        unit=unit,
        measured=measured,
        low=predicted.low,
        expected=predicted.expected,
        high=predicted.high,
        verdict=verdict(measured, predicted),
    )
