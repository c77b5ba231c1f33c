"""Records of a measurement: who was asked, what came back per number of users, and how it compares."""

from __future__ import annotations

from typing import Literal

from planner.hardware.facts import Calibration
from planner.sizing.records import Record

Verdict = Literal["below", "inside", "above"]


class Served(Record, kw_only=True):
    """What a server says of itself and of the model it serves. `server`: id of the catalog, None when it cannot be
    told; `context_tokens`: what one request may use; `slots`: requests it works on at once; `parameters`: elements
    of all tensors; `hints`: names that may tell model and quant, the most telling first."""

    id: str
    server: str | None = None
    build: str | None = None
    context_tokens: int | None = None
    slots: int | None = None
    parameters: int | None = None
    file_type: str | None = None
    hints: tuple[str, ...] = ()
    vram_bytes: int | None = None


class Distribution(Record, kw_only=True):
    """Percentiles of `count` values, interpolated between neighbours."""

    p50: float
    p90: float
    p99: float
    count: int


class ServerTimings(Record, kw_only=True):
    """The server's own figures for the same requests; `source` says where they were read."""

    source: str
    decode_tokens_per_s: float | None = None
    prefill_tokens_per_s: float | None = None
    ttft_s: float | None = None


class Figure(Record, kw_only=True):
    """One measured figure beside its predicted 80 % range."""

    name: Literal["decode", "prefill", "ttft", "aggregate"]
    unit: Literal["tok/s", "s"]
    measured: float
    low: float
    expected: float
    high: float
    verdict: Verdict


class Level(Record, kw_only=True):
    """What so many users at once got. Rates per user are medians over requests; `aggregate_tokens_per_s` is output
    tokens of all over the time from the first request to the last token; `tokens_counted` says whether tokens are
    the server's count or streamed events; `inter_token_s` is between events; `decode_spread` is the fastest request's
    rate over the slowest one's."""

    concurrency: int
    requests: int
    failed_requests: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int
    tokens_counted: Literal["usage", "events"]
    ttft_s: Distribution
    inter_token_s: Distribution | None = None
    decode_tokens_per_s: float | None = None
    decode_spread: float | None = None
    prefill_tokens_per_s: float | None = None
    aggregate_tokens_per_s: float
    server: ServerTimings | None = None
    predicted: tuple[Figure, ...] = ()


class Bench(Record, kw_only=True):
    """A measurement. `model` and `quant` are ids, None when they are not known; `placement` is the one that the
    prediction assumes; `calibration` is what may be stored."""

    served: Served
    model: str | None = None
    quant: str | None = None
    placement: str | None = None
    levels: tuple[Level, ...]
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()
