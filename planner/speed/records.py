"""Records of the speed floor: ranges, and how an answer came about."""

from __future__ import annotations

from typing import Literal

from planner.sizing.records import Placement, Record

BoundBy = Literal["bandwidth", "compute", "launch", "link", "unknown"]


class Range(Record, kw_only=True):
    """An 80 % range around an expected value."""

    low: float
    expected: float
    high: float


class Term(Record, kw_only=True):
    """One term of the time of a token, so that a person can redo the sum: `seconds` = quantity / rate."""

    name: str
    seconds: float
    text: str


class Speed(Record, kw_only=True):
    """What one deployment delivers. `decode_tokens_per_s` per user at `depth_tokens` and `concurrency` users;
    `aggregate_tokens_per_s`: output tokens of all users over whole requests, prefill included, queueing not.
    None = unknown (the reason is in `sources`)."""

    decode_tokens_per_s: Range | None = None
    prefill_tokens_per_s: Range | None = None
    ttft_s: Range | None = None
    aggregate_tokens_per_s: Range | None = None
    bound_by: BoundBy = "unknown"
    placement: Placement | None = None
    sources: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    depth_tokens: int = 0
    concurrency: int = 1
    prompt_tokens: int = 512
    output_tokens: int = 256
