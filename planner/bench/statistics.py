"""From samples to figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from planner.bench.records import Distribution, Level, ServerTimings
from planner.bench.request import Sample


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie, interpolated between neighbours (Hyndman and Fan,
    type 7, as numpy does). Raises ValueError without values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))


def distribution(values: Iterable[float]) -> Distribution | None:
    """Median and tail; None without values."""
    known = list(values)
    if not known:
        return None
    p50, p90, p99 = (percentile(known, share) for share in (0.5, 0.9, 0.99))
    return Distribution(p50=p50, p90=p90, p99=p99, count=len(known))


def median(values: Iterable[float | None]) -> float | None:
    """The median of what is known."""
    known = [value for value in values if value is not None]
    return percentile(known, 0.5) if known else None


def spread(values: Iterable[float | None]) -> float | None:
    """The largest of what is known over the smallest; None for fewer than two."""
    known = [value for value in values if value]
    return max(known) / min(known) if len(known) > 1 else None


def level_of(samples: Sequence[Sample], concurrency: int, *, failed: int, server: ServerTimings | None) -> Level:
    """One level from at least one sample. Raises ValueError without any."""
    ttft = distribution(sample.ttft_s for sample in samples)
    if ttft is None:
        raise ValueError("no samples")
    started = min(sample.sent_s for sample in samples)
    spent_s = max(sample.arrivals_s[-1] for sample in samples) - started
    return Level(
        concurrency=concurrency,
        requests=len(samples),
        failed_requests=failed,
        prompt_tokens=_whole(median(sample.prompt_tokens for sample in samples)),
        cached_tokens=_whole(median(sample.cached_tokens for sample in samples)),
        output_tokens=round(median(sample.output_tokens for sample in samples) or 0),
        tokens_counted="usage" if all(sample.counted == "usage" for sample in samples) else "events",
        ttft_s=ttft,
        inter_token_s=distribution(gap for sample in samples for gap in sample.gaps_s),
        decode_tokens_per_s=median(sample.decode_tokens_per_s for sample in samples),
        decode_spread=spread(sample.decode_tokens_per_s for sample in samples),
        prefill_tokens_per_s=median(sample.prefill_tokens_per_s for sample in samples),
        aggregate_tokens_per_s=sum(sample.output_tokens for sample in samples) / spent_s,
        server=server,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
