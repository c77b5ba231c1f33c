"""From timed chunks to a rate that survives preemption: the 95th percentile of 10 ms windows."""

from __future__ import annotations

from planner.hardware.memory_reader import Sample

WINDOW_S = 0.010
PERCENTILE = 0.95


def window_rates(samples: list[list[Sample]], groups: dict[int, list[int]]) -> dict[int, float]:
    """Bytes per second of each group in the window at the 95th percentile of the whole machine's total.

    Only windows in which every thread was reading count; a chunk's bytes are spread evenly over its time."""
    if not samples or any(not thread for thread in samples):
        return {}
    start = max(thread[0].start_s for thread in samples)
    end = min(thread[-1].end_s for thread in samples)
    count = int((end - start) / WINDOW_S)
    if count < 1:
        return {}
    by_group = {node: _spread([samples[i] for i in members], start, count) for node, members in groups.items()}
    totals = [sum(windows[i] for windows in by_group.values()) for i in range(count)]
    chosen = sorted(range(count), key=totals.__getitem__)[min(count - 1, int(PERCENTILE * count))]
    return {node: windows[chosen] / WINDOW_S for node, windows in by_group.items()}


def _spread(threads: list[list[Sample]], start: float, count: int) -> list[float]:
    windows = [0.0] * count
    for thread in threads:
        for sample in thread:
            length = sample.end_s - sample.start_s
            first = max(0, int((sample.start_s - start) / WINDOW_S))
            last = min(count - 1, int((sample.end_s - start) / WINDOW_S))
            for i in range(first, last + 1):
                low, high = start + i * WINDOW_S, start + (i + 1) * WINDOW_S
                overlap = min(sample.end_s, high) - max(sample.start_s, low)
                if overlap > 0 and length > 0:
                    windows[i] += sample.read_bytes * overlap / length
    return windows


def best_rate(samples: list[Sample]) -> float:
    """The fastest chunk's bytes per second; 0 without samples."""
    return max((s.read_bytes / (s.end_s - s.start_s) for s in samples if s.end_s > s.start_s), default=0.0)


def chunk_rate(samples: list[Sample]) -> float:
    """The 95th percentile of the chunks' bytes per second; 0 without samples."""
    return percentile(sorted(s.read_bytes / (s.end_s - s.start_s) for s in samples if s.end_s > s.start_s)) or 0.0


def percentile(values: list[float]) -> float | None:
    """The 95th percentile of sorted values."""
    return values[min(len(values) - 1, int(PERCENTILE * len(values)))] if values else None
