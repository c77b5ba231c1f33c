"""The rendered router: who is asked, what is passed on, and what happens when a server or a client goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import httpx
import pytest

from planner.rendering import lay_out
from tests.rendering import plans
from tests.rendering.house import KEY, PIECE, Forgetful, House, held, leave_silent, put_router, router_module, until


def test_a_request_goes_to_the_backend_of_its_priority(house: House) -> None:
    assert house.chat().json() == {"from": "interactive", "model": "qwen3-14b"}
    assert house.chat({"X-Priority": "interactive"}).json()["from"] == "interactive"
    answer = house.chat({"X-Priority": "batch"})
    assert answer.json()["from"] == "batch"
    assert answer.headers["x-planner-backend"] == "batch"
    assert house.chat(priority="batch").json()["from"] == "batch"
    assert house.chat({"X-Priority": "interactive"}, priority="batch").json()["from"] == "interactive"


def test_the_priority_field_is_taken_out_and_becomes_an_integer_only_where_it_is_understood(house: House) -> None:
    house.chat(priority="interactive", temperature=0.3)
    house.chat(priority="batch")
    assert house.interactive.asked == [{"model": "qwen3-14b", "messages": [], "temperature": 0.3, "priority": 0}]
    assert house.batch.asked == [{"model": "qwen3-14b", "messages": []}]


def test_a_kept_connection_that_its_server_has_given_up_is_no_dead_server(build: Callable[..., House]) -> None:
    server = Forgetful()
    house = build(interactive={"url": server.url})
    answers = [house.chat() for _ in range(4)]
    assert {(answer.status_code, answer.headers["x-planner-backend"]) for answer in answers} == {(200, "interactive")}
    assert server.asked == len(answers)
    server.close()
    assert house.chat().headers["x-planner-backend"] == "batch"


def test_any_other_priority_is_400(house: House) -> None:
    for priority in ("urgent", "", 1, None, ["batch"]):
        answer = house.chat(priority=priority)
        assert answer.status_code == 400
        assert "priority" in answer.json()["error"]["message"]
    assert house.chat({"X-Priority": "Batch!"}).status_code == 400
    assert not house.interactive.asked


def test_without_the_key_nothing_is_served(house: House) -> None:
    attempts = (None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer ü")
    calls = (("POST", "/v1/chat/completions"), ("GET", "/v1/models"))
    for given, (method, path) in product(attempts, calls):
        request = house.client.build_request(method, path, json={"model": "default"})
        del request.headers["authorization"]
        raw = [*request.headers.raw, *([(b"authorization", given.encode("latin-1"))] if given is not None else [])]
        answer = house.client.send(httpx.Request(method, request.url, headers=raw, content=request.content))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert not house.interactive.asked


def test_a_replaced_key_counts_at_once(house: House) -> None:
    (house.folder / "secrets" / "api_key").write_text("another key that is longer\n")
    assert house.chat().status_code == 401
    assert house.chat({"Authorization": "Bearer another key that is longer"}).status_code == 200


def test_the_backend_gets_its_own_key_and_no_header_of_ours(house: House) -> None:
    house.chat({"Cookie": "a=b", "X-Priority": "interactive", "X-Trace": "7"})
    assert house.interactive.authorization == [f"Bearer {KEY}"]
    seen = house.interactive.headers[0]
    assert "cookie" not in seen
    assert "x-priority" not in seen
    assert seen["x-trace"] == "7"


def test_hop_by_hop_headers_are_dropped(house: House) -> None:
    answer = house.chat()
    assert answer.headers["x-own"] == "1"
    assert answer.headers.get("connection") != "close"


def test_only_listed_paths_are_passed_on(house: House) -> None:
    for path in ("/admin", "/slots", "/v1/../admin", "/tokenize", "/v1/load_lora_adapter", "/docs"):
        assert house.client.post(path, json={"model": "default"}).status_code == 404
    assert not house.interactive.asked


def test_what_is_no_request_is_400(house: House) -> None:
    for content in (b"{", b"[]", b'"x"', b"\xff", b'{"model": 5}', b"", b"[" * 100_000):
        assert house.client.post("/v1/chat/completions", content=content).status_code == 400


def test_what_is_nested_too_deeply_is_400(house: House) -> None:
    """Reading it may just succeed where writing it down again does not."""
    for depth in range(900, 1100, 7):
        content = b'{"messages": ' + b"[" * depth + b"]" * depth + b"}"
        assert house.client.post("/v1/chat/completions", content=content).status_code in (200, 400)


def test_a_request_that_is_too_long_is_413(build: Callable[..., House]) -> None:
    house = build(max_body_bytes=1000)
    assert house.chat(padding="x" * 1000).status_code == 413


def test_models_are_listed_and_unknown_ones_are_404(house: House) -> None:
    listed = house.client.get("/v1/models").json()
    assert [entry["id"] for entry in listed["data"]] == ["default", "qwen3-14b"]
    answer = house.chat(model="gpt-5")
    assert answer.status_code == 404
    assert "qwen3-14b" in answer.json()["error"]["message"]
    assert house.client.post("/v1/embeddings", json={"model": "default", "input": "x"}).status_code == 404


def test_a_stream_arrives_piece_by_piece(house: House) -> None:
    request = {"model": "default", "messages": [], "stream": True}
    with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        pieces = answer.iter_raw()
        assert next(pieces) == b"data: one\n\n"  # the backend has not sent the second yet
        house.interactive.release.set()
        assert b"".join(pieces) == b"data: two\n\n"


def test_a_client_that_leaves_a_stream_stops_the_backend(house: House) -> None:
    request = {"model": "default", "messages": [], "stream": True}
    with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
        assert next(answer.iter_raw()) == b"data: one\n\n"
    until(house.interactive.cancelled.is_set)


def test_a_client_that_leaves_before_the_first_byte_stops_the_backend(house: House) -> None:
    leave_silent(house)
    until(house.interactive.cancelled.is_set)


def test_interactive_falls_back_when_its_backend_is_dead_and_batch_does_not(house: House) -> None:
    house.interactive.served.stop()
    assert house.chat().json()["from"] == "batch"
    assert house.chat({"X-Priority": "batch"}).json()["from"] == "batch"
    house.batch.served.stop()
    answer = house.chat({"X-Priority": "batch"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_a_backend_that_dies_before_its_first_byte_is_passed_over(house: House) -> None:
    answer = house.chat(dies_after=0, media_type="text/event-stream")
    assert (answer.headers["x-planner-backend"], answer.content) == ("batch", PIECE)


def test_a_stream_that_breaks_off_ends_in_an_error_event(house: House) -> None:
    answer = house.chat(dies_after=2, media_type="text/event-stream")
    assert answer.content.startswith(2 * PIECE)
    last = answer.text.strip().rpartition("\n\n")[2]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["message"] == "interactive broke off in the middle of its answer"
    assert "[DONE]" not in answer.text
    assert not house.batch.asked


def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(house: House) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        house.chat(dies_after=1, media_type="application/json")


def test_batch_never_spills_into_the_interactive_backend(house: House) -> None:
    house.batch.served.stop()
    assert house.chat({"X-Priority": "batch"}).status_code == 503
    assert house.chat().json()["from"] == "interactive"
    assert len(house.interactive.asked) == 1


def test_fallback_can_be_switched_off(build: Callable[..., House]) -> None:
    house = build(fallback=False)
    house.interactive.served.stop()
    assert house.chat().status_code == 503


def test_a_backend_that_is_not_ready_is_passed_over(house: House) -> None:
    for house.interactive.status in (429, 502, 503):
        assert house.chat().json()["from"] == "batch"


def test_other_errors_of_a_backend_are_the_answer(house: House) -> None:
    for house.interactive.status in (400, 404, 422, 500):
        answer = house.chat()
        assert answer.status_code == house.interactive.status
        assert answer.json() == {"error": "interactive"}
    assert not house.batch.asked


def test_full_slots_queue_and_a_full_queue_is_429(build: Callable[..., House]) -> None:
    house = build(batch={"slots": 1, "queue": 1})
    results: list[int] = []
    first = held(house, {"X-Priority": "batch"}, results)
    until(lambda: len(house.batch.asked) == 1)
    others = [held(house, {"X-Priority": "batch"}, results) for _ in range(2)]
    until(lambda: results == [429])  # one of them waits, for the other the queue is full
    assert len(house.batch.asked) == 1
    house.batch.release.set()
    for thread in (first, *others):
        thread.join()
    assert results == [429, 200, 200]
    assert house.chat({"X-Priority": "batch"}).status_code == 200


def test_a_full_interactive_queue_spills_into_batch(build: Callable[..., House]) -> None:
    house = build(interactive={"slots": 1, "queue": 0})
    results: list[int] = []
    first = held(house, {}, results)
    until(lambda: len(house.interactive.asked) == 1)
    assert house.chat().json()["from"] == "batch"
    house.interactive.release.set()
    first.join()
    assert results == [200]


def test_waiting_too_long_is_429(build: Callable[..., House]) -> None:
    house = build(queue_s=0.1, batch={"slots": 1, "queue": 5})
    results: list[int] = []
    first = held(house, {"X-Priority": "batch"}, results)
    until(lambda: len(house.batch.asked) == 1)
    assert house.chat({"X-Priority": "batch"}).status_code == 429
    house.batch.release.set()
    first.join()


def test_slots_come_back_after_leaving_clients_and_dead_backends(build: Callable[..., House]) -> None:
    house = build(interactive={"slots": 1, "queue": 1}, fallback=False)
    for _ in range(3):
        leave_silent(house)
        until(house.interactive.cancelled.is_set)
        house.interactive.cancelled.clear()
        assert house.chat().status_code == 200


def test_health_needs_no_key_and_tells_which_backend_is_up(house: House) -> None:
    bare = httpx.get(f"{house.served.url}/health", trust_env=False)
    assert bare.status_code == 200
    assert bare.json() == {"status": "ok", "backends": {"interactive": "up", "batch": "up"}}
    house.interactive.served.stop()
    assert house.client.get("/health").json()["backends"] == {"interactive": "down", "batch": "up"}
    house.batch.served.stop()
    assert house.client.get("/health").status_code == 503


def test_it_does_not_start_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, units = plans.team()
    bundle = lay_out(plan, units, "launch")
    put_router(bundle, tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "router.json").write_text(bundle["config/router.json"])
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "api_key").write_text("\n")
    module = router_module(tmp_path, monkeypatch)
    with pytest.raises(RuntimeError, match="holds no key"):
        module.Router(json.loads(bundle["config/router.json"]), tmp_path / "config")


def test_relative_keys_lie_in_systemds_credentials_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, units = plans.team()
    bundle = lay_out(plan, units, "systemd")
    put_router(bundle, tmp_path)
    (tmp_path / "api-key").write_text(KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    router = router_module(tmp_path, monkeypatch).Router(json.loads(bundle["config/router.json"]), Path("/nowhere"))
    assert router.keys.admits(f"Bearer {KEY}")
    asyncio.run(router.client.aclose())
