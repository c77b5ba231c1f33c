"""Why one candidate stands above another: the level that decides, and the difference in words."""

from __future__ import annotations

from planner.planning.rank import ORDERS, Candidate, Ranking, Targets, Value
from planner.speed.records import BoundBy, Speed
from planner.units import format_rate


def losing_level(bound: tuple[Value, ...], key: tuple[Value, ...], ranking: Ranking) -> str:
    """The first level at which a bound is behind a candidate's key."""
    for level, best, own in zip(ORDERS[ranking.prefer], bound, key, strict=False):
        if own != best:
            return level.name.partition(" ")[0]
    return "name"


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
    rate, wait, found = speed.decode_tokens_per_s, speed.ttft_s, []
    if _too_slow(speed, targets):
        shown = format_rate(rate.expected if rate else None)
        found.append(f"decode {shown} tok/s, target {format_rate(targets.decode_tokens_per_s)}")
    if _too_late(speed, targets):
        shown = "unknown" if wait is None else f"{wait.expected:.1f} s"
        found.append(f"first token {shown}, target {targets.ttft_s:g} s")
    return tuple(found)


def _too_slow(speed: Speed, targets: Targets) -> bool:
    """Decoding misses its target, or is not known to meet it."""
    rate, least = speed.decode_tokens_per_s, targets.decode_tokens_per_s
    return least is not None and (rate is None or rate.expected < least)


def _too_late(speed: Speed, targets: Targets) -> bool:
    """The first token misses its target, or is not known to meet it."""
    wait, most = speed.ttft_s, targets.ttft_s
    return most is not None and (wait is None or wait.expected > most)


_LIMITS: dict[BoundBy, str] = {
    "bandwidth": "memory bandwidth",
    "compute": "compute",
    "launch": "the fixed cost of a token",
    "link": "the link between devices",
    "unknown": "a bandwidth that is not known",
}


def limits_of(speed: Speed, targets: Targets) -> tuple[str, ...]:
    """What stands behind each target that is missed: the bound of decoding; of a prompt its arithmetic."""
    found = []
    if _too_slow(speed, targets):
        found.append(f"decoding is limited by {_LIMITS[speed.bound_by]}")
    if speed.ttft_s is not None and _too_late(speed, targets):
        found.append("reading the prompt is limited by compute")
    return tuple(found)


def _rate(candidate: Candidate) -> str:
    rate = candidate.speed.decode_tokens_per_s
    return f"{format_rate(rate.expected if rate else None)} tok/s"


def _sentence(level: str, winner: Candidate, loser: Candidate, ranking: Ranking) -> str:
    """The difference at one level, in words."""
    match level:
        case "server" | "device" | "shortlist" | "quant":
            return _by_row(level, winner, loser, ranking)
        case "usefulness":
            return f"too weak to be of use: judged at {loser.ability:.1f} size doublings, quant loss included"
        case "targets":
            return "; ".join(missed_targets(loser.speed, ranking.targets)) or "misses its targets by more"
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


def _by_row(level: str, winner: Candidate, loser: Candidate, ranking: Ranking) -> str:
    """What the row of the matrix prefers, in words."""
    match level:
        case "server":
            return f"the row prefers {winner.server} to {loser.server}"
        case "device":
            return f"the row wants it on the {ranking.row.device}"
        case "shortlist":
            return "not on the row's shortlist"
        case _ if loser.quant.id in ranking.row.quants:
            return f"the row prefers {winner.quant.id} to {loser.quant.id}"
        case _:
            return f"{loser.quant.id} is not among the row's quants"
