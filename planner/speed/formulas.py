"""The arithmetic of the model, without a fact or a constant in it: plain numbers in, seconds out.

`tools/fit_speed.py` runs the same functions on arrays, so what is fitted is what is predicted.
"""

from __future__ import annotations

SHARPNESS = 4
"""Two limits of one stream overlap almost fully: t = (a^4 + b^4)^(1/4) is within 19 % of the larger everywhere."""


def overlapped(first_s: float, second_s: float) -> float:
    """Seconds under two limits that work at the same time (bus and cores)."""
    total: float = (first_s**SHARPNESS + second_s**SHARPNESS) ** (1 / SHARPNESS)
    return total


def bandwidth_under(bus_bytes_per_s: float, core_bytes_per_s: float) -> float:
    """The read rate that bus and cores leave together."""
    return 1.0 / overlapped(1.0 / bus_bytes_per_s, 1.0 / core_bytes_per_s)


def expert_coverage(sequences: float, experts: int, active: int) -> float:
    """How many times the experts of one token are read when `sequences` tokens choose independently:
    E/k x (1 - (1 - k/E)^B), at most E/k."""
    if experts <= 0 or active <= 0 or active >= experts:
        return 1.0
    share = active / experts
    coverage: float = (1.0 - (1.0 - share) ** sequences) / share
    return coverage


def ring_bytes(tokens: float, hidden_size: float, cards: int) -> float:
    """Bytes that one card sends for one all-reduce of 16-bit activations: 2 (n-1)/n x tokens x hidden x 2."""
    return 2.0 * (cards - 1) / cards * tokens * hidden_size * 2.0


def batch_seconds(first_s: float, cache_s: float, flops: float, flops_per_s: float, sequences: float) -> float:
    """Seconds of one decode step for `sequences` users: weights once, caches and arithmetic per sequence."""
    return first_s + sequences * cache_s + (sequences - 1.0) * flops / flops_per_s


def aggregate_rate(sequences: float, output_tokens: float, prefill_s: float, step_s: float) -> float:
    """Output tokens per second of all users over whole requests: each prompt once, then a step per token."""
    return sequences * output_tokens / (sequences * prefill_s + output_tokens * step_s)


def attention_flops(layers: float, width: float, depth: float, tokens: float) -> float:
    """FLOPs of scores and values of `tokens` new tokens after `depth`: 4 x layers x width x (depth + N/2) x N."""
    return 4.0 * layers * width * (depth + tokens / 2.0) * tokens
