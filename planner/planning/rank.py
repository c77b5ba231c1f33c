"""The order of candidates: one list of levels, compared from the first to the last, so every place can be explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import floor, log2
from typing import NamedTuple

from planner.catalog.records import MatrixRow, Model, Quant, Workload
from planner.planning.constraints import Prefer
from planner.sizing.records import Footprint, Placement, Record
from planner.speed.records import Speed
from planner.units import format_rate

Value = float | str

# Widths of the bands in which two candidates tie. Half a doubling of ability is about what published scores of one
# model differ by between benchmarks; a speed difference below a factor 1.4 is within the 80 % range of the estimate.
ABILITY_BAND = 0.5
FINE_ABILITY_BAND = 0.1
WIDE_ABILITY_BAND = 2.0
SPEED_BANDS_PER_DOUBLING = 2.0
HEADROOM_BAND = 0.1

# What an unknown speed counts for against a target: as missing it by a factor of 2.
UNKNOWN_SPEED_MISS = 2.0

# Best first: the fewer memories and devices, the fewer things that can go wrong.
SIMPLICITY = ("gpu", "unified", "cpu", "tensor-parallel", "multi-gpu", "experts-in-ram", "split")


class Targets(Record):
    """What a plan should reach; None = no target."""

    decode_tokens_per_s: float | None = None
    ttft_s: float | None = None


class Candidate(Record):
    """One model, quant, server and placement that fits, with its speed."""

    model: Model
    quant: Quant
    server: str
    placement: Placement
    footprint: Footprint
    speed: Speed
    ability: float
    free_fraction: float
    reachable_context_tokens: int = 0

    @property
    def label(self) -> str:
        """`Qwen3-14B Q4_K_M on ollama`."""
        return f"{self.model.name} {self.quant.id} on {self.server}"


class Ranking(NamedTuple):
    """Everything that the levels ask beside the candidate itself."""

    row: MatrixRow
    targets: Targets
    prefer: Prefer | None = None


class Level(NamedTuple):
    """One level: less is better. `known` levels need model, quant and server only; `best` bounds the others."""

    name: str
    value: Callable[[Candidate, Ranking], Value]
    known: bool
    best: float = 0.0


def missed(candidate: Candidate, ranking: Ranking) -> float:
    """How far targets are missed: 0 when all are met, else half doublings over both targets."""
    speed, targets = candidate.speed, ranking.targets
    steps = 0.0
    if targets.decode_tokens_per_s is not None:
        rate = speed.decode_tokens_per_s
        steps += _steps(targets.decode_tokens_per_s / rate.expected if rate else UNKNOWN_SPEED_MISS)
    if targets.ttft_s is not None:
        wait = speed.ttft_s
        steps += _steps(wait.expected / targets.ttft_s if wait else UNKNOWN_SPEED_MISS)
    return steps


def _steps(factor: float) -> float:
    """0 for a target that is met, else 1 and one more per factor of 1.4."""
    return 0.0 if factor <= 1 else 1.0 + floor(2 * log2(factor))


def server_place(server: str, row: MatrixRow) -> float:
    """The place of a server in the row's order; after the last when the row does not name it."""
    return float(row.servers.index(server)) if server in row.servers else float(len(row.servers))


def quant_place(quant: Quant, row: MatrixRow) -> float:
    """The place of a quant in the row's order; after the last when the row does not name it."""
    return float(row.quants.index(quant.id)) if quant.id in row.quants else float(len(row.quants))


def on_device(placement: Placement, device: str) -> bool:
    """Whether a placement computes where the row wants it."""
    if device == "any":
        return True
    if device == "cpu":
        return placement.kind == "cpu"
    if device == "unified":
        return placement.kind == "unified"
    return placement.kind in {"gpu", "multi-gpu", "tensor-parallel", "unified"}


def _ability_band(width: float) -> Callable[[Candidate, Ranking], Value]:
    return lambda candidate, _: -floor(candidate.ability / width)


def _speed_band(candidate: Candidate, _: Ranking) -> Value:
    rate = candidate.speed.decode_tokens_per_s
    return -floor(SPEED_BANDS_PER_DOUBLING * log2(rate.expected)) if rate else 1000.0


def _headroom_band(candidate: Candidate, _: Ranking) -> Value:
    return -floor(candidate.free_fraction / HEADROOM_BAND)


def _context_band(candidate: Candidate, _: Ranking) -> Value:
    tokens = candidate.reachable_context_tokens
    return -floor(2 * log2(tokens)) if tokens else 0.0


_NEVER = -1e9

_TARGETS = Level("targets", missed, known=False)
_SERVER = Level("server", lambda c, r: server_place(c.server, r.row), known=True)
_DEVICE = Level("device", lambda c, r: float(not on_device(c.placement, r.row.device)), known=False)
_SHORTLIST = Level("shortlist", lambda c, r: float(c.model.id not in r.row.shortlist), known=True)
_QUANT = Level("quant", lambda c, r: float(bool(r.row.quants) and c.quant.id not in r.row.quants), known=True)
_QUANT_ORDER = Level("quant order", lambda c, r: quant_place(c.quant, r.row), known=True)
_ABILITY = Level("ability", _ability_band(ABILITY_BAND), known=True)
_FINE_ABILITY = Level("ability (fine)", _ability_band(FINE_ABILITY_BAND), known=True)
_WIDE_ABILITY = Level("ability (wide)", _ability_band(WIDE_ABILITY_BAND), known=True)
_SPEED = Level("speed", _speed_band, known=False, best=_NEVER)
_HEADROOM = Level("headroom", _headroom_band, known=False, best=_NEVER)
_CONTEXT = Level("context", _context_band, known=False, best=_NEVER)
_SIMPLE = Level("simplicity", lambda c, _: float(SIMPLICITY.index(c.placement.kind)), known=False)
_EXACT = Level("ability (exact)", lambda c, _: -c.ability, known=True)
_NAMES = (
    Level("name", lambda c, _: c.model.id, known=True),
    Level("quant name", lambda c, _: c.quant.id, known=True),
    Level("placement", lambda c, _: c.placement.text, known=False, best=_NEVER),
)

_HOUSE = (_SHORTLIST, _TARGETS, _SERVER, _DEVICE)
_REST = (_QUANT_ORDER, _SPEED, _HEADROOM, _SIMPLE, _EXACT, *_NAMES)

ORDERS: dict[str | None, tuple[Level, ...]] = {
    None: (*_HOUSE, _QUANT, _ABILITY, *_REST),
    "quality": (_TARGETS, _FINE_ABILITY, _SERVER, _DEVICE, _SHORTLIST, _QUANT, *_REST),
    "speed": (*_HOUSE, _WIDE_ABILITY, _SPEED, _QUANT, _ABILITY, *_REST),
    "context": (*_HOUSE, _CONTEXT, _QUANT, _ABILITY, *_REST),
    "headroom": (*_HOUSE, _WIDE_ABILITY, _HEADROOM, _QUANT, _ABILITY, *_REST),
}


def key_of(candidate: Candidate, ranking: Ranking) -> tuple[Value, ...]:
    """The sort key: the values of all levels. Less is better, and no two candidates of one search tie."""
    return tuple(level.value(candidate, ranking) for level in ORDERS[ranking.prefer])


def bound_of(model: Model, quant: Quant, server: str, ability: float, ranking: Ranking) -> tuple[Value, ...]:
    """The best key that any placement of these three could have, up to the first level that is a name."""
    probe = _Known(model, quant, server, ability)
    levels = ORDERS[ranking.prefer]
    return tuple(
        level.value(probe, ranking) if level.known else level.best  # type: ignore[arg-type]
        for level in levels[: len(levels) - len(_NAMES)]
    )


class _Known(NamedTuple):
    """The part of a candidate that is known before it is placed."""

    model: Model
    quant: Quant
    server: str
    ability: float


def deciding_level(winner: Candidate, loser: Candidate, ranking: Ranking) -> str:
    """The first level at which two candidates differ."""
    for level in ORDERS[ranking.prefer]:
        if level.value(winner, ranking) != level.value(loser, ranking):
            return level.name
    return "name"


def explain_loss(winner: Candidate, loser: Candidate, ranking: Ranking) -> tuple[str, str]:
    """Why the loser stands lower: the level's name and a sentence."""
    level = deciding_level(winner, loser, ranking).partition(" ")[0]
    return level, _sentence(level, winner, loser, ranking)


def missed_targets(speed: Speed, targets: Targets) -> tuple[str, ...]:
    """A phrase for each target that is missed or cannot be judged."""
    found = []
    if targets.decode_tokens_per_s is not None:
        rate = speed.decode_tokens_per_s
        if rate is None or rate.expected < targets.decode_tokens_per_s:
            shown = format_rate(rate.expected if rate else None)
            found.append(f"decode {shown} tok/s, target {format_rate(targets.decode_tokens_per_s)}")
    if targets.ttft_s is not None:
        wait = speed.ttft_s
        if wait is None or wait.expected > targets.ttft_s:
            shown = "unknown" if wait is None else f"{wait.expected:.1f} s"
            found.append(f"first token {shown}, target {targets.ttft_s:g} s")
    return tuple(found)


def _rate(candidate: Candidate) -> str:
    rate = candidate.speed.decode_tokens_per_s
    return f"{format_rate(rate.expected if rate else None)} tok/s"


def _sentence(level: str, winner: Candidate, loser: Candidate, ranking: Ranking) -> str:
    """The difference at one level, in words."""
    match level:
        case "targets":
            return "; ".join(missed_targets(loser.speed, ranking.targets)) or "misses its targets by more"
        case "server":
            return f"the row prefers {winner.server} to {loser.server}"
        case "device":
            return f"the row wants it on the {ranking.row.device}"
        case "shortlist":
            return "not on the row's shortlist"
        case "quant" if loser.quant.id in ranking.row.quants:
            return f"the row prefers {winner.quant.id} to {loser.quant.id}"
        case "quant":
            return f"{loser.quant.id} is not among the row's quants"
        case "ability":
            return f"less able by {max(winner.ability - loser.ability, 0):.1f} size doublings, quant loss included"
        case "speed":
            return f"slower: {_rate(loser)} against {_rate(winner)}"
        case "headroom":
            return f"leaves {loser.free_fraction:.0%} free against {winner.free_fraction:.0%}"
        case "context":
            return f"reaches {loser.reachable_context_tokens} tokens against {winner.reachable_context_tokens}"
        case "simplicity":
            return f"{loser.placement.kind} is more to go wrong than {winner.placement.kind}"
        case _:
            return "equal in everything but the name"


def best_first(candidates: Sequence[Candidate], ranking: Ranking) -> list[Candidate]:
    """All candidates in order."""
    return sorted(candidates, key=lambda candidate: key_of(candidate, ranking))


def targets_of(workload: Workload) -> Targets:
    """The workload's own targets."""
    return Targets(decode_tokens_per_s=workload.min_decode_tokens_per_s, ttft_s=workload.max_ttft_s)
