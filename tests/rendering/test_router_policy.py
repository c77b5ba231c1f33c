"""What the router allows, fills in and counts: classes, intents, caps, metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.rendering.house import House, held, sample, samples, until


def test_batch_waits_for_an_interactive_server_that_is_busy_and_leaves_it_a_slot(build: Callable[..., House]) -> None:
    """Without a server of its own, batch work goes to the interactive one: only while nobody interactive is there."""
    house = build(batch={"role": "embedding"}, interactive={"slots": 2, "queue": 9})
    results: list[int] = []
    people = held(house, {}, results)
    until(lambda: len(house.interactive.asked) == 1)
    works = [held(house, {"X-Priority": "batch"}, results) for _ in range(2)]
    until(lambda: sample(house, "planner_router_waiting", backend="interactive") == 2)
    assert len(house.interactive.asked) == 1  # one slot is free all the time
    house.interactive.release.set()
    for thread in (people, *works):
        thread.join()
    assert results == [200, 200, 200]
    house.interactive.release.clear()
    works = [held(house, {"X-Priority": "batch"}, results) for _ in range(2)]
    until(lambda: sample(house, "planner_router_waiting", backend="interactive") == 1)
    assert house.chat().json()["from"] == "interactive"  # beside the batch work, before what waits
    house.interactive.release.set()
    for thread in works:
        thread.join()


def test_who_leaves_the_queue_leaves_its_place(build: Callable[..., House]) -> None:
    house = build(batch={"slots": 1, "queue": 1})
    results: list[int] = []
    first = held(house, {"X-Priority": "batch"}, results)
    until(lambda: len(house.batch.asked) == 1)
    with pytest.raises(httpx.ReadTimeout):
        house.client.post("/v1/chat/completions", json={"priority": "batch"}, timeout=0.3)
    until(lambda: sample(house, "planner_router_waiting", backend="batch") == 0)
    second = held(house, {"X-Priority": "batch"}, results)
    until(lambda: sample(house, "planner_router_waiting", backend="batch") == 1)
    house.batch.release.set()
    first.join()
    second.join()
    assert results == [200, 200]
    assert len(house.batch.asked) == 2  # the one that left was never asked of the server


def test_an_intent_fills_in_what_the_request_leaves_open(build: Callable[..., House]) -> None:
    profiles = {"planned": {"top_p": 0.95}, "deterministic": {"temperature": 0.0, "seed": 42}}
    house = build(interactive={"profiles": profiles})
    house.chat(intent="deterministic", seed=7)
    house.chat({"X-Intent": "deterministic"})
    house.chat(temperature=0.3)
    house.chat({"X-Priority": "batch", "X-Intent": "deterministic"})
    plain = {"model": "qwen3-14b", "messages": [], "priority": 0}
    assert house.interactive.asked == [
        plain | {"temperature": 0.0, "seed": 7},
        plain | {"temperature": 0.0, "seed": 42},
        plain | {"temperature": 0.3, "top_p": 0.95},
    ]
    assert house.batch.asked == [{"model": "qwen3-14b", "messages": []}]
    assert "x-intent" not in house.interactive.headers[1]
    for intent in ("vendor", None, 1, ["deterministic"]):
        answer = house.chat(intent=intent)
        assert answer.status_code == 400
        assert "intent must be deterministic" in answer.json()["error"]["message"]


def test_answers_are_no_longer_than_their_class_allows(house: House) -> None:
    """The plan gives one user 16384 tokens, and the workload's usual prompt has 512 of them."""
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        house.chat(**{name: 1_000_000})
        house.chat(**{name: 100})
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        assert [asked[name] for asked in house.interactive.asked if name in asked] == [16384 - 512, 100]
    house.chat({"X-Priority": "batch"}, max_tokens=1_000_000)
    assert house.batch.asked[0]["max_tokens"] == 8192 - 512
    house.chat(max_tokens="many")
    assert house.interactive.asked[-1]["max_tokens"] == "many"  # the server says what is wrong with it


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 2_100_000}]}),
        ("/v1/chat/completions", {"messages": [{"content": [{"type": "text", "text": "ü" * 1_050_000}]}]}),
        ("/v1/completions", {"prompt": ["short", "x" * 2_100_000]}),
        ("/v1/responses", {"input": "x" * 2_100_000}),
    ],
)
def test_a_prompt_that_no_tokenizer_fits_into_the_context_is_413(house: House, path: str, body: dict[str, Any]) -> None:
    """8192 tokens of at most 256 bytes are 2 097 152 bytes."""
    answer = house.client.post(path, json=body | {"model": "default", "priority": "batch"})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert not house.batch.asked


def test_pictures_and_other_prompts_count_for_themselves(house: House) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000_000}}
    assert house.chat({"X-Priority": "batch"}, messages=[{"role": "user", "content": [picture]}]).status_code == 200
    several = {"model": "default", "prompt": ["x" * 1_500_000] * 2, "priority": "batch"}
    assert house.client.post("/v1/completions", json=several).status_code == 200


def test_metrics_count_answers_and_need_the_key(house: House) -> None:
    assert httpx.get(f"{house.served.url}/metrics", trust_env=False).status_code == 401
    house.chat()
    house.chat(priority="batch")
    house.chat(priority="urgent")
    house.interactive.release.set()
    house.chat(stream=True)
    house.interactive.served.stop()
    house.chat()
    found = samples(house)
    requests = "planner_router_requests_total"
    assert found[f"{requests}{{backend=interactive,code=200,priority=interactive}}"] == 2
    assert found[f"{requests}{{backend=batch,code=200,priority=batch}}"] == 1
    assert found[f"{requests}{{backend=batch,code=200,priority=interactive}}"] == 1  # the fallback
    assert found[f"{requests}{{backend=,code=400,priority=}}"] == 1
    assert found["planner_router_backend_failures_total{backend=interactive,kind=unreachable}"] == 1
    assert found["planner_router_first_byte_seconds_count{backend=interactive,priority=interactive}"] == 1
    assert [found[f"planner_router_backend_up{{backend={name}}}"] for name in ("interactive", "batch")] == [0, 1]
    assert found["planner_router_slots{backend=interactive}"] == 16
    assert found["planner_router_running{backend=interactive}"] == 0


def test_metrics_count_broken_and_unready_servers(house: House) -> None:
    house.chat(dies_after=2, media_type="text/event-stream")
    house.interactive.status = 503
    house.chat()
    found = samples(house)
    assert found["planner_router_backend_failures_total{backend=interactive,kind=broke_off}"] == 1
    assert found["planner_router_backend_failures_total{backend=interactive,kind=unavailable}"] == 1


def test_every_answer_that_asks_for_patience_says_how_much(house: House) -> None:
    house.batch.status = 429
    answer = house.chat({"X-Priority": "batch"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
