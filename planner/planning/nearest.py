"""When nothing fits: the nearest miss, what it lacks, and what would make it fit."""

from __future__ import annotations

from collections import Counter
from math import inf

from planner.errors import NoFeasiblePlan
from planner.planning.comparison import limits_of
from planner.planning.constraints import Constraints
from planner.planning.placement import Attempt
from planner.planning.question import Question, Triple
from planner.planning.rank import Targets
from planner.planning.search import Found, miss_text
from planner.servers import SERVERS
from planner.speed.records import Speed
from planner.units import GIB, format_gib, format_rate, format_tokens

# What a person would change for each reason, most specific first.
_REMEDIES = {
    "kv-type": "take a --kv-type that the server has",
    "min-decode": "lower --min-decode, or take a faster memory: fewer bits (--quant) or a smaller model",
    "max-ttft": "raise --max-ttft, or shorten the prompt",
    "speed-unknown": "name the bandwidth: --gpu-bandwidth or --ram-bandwidth",
    "quant-floor": "ask for the quant with --quant, or lower --min-quant",
    "license": "drop --license",
    "capability": "take another --workload, or another --model",
    "context": "shorten --context",
    "kind": "take the workload that fits the model: embedding, or multimodal for images",
    "no-source": "take another --quant: no published file of it is known",
}


_CARDS = "--budget-vram 48GiB names cards that would do, if any"


def no_plan(question: Question, found: Found) -> NoFeasiblePlan:
    """The error for a search without a candidate."""
    if not question.site.pools:
        return NoFeasiblePlan(
            "no memory of this machine is known, so nothing can be placed",
            hint="name it: --vram 24GiB, --ram 64GiB, or run planner probe on the machine",
        )
    if question.constraints.gpu_only and all(pool.kind == "ram" for pool in question.site.pools):
        return NoFeasiblePlan(
            "--gpu-only: no GPU with known memory is on this machine", hint="drop --gpu-only, or name one with --gpu"
        )
    if question.kinds == ("cpu",) and not question.site.has_ram:
        return NoFeasiblePlan(
            f"the {question.role} role runs in RAM, and this machine's RAM is not known or not allowed",
            hint="name it with --ram, drop --gpu-only, or plan one role: --roles interactive",
        )
    if found.slow:
        return _too_slow(found, question)
    if found.misses:
        triple, attempt = min(found.misses, key=lambda miss: (miss[1].missing_bytes, miss[0].model.id))
        return NoFeasiblePlan(_nothing_fits(triple, attempt), hint=_would_fit(attempt, question))
    return _server_objects(question) or _ruled_out(found, question.constraints)


def _server_objects(question: Question) -> NoFeasiblePlan | None:
    """The server that was asked for does not run on this machine, whatever the model: what it says itself."""
    server, hardware = question.constraints.server, question.site.hardware
    if server is None:
        return None
    models, room = question.catalog.models.values(), SERVERS[server]
    if any(room.quants(model, hardware) for model in models):
        return None
    formats = question.catalog.server(server).formats
    quant = next(quant for quant in question.catalog.quants.values() if quant.format in formats)
    reasons = (objection.text for model in models for objection in room.supports(model, quant, hardware))
    text = next(reasons, "has no model that it could serve here")
    return NoFeasiblePlan(f"--server {server}: {server} {text}", hint="take another --server, or drop it")


def _too_slow(found: Found, question: Question) -> NoFeasiblePlan:
    """Something fits, but nothing is fast enough: what comes nearest, what it does, and what limits it."""
    asked = question.constraints
    triple, speed = min(found.slow, key=lambda slow: (_times_missed(slow[1], asked), -_rate(slow[1]), slow[0].model.id))
    rate, wait = speed.decode_tokens_per_s, speed.ttft_s
    text = f"decodes {format_rate(rate.expected)} tok/s" if rate else "has an unknown speed"
    if wait is not None:
        text += f", first token after {wait.expected:.2g} s"
    name = f"{triple.model.name} {triple.quant.id} on {triple.server}"
    where = f" {speed.placement.text}" if speed.placement else ""
    reasons = {loser.reason_id for loser in found.rejected}
    remedies = [_REMEDIES[reason] for reason in ("min-decode", "max-ttft", "speed-unknown") if reason in reasons]
    asked_for = Targets(decode_tokens_per_s=asked.min_decode_tokens_per_s, ttft_s=asked.max_ttft_s)
    text = "; ".join((text, *limits_of(speed, asked_for)))
    return NoFeasiblePlan(
        f"nothing that fits is fast enough; the nearest, {name}{where}, {text}",
        hint="; ".join(remedies if question.site.hardware.unified else [*remedies, _CARDS]),
    )


def _times_missed(speed: Speed, asked: Constraints) -> float:
    """By which factor the demands are missed, all together; what is not known counts as infinitely far."""
    factor = 1.0
    if asked.min_decode_tokens_per_s is not None:
        factor *= max(asked.min_decode_tokens_per_s / (_rate(speed) or 1e-9), 1.0)
    if asked.max_ttft_s is not None:
        factor *= max((speed.ttft_s.expected if speed.ttft_s else inf) / asked.max_ttft_s, 1.0)
    return factor


def _rate(speed: Speed) -> float:
    return speed.decode_tokens_per_s.expected if speed.decode_tokens_per_s else 0.0


def _nothing_fits(triple: Triple, attempt: Attempt) -> str:
    name = f"{triple.model.name} {triple.quant.id} on {triple.server}"
    return f"nothing fits; the nearest miss is {name}, which {miss_text(attempt)}"


def _would_fit(attempt: Attempt, question: Question) -> str:
    """More of the memory that lacks, fewer tokens, fewer bits, or leave to use RAM."""
    pools = {pool.id: pool for pool in question.site.pools}
    wants = []
    for name, lacks in sorted(attempt.missing.items()):
        pool = pools[name]
        kind = {"gpu": "VRAM", "ram": "RAM", "unified": "unified memory"}[pool.kind]
        wants.append(f"{format_gib(lacks)} more {kind} ({format_gib(pool.capacity_bytes + lacks)} in {name})")
    text = "it would fit with " + " and ".join(wants)
    cache = attempt.footprint.kv_cache_bytes
    if cache >= attempt.missing_bytes > 0:
        context = format_tokens(question.demand.context_tokens)
        text += f", or with a shorter --context (now {context} x {question.demand.users}) or --kv-type q8_0"
    asked = question.constraints
    if asked.max_memory:
        text += ", or with a larger --max-memory"
    if asked.gpu_only:
        text += ", or without --gpu-only"
    if asked.models:
        text += ", or take a smaller --model" + (" or fewer bits: drop --quant" if asked.quant else "")
    from planner.planning.card_table import largest_bytes

    budget_bytes = _budget_bytes(attempt.footprint.total_bytes)
    if question.site.hardware.unified or asked.max_memory or budget_bytes > largest_bytes(question.catalog):
        return text
    return f"{text}; --budget-vram {budget_bytes // GIB}GiB names cards that would do"


def _budget_bytes(total_bytes: int) -> int:
    """A size of VRAM, in steps of 8 GiB as cards have, that holds everything and a tenth more."""
    step = 8 * GIB
    return -(-total_bytes * 11 // (10 * step)) * step


def _ruled_out(found: Found, constraints: Constraints) -> NoFeasiblePlan:
    """Constraints left nothing: count why, most frequent reason first; the reasons of the named model alone if any."""
    own = [loser for loser in found.rejected if loser.model in constraints.models]
    losers = own or [loser for loser in found.rejected if loser.reason_id not in {"kind", "model", "family"}]
    counts = Counter(loser.reason_id for loser in losers)
    if not counts:
        return NoFeasiblePlan("no model may serve this", hint="drop a constraint")
    shown = next(loser for loser in losers if loser.reason_id == counts.most_common(1)[0][0])
    name = " ".join(part for part in (shown.model, shown.quant, shown.server) if part)
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.most_common(4))
    remedy = next((text for reason, text in _REMEDIES.items() if counts[reason]), "drop a constraint")
    return NoFeasiblePlan(f"nothing satisfies the constraints: {name}: {shown.text} (reasons: {reasons})", hint=remedy)
