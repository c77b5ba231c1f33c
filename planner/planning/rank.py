"""The order of candidates: one list of levels, compared from the first to the last, so every place can be explained."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from math import floor, inf, log2
from typing import Literal

import msgspec

from planner.catalog.records import Axis, MatrixRow, Model, Quant, Workload
from planner.planning.constraints import Prefer
from planner.sizing.records import Footprint, Placement, Record
from planner.speed.records import Speed

Value = float | str

# Places and bands as numbers that exist once each: the search tells thousands of them equal without comparing values.
_whole = cache(float)

# Comes before every value that a level of numbers can have.
BEFORE_ALL = -inf

# Abilities tie between two edges of the axis (catalog/axes.yaml: the median uncertainty apart). Who prefers speed or
# headroom lets two such bands tie. A speed difference below a factor 1.4 is within the 80 % range of the estimate.
WIDE_BANDS = 2
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


class Ranking(msgspec.Struct, frozen=True):
    """Everything that the levels ask beside the candidate itself."""

    row: MatrixRow
    targets: Targets
    prefer: Prefer | None = None
    axis: Axis | None = None

    @property
    def edges(self) -> tuple[float, ...]:
        """Where the bands of ability end; without an axis all abilities tie."""
        return self.axis.band_edges if self.axis else ()

    def is_useful(self, ability: float) -> bool:
        """Whether a model judged at that ability is of use on the axis at all."""
        return self.axis is None or self.axis.useful_from is None or ability >= self.axis.useful_from


class Known(msgspec.Struct, frozen=True):
    """What is known of candidates before they are placed: the model and its ability alone, then also quant and server,
    then also a decode rate that no placement can exceed and a wait for the first token that none can undercut."""

    model: Model
    ability: float
    quant: Quant | None = None
    server: str | None = None
    ceiling_tokens_per_s: float | None = None
    least_ttft_s: float | None = None


# What becomes known of a candidate after its model: the quant, the server, and the best rates that are possible.
Step = Literal["quant", "server", "rates"]


class Level(msgspec.Struct, frozen=True):
    """One level: less is better. `bound` is the least value that anything known so far can still have; `sharper`: the
    step at which more is known of it than by the model alone."""

    name: str
    value: Callable[[Candidate, Ranking], Value]
    bound: Callable[[Known, Ranking], Value]
    sharper: Step | None = None


def missed(candidate: Candidate, ranking: Ranking) -> float:
    """How far targets are missed: 0 when all are met, else half doublings over both targets."""
    speed, targets = candidate.speed, ranking.targets
    steps = 0
    if targets.decode_tokens_per_s is not None:
        rate = speed.decode_tokens_per_s
        steps += _steps(targets.decode_tokens_per_s / rate.expected if rate else UNKNOWN_SPEED_MISS)
    if targets.ttft_s is not None:
        wait = speed.ttft_s
        steps += _steps(wait.expected / targets.ttft_s if wait else UNKNOWN_SPEED_MISS)
    return _whole(steps)


def _steps(factor: float) -> int:
    """0 for a target that is met, else 1 and one more per factor of 1.4."""
    return 0 if factor <= 1 else 1 + floor(2 * log2(factor))


def server_place(server: str, row: MatrixRow) -> float:
    """The place of a server in the row's order; after the last when the row does not name it."""
    return _whole(row.servers.index(server)) if server in row.servers else _whole(len(row.servers))


def quant_place(quant: Quant, row: MatrixRow) -> float:
    """The place of a quant in the row's order; after the last when the row does not name it."""
    return _whole(row.quants.index(quant.id)) if quant.id in row.quants else _whole(len(row.quants))


def on_device(placement: Placement, device: str) -> bool:
    """Whether a placement computes where the row wants it."""
    if device == "any":
        return True
    if device == "cpu":
        return placement.kind == "cpu"
    if device == "unified":
        return placement.kind == "unified"
    return placement.kind in {"gpu", "multi-gpu", "tensor-parallel", "unified"}


def ability_band(ability: float, edges: Sequence[float]) -> int:
    """The number of edges at or below an ability: more is better."""
    return bisect_right(edges, ability)


def _ability_level(name: str, bands: int) -> Level:
    """Abilities compared by so many bands of the axis at a time."""
    return Level(
        name,
        lambda c, r: _whole(-(ability_band(c.ability, r.edges) // bands)),
        lambda k, r: _whole(-(ability_band(k.ability, r.edges) // bands)),
        "quant",
    )


def _rate_band(tokens_per_s: float) -> float:
    return -floor(SPEED_BANDS_PER_DOUBLING * log2(tokens_per_s))


def _speed_band(candidate: Candidate, _: Ranking) -> Value:
    rate = candidate.speed.decode_tokens_per_s
    return _rate_band(rate.expected) if rate else 1000.0


def _headroom_band(candidate: Candidate, _: Ranking) -> Value:
    return -floor(candidate.free_fraction / HEADROOM_BAND)


def _parts(placement: Placement) -> float:
    """The place in SIMPLICITY; memory spread over NUMA nodes is a little less simple than one node."""
    return SIMPLICITY.index(placement.kind) + (0.5 if placement.numa == "interleave" else 0.0)


def _context_band(candidate: Candidate, _: Ranking) -> Value:
    tokens = candidate.reachable_context_tokens
    return -floor(2 * log2(tokens)) if tokens else 0.0


def _least_missed(known: Known, ranking: Ranking) -> Value:
    """The targets at the best rates that are possible; what is not bounded meets its target."""
    targets, steps = ranking.targets, 0
    if targets.decode_tokens_per_s is not None and known.ceiling_tokens_per_s is not None:
        steps += _steps(targets.decode_tokens_per_s / known.ceiling_tokens_per_s)
    if targets.ttft_s is not None and known.least_ttft_s is not None:
        steps += _steps(known.least_ttft_s / targets.ttft_s)
    return _whole(steps)


def _met(_: Known, __: Ranking) -> Value:
    return _whole(0)


def _any(_: Known, __: Ranking) -> Value:
    """Below every value that a level can have."""
    return BEFORE_ALL


# Before the targets: on a slow machine only a model too weak to be of use would meet them.
_USEFUL = Level(
    "usefulness",
    lambda c, r: _whole(not r.is_useful(c.ability)),
    lambda k, r: _whole(not r.is_useful(k.ability)),
    "quant",
)
_TARGETS = Level("targets", missed, _least_missed, "rates")
_SERVER = Level(
    "server",
    lambda c, r: server_place(c.server, r.row),
    lambda k, r: server_place(k.server, r.row) if k.server is not None else _whole(0),
    "server",
)
_DEVICE = Level("device", lambda c, r: _whole(not on_device(c.placement, r.row.device)), _met)
_SHORTLIST = Level(
    "shortlist",
    lambda c, r: _whole(c.model.id not in r.row.shortlist),
    lambda k, r: _whole(k.model.id not in r.row.shortlist),
)
_QUANT = Level(
    "quant",
    lambda c, r: _whole(bool(r.row.quants) and c.quant.id not in r.row.quants),
    lambda k, r: _whole(k.quant is not None and bool(r.row.quants) and k.quant.id not in r.row.quants),
    "quant",
)
_QUANT_ORDER = Level(
    "quant order",
    lambda c, r: quant_place(c.quant, r.row),
    lambda k, r: quant_place(k.quant, r.row) if k.quant is not None else _whole(0),
    "quant",
)
_ABILITY = _ability_level("ability", 1)
_WIDE_ABILITY = _ability_level("ability (wide)", WIDE_BANDS)
_SPEED = Level(
    "speed",
    _speed_band,
    lambda k, _: _rate_band(k.ceiling_tokens_per_s) if k.ceiling_tokens_per_s is not None else BEFORE_ALL,
    "rates",
)
_HEADROOM = Level("headroom", _headroom_band, _any)
_CONTEXT = Level("context", _context_band, _any)
_SIMPLE = Level("simplicity", lambda c, _: _parts(c.placement), _met)
_EXACT = Level("ability (exact)", lambda c, _: -c.ability, lambda k, _: -k.ability, "quant")
NAMES = (
    Level("name", lambda c, _: c.model.id, _any),
    Level("quant name", lambda c, _: c.quant.id, _any),
    Level("placement", lambda c, _: c.placement.text, _any),
)

_HOUSE = (_SHORTLIST, _USEFUL, _TARGETS, _SERVER, _DEVICE)
_REST = (_QUANT_ORDER, _SPEED, _HEADROOM, _SIMPLE, _EXACT, *NAMES)

ORDERS: dict[str | None, tuple[Level, ...]] = {
    None: (*_HOUSE, _QUANT, _ABILITY, *_REST),
    "quality": (_USEFUL, _TARGETS, _EXACT, _SERVER, _DEVICE, _SHORTLIST, _QUANT, *_REST),
    "speed": (*_HOUSE, _WIDE_ABILITY, _SPEED, _QUANT, _ABILITY, *_REST),
    "context": (*_HOUSE, _CONTEXT, _QUANT, _ABILITY, *_REST),
    "headroom": (*_HOUSE, _WIDE_ABILITY, _HEADROOM, _QUANT, _ABILITY, *_REST),
}


def key_of(candidate: Candidate, ranking: Ranking) -> tuple[Value, ...]:
    """The sort key: the values of all levels. Less is better, and no two candidates of one search tie."""
    return tuple(level.value(candidate, ranking) for level in ORDERS[ranking.prefer])


def best_first(candidates: Sequence[Candidate], ranking: Ranking) -> list[Candidate]:
    """All candidates in order."""
    return sorted(candidates, key=lambda candidate: key_of(candidate, ranking))


def targets_of(workload: Workload) -> Targets:
    """The workload's own targets."""
    return Targets(decode_tokens_per_s=workload.min_decode_tokens_per_s, ttft_s=workload.max_ttft_s)
