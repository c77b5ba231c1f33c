"""Server-sent events cut anywhere, and the arithmetic of moments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from planner.bench.connection import events
from planner.bench.records import ServerTimings
from planner.bench.request import Sample
from planner.bench.server_timings import from_counters, from_stream, ollama_timings, parse_counters
from planner.bench.statistics import distribution, level_of, percentile

STREAM = b': hello\r\n\r\nevent: x\r\ndata: {"a": 1}\r\n\r\ndata: two\ndata:lines\n\ndata: last'


def read(pieces):
    return [event.data for event in events(iter(pieces))]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_do_not_depend_on_where_the_stream_is_cut(cuts):
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [(0.0, STREAM[a:b]) for a, b in itertools.pairwise(places)]
    assert read(pieces) == ['{"a": 1}', "two\nlines", "last"]


def test_an_event_has_the_moment_of_the_piece_that_ended_it():
    pieces = [(1.0, b"data: a\n"), (2.0, b"\ndata: b\n\nda"), (3.0, b"ta: c\n\n")]
    assert [(event.arrived_s, event.data) for event in events(iter(pieces))] == [(2.0, "a"), (2.0, "b"), (3.0, "c")]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values, share):
    assert percentile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-6)


def sample(sent=10.0, arrivals=(12.0, 12.5, 13.0, 14.0), **counts):
    facts = {"prompt_tokens": 100, "cached_tokens": 0, "counted_tokens": 4}
    return Sample(sent_s=sent, arrivals_s=arrivals, **(facts | counts))


def test_rates_of_one_request_by_hand():
    one = sample()
    assert one.ttft_s == 2.0
    assert one.decode_tokens_per_s == pytest.approx(3 / 2.0)
    assert one.prefill_tokens_per_s == pytest.approx(50.0)
    assert one.gaps_s == (0.5, 0.5, 1.0)


def test_cached_prompt_tokens_are_not_prefilled():
    assert sample(cached_tokens=60).prefill_tokens_per_s == pytest.approx(20.0)


def test_events_that_hold_several_tokens_count_as_the_server_says():
    assert sample(counted_tokens=13).decode_tokens_per_s == pytest.approx(6.0)
    assert sample(counted_tokens=None).output_tokens == 4


def test_one_event_has_no_rate():
    assert sample(arrivals=(12.0,), counted_tokens=1).decode_tokens_per_s is None


def test_a_level_by_hand():
    # Two users start together; 8 tokens in 6 s from the first request to the last token.
    level = level_of([sample(), sample(arrivals=(14.0, 15.0, 15.5, 16.0))], 2, failed=1, server=None)
    assert level.aggregate_tokens_per_s == pytest.approx(8 / 6.0)
    assert level.decode_tokens_per_s == pytest.approx(1.5)
    assert level.decode_spread == pytest.approx(1.0)
    assert (level.ttft_s.p50, level.ttft_s.p90) == pytest.approx((3.0, 3.8))
    assert level.inter_token_s is not None
    assert level.inter_token_s.count == 6
    assert level.failed_requests == 1
    assert distribution([]) is None


def test_timings_of_llama_server():
    timings = {"prompt_n": 37.0, "prompt_ms": 221.42, "predicted_n": 4.0, "predicted_ms": 25.143, "cache_n": 0.0}
    own = from_stream([sample(timings=timings)])
    assert own is not None
    # The rates that llama-server b11669 printed beside these counts.
    assert own.prefill_tokens_per_s == pytest.approx(167.10324270616925)
    assert own.decode_tokens_per_s == pytest.approx(4 / 25.143e-3)
    assert from_stream([sample()]) is None


COUNTERS = """# HELP vllm:inter_token_latency_seconds Histogram of inter-token latency in seconds.
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01",model_name="m"} 3.0
vllm:inter_token_latency_seconds_count{engine="0",model_name="m"} {n}
vllm:inter_token_latency_seconds_sum{engine="0",model_name="m"} {itl}
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} {req}
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} {ttft}
vllm:request_prefill_time_seconds_sum{engine="0",model_name="m"} {prefill}
vllm:prompt_tokens_total{engine="0",model_name="m"} {prompt}
vllm:prompt_tokens_total{engine="1",model_name="m"} 1e2
"""


def counters(**values):
    text = COUNTERS
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return parse_counters(text)


def test_counters_of_vllm_are_taken_as_differences():
    before = counters(n=10, itl=0.5, req=2, ttft=0.4, prefill=0.1, prompt=1000)
    after = counters(n=110, itl=2.5, req=4, ttft=1.0, prefill=0.6, prompt=2000)
    assert from_counters(before, after) == ServerTimings(
        source="counters of vLLM, means",
        decode_tokens_per_s=pytest.approx(50.0),
        prefill_tokens_per_s=pytest.approx(2000.0),
        ttft_s=pytest.approx(0.3),
    )
    assert from_counters(after, after) is None
    assert from_counters({}, {}) is None


def test_durations_of_ollama_are_nanoseconds():
    document = {"eval_count": 113, "eval_duration": 1325948000, "prompt_eval_count": 46, "prompt_eval_duration": 1e9}
    own = ollama_timings(document)
    assert own is not None
    assert own.decode_tokens_per_s == pytest.approx(113 / 1.325948)
    assert own.prefill_tokens_per_s == pytest.approx(46.0)
    assert ollama_timings({"error": "no"}) is None
