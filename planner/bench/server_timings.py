"""The server's own figures for the requests just made: llama-server's in the stream, vLLM's counters, Ollama's call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from planner.bench.connection import Client
from planner.bench.records import Served, ServerTimings
from planner.bench.request import Sample
from planner.bench.statistics import median

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+(?P<value>[-+\d.eEinfNa]+)")
# Names in vLLM's /metrics; the second is what versions before 0.11 called it.
_BETWEEN = ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds")
_FIRST = ("vllm:time_to_first_token_seconds",)
_PREFILL = ("vllm:request_prefill_time_seconds",)
Counters = dict[str, float]


def from_stream(samples: Sequence[Sample]) -> ServerTimings | None:
    """llama-server's `timings` in the last event, medians over requests; None when there are none."""
    decode = median(_rate(s.timings, "predicted_n", "predicted_ms") for s in samples)
    prefill = median(_rate(s.timings, "prompt_n", "prompt_ms") for s in samples)
    if decode is None and prefill is None:
        return None
    first = median(s.timings["prompt_ms"] / 1e3 if "prompt_ms" in s.timings else None for s in samples)
    return ServerTimings(
        source="timings of llama-server", decode_tokens_per_s=decode, prefill_tokens_per_s=prefill, ttft_s=first
    )


def _rate(timings: dict[str, float], count: str, milliseconds: str) -> float | None:
    spent = timings.get(milliseconds, 0.0)
    return timings[count] / spent * 1e3 if spent > 0 and timings.get(count, 0) > 1 else None


def counters(client: Client, served: Served) -> Counters:
    """The counters of vLLM now, summed over labels; empty with another server, or where /metrics is closed."""
    if served.server != "vllm":
        return {}
    answer = client.get("/metrics")
    return parse_counters(answer.text) if answer.status == 200 else {}


def parse_counters(text: str) -> Counters:
    """Values of the Prometheus text format by name, summed over labels; buckets are left out."""
    totals: Counters = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or match["name"].endswith("_bucket"):
            continue
        try:
            totals[match["name"]] = totals.get(match["name"], 0.0) + float(match["value"])
        except ValueError:
            continue
    return totals


def from_counters(before: Counters, after: Counters) -> ServerTimings | None:
    """Means between two readings of vLLM's counters; requests of others in that time are in them too."""
    between, first = _mean(_BETWEEN, before, after), _mean(_FIRST, before, after)
    if between is None and first is None:
        return None
    prefill_s = _grown(f"{_PREFILL[0]}_sum", before, after)
    prompt = _grown("vllm:prompt_tokens_total", before, after)
    return ServerTimings(
        source="counters of vLLM, means",
        decode_tokens_per_s=1.0 / between if between else None,
        prefill_tokens_per_s=prompt / prefill_s if prefill_s > 0 and prompt > 0 else None,
        ttft_s=first,
    )


def _grown(name: str, before: Counters, after: Counters) -> float:
    return after.get(name, 0.0) - before.get(name, 0.0)


def _mean(names: Sequence[str], before: Counters, after: Counters) -> float | None:
    for name in names:
        count = _grown(f"{name}_count", before, after)
        if count > 0:
            return _grown(f"{name}_sum", before, after) / count
    return None


def from_ollama(client: Client, served: Served, prompt: str, output_tokens: int) -> ServerTimings | None:
    """One request through Ollama's own API, which tells durations in nanoseconds; None with another server."""
    if served.server != "ollama":
        return None
    body = {"model": served.id, "prompt": prompt, "stream": False, "options": {"num_predict": output_tokens}}
    answer = client.post("/api/generate", body)
    return ollama_timings(answer.document) if answer.status == 200 else None


def ollama_timings(document: Any) -> ServerTimings | None:
    """Rates from `eval_count` / `eval_duration` and `prompt_eval_count` / `prompt_eval_duration`."""
    if not isinstance(document, dict):
        return None
    rates = [_per_second(document, f"{part}_count", f"{part}_duration") for part in ("eval", "prompt_eval")]
    if rates == [None, None]:
        return None
    source = "a request through Ollama's /api/generate"
    return ServerTimings(source=source, decode_tokens_per_s=rates[0], prefill_tokens_per_s=rates[1])


def _per_second(document: dict[str, Any], count: str, nanoseconds: str) -> float | None:
    tokens, spent = document.get(count), document.get(nanoseconds)
    if not isinstance(tokens, int | float) or not isinstance(spent, int | float) or spent <= 0:
        return None
    return tokens / spent * 1e9
