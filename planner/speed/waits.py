"""What a step waits for beside bytes and arithmetic: launches, barriers between cores, sampling, other devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.speed import formulas
from planner.speed.rates import Step, device_stack, reduce_bytes_per_s
from planner.speed.terms import Cost

if TYPE_CHECKING:
    from planner.sizing.records import Placement
    from planner.speed.constants import Stack

ASSUMED_TEAM: Final = 8.0  # cores that wait for each other where their number is unknown


def waits(step: Step, sequences: float) -> tuple[Cost, ...]:
    """The same at every depth."""
    return (*_launches(step), *_sampling(step, sequences), *_between(step, sequences))


def _launches(step: Step) -> list[Cost]:
    """Each layer on the device that computes it; experts in RAM cost the CPU their operations, the rest stays."""
    shape, placement = step.expanded.shape, step.placement
    reader = next((share.reader for share in step.shares if share.reader.device == "cpu"), None)
    in_ram = shape.layers if step.stack.device == "cpu" else layers_in_ram(placement, shape.layers)
    costs = []
    if in_ram < shape.layers:
        on_gpu = shape.layers - in_ram
        costs.append(_per_layer(step, "launch", step.stack, step.launch_factor, on_gpu, min(on_gpu, shape.moe_layers)))
    if reader is not None:
        experts = min(max(in_ram, placement.cpu_expert_layers), shape.moe_layers)
        team = reader.cores or ASSUMED_TEAM
        costs.append(_per_layer(step, "barriers", device_stack(step, reader), team, in_ram, experts))
    if step.extra_token_s:
        costs.append(Cost("server", step.extra_token_s, "launch", "per token in the server around the engine"))
    return [cost for cost in costs if cost.seconds > 0]


def _per_layer(step: Step, name: str, stack: Stack, factor: float, layers: int, expert_layers: int) -> Cost:
    """`factor`: of the build on a GPU; on a CPU the cores that wait for the slowest of them at every operation."""
    shape = step.expanded.shape
    norms = max(0.0, step.facts.norms_per_layer - 2.0)
    layer_us = stack.layer_us * (1.0 + stack.norm_share * norms) * factor
    recurrent = step.facts.recurrent_layers * layers / shape.layers
    recurrent_us = stack.recurrent_layer_us * (factor if stack.device == "cpu" else 1.0) + step.unfused_layer_us
    counted = [
        (layers, layer_us, "{:.0f} layers x {:.4g} us"),
        (expert_layers, stack.moe_layer_us * factor, "{:.0f} expert layers x {:.4g} us"),
        (recurrent, recurrent_us, "{:.0f} recurrent layers x {:.4g} us"),
        (1, stack.token_us, "{:.0f} token x {:g} us"),
    ]
    counted = [(count, micros, form) for count, micros, form in counted if count and micros]
    seconds = sum(count * micros for count, micros, _ in counted) * 1e-6
    figures = tuple(figure for count, micros, _ in counted for figure in (count, micros))
    return Cost(name, seconds, "launch", " + ".join(form for _, _, form in counted), figures)


def _sampling(step: Step, sequences: float) -> list[Cost]:
    """Drawing each user's token from all logits, on one core of the host."""
    nanos = step.constants.sampling_ns_per_logit
    if not step.host_logits:
        return []
    figures = (sequences, step.host_logits, nanos)
    seconds = sequences * step.host_logits * nanos * 1e-9
    return [Cost("sampling", seconds, "launch", "{:.0f} x {:.0f} logits x {:g} ns", figures)]


def _between(step: Step, sequences: float) -> list[Cost]:
    """What moving between devices costs: cards of a layer split, all-reduces, layers handed to the CPU."""
    several, placement, shape = step.constants.several, step.placement, step.expanded.shape
    cards = sum(1 for share in step.shares if share.reader.device != "cpu")
    costs: list[Cost] = []
    if placement.tensor_parallel > 1:
        costs.append(_reduce(step, placement.tensor_parallel, sequences))
    elif cards > 1:
        figures = (cards - 1, several.card_us)
        seconds = (cards - 1) * several.card_us * 1e-6
        costs.append(Cost("between cards", seconds, "link", "{:.0f} more cards x {:g} us", figures))
    handed = hand_overs(placement, shape.layers) if cards else 0
    if handed:
        seconds = handed * several.handoff_us * 1e-6
        costs.append(
            Cost("GPU to CPU and back", seconds, "link", "{:.0f} times x {:g} us", (handed, several.handoff_us))
        )
    return costs


def hand_overs(placement: Placement, layers: int) -> int:
    """How often a token goes to the CPU and back: for every layer whose experts lie in RAM, once for whole layers."""
    return min(placement.cpu_expert_layers, layers) or min(1, layers_in_ram(placement, layers))


def layers_in_ram(placement: Placement, layers: int) -> int:
    """Layers that the CPU computes whole."""
    return max(0, layers - placement.gpu_layers) if placement.gpu_layers is not None else 0


def _reduce(step: Step, cards: int, sequences: float) -> Cost:
    several, shape = step.constants.several, step.expanded.shape
    rate = reduce_bytes_per_s(step)
    moved = formulas.ring_bytes(sequences, shape.hidden_size, cards)
    seconds = 2 * shape.layers * (several.reduce_us * 1e-6 + moved / rate)
    figures = (shape.layers, several.reduce_us, moved / 1e3, rate / 1e9)
    form = "2 x {:.0f} all-reduces x ({:g} us + {:.0f} kB / {:.1f} GB/s)"
    return Cost("all-reduce", seconds, "link", form, figures)
