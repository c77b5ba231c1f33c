"""The rendered router in front of two real llama-servers: many streams at once, priorities, crashes, no leaks."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from planner.bench.connection import Answer, Client
from planner.bench.endpoint import parse_endpoint
from tools.bundles import KEY, Stack, started_stack, two_role_plan
from tools.serving import Server

pytestmark = pytest.mark.tools

CHAT = "/v1/chat/completions"
STREAMS = 64
SHORT, LONG = 48, 1500  # tokens of an answer; the long one outlasts what is done to its server meanwhile
DEADLINE_S = 60.0
Servers = dict[str, Server]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Servers]]:
    """Router, interactive and batch, from their launch scripts; half of the streams fit into each server's slots."""
    with started_stack(two_role_plan(STREAMS // 2, 2048), tmp_path_factory.mktemp("stack")) as started:
        yield started


@pytest.fixture
def servers(running: tuple[Stack, Servers]) -> Servers:
    return running[1]


def client(server: Server) -> Client:
    return Client(parse_endpoint(server.url), api_key=KEY, timeout_s=DEADLINE_S)


def question(priority: str, tokens: int) -> dict[str, Any]:
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    messages = [{"role": "user", "content": "hi"}]
    return {"model": "default", "messages": messages, "max_tokens": tokens, "ignore_eos": True} | usage | {
        "priority": priority
    }  # fmt: skip


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def metric(server: Server, name: str) -> int:
    found = re.search(rf"^llamacpp:{name} (\d+)", client(server).get("/metrics").text, re.MULTILINE)
    assert found, name
    return int(found[1])


def predicted(servers: Servers) -> dict[str, int]:
    """Tokens that each server has made since it started, by its own count."""
    return {role: metric(servers[role], "tokens_predicted_total") for role in ("interactive", "batch")}


def idle(server: Server) -> bool:
    return metric(server, "requests_processing") == metric(server, "requests_deferred") == 0


def files_at_rest(router: Server) -> int:
    """What a look at the backends leaves open; connections kept for later requests are closed after 5 s (httpx)."""
    assert client(router).get("/health").status == 200
    return router.open_files()


def connections(router: Server, backend: Server) -> int:
    """How many connections the router has to a backend."""
    pairs = psutil.Process(router.process.pid).net_connections("tcp")
    return sum(1 for pair in pairs if pair.raddr and pair.raddr.port == backend.port)


@pytest.fixture(scope="module")
def fresh_files(running: tuple[Stack, Servers]) -> int:
    return files_at_rest(running[1]["router"])


@pytest.fixture(autouse=True)
def nothing_leaks(running: tuple[Stack, Servers], fresh_files: int) -> Iterator[None]:
    """After each test the router holds no more sockets than when it was new, and no slot of a server is taken."""
    servers = running[1]
    yield
    until(lambda: files_at_rest(servers["router"]) <= fresh_files, f"more than {fresh_files} open files")
    for role in ("interactive", "batch"):
        if servers[role].process.poll() is None:
            until(lambda role=role: idle(servers[role]), f"{role} is still busy")


def test_64_streams_at_once_go_to_the_server_of_their_priority_and_end(servers: Servers) -> None:
    together = threading.Barrier(STREAMS)

    def stream(number: int) -> list[str]:
        body = question(("interactive", "batch")[number % 2], SHORT)
        with client(servers["router"]).stream(CHAT, body) as answer:
            events = answer.events()
            first = next(events).data
            together.wait(DEADLINE_S)  # every one has its first event before any reads on
            return [first, *(event.data for event in events)]

    before = predicted(servers)
    with ThreadPoolExecutor(STREAMS) as pool:
        answers = list(pool.map(stream, range(STREAMS)))
    for *events, end in answers:
        assert end == "[DONE]"
        assert json.loads(events[-1])["usage"]["completion_tokens"] == SHORT
    expected = {role: before[role] + STREAMS // 2 * SHORT for role in before}
    until(lambda: predicted(servers) == expected, f"{predicted(servers)}, not {expected}")


def test_clients_that_leave_stop_their_servers(servers: Servers) -> None:
    before = predicted(servers)
    gone = threading.Barrier(STREAMS)

    def leave(number: int) -> None:
        with client(servers["router"]).stream(CHAT, question(("interactive", "batch")[number % 2], LONG)) as answer:
            next(answer.events())
            gone.wait(DEADLINE_S)

    with ThreadPoolExecutor(STREAMS) as pool:
        list(pool.map(leave, range(STREAMS)))
    for role in before:
        until(lambda role=role: idle(servers[role]), role)
        assert predicted(servers)[role] - before[role] < STREAMS // 2 * LONG


def chat(servers: Servers, priority: str) -> Answer:
    answer = client(servers["router"]).post(CHAT, question(priority, 4) | {"stream": False, "stream_options": None})
    assert answer.status == 200, answer.text
    return answer


def test_a_killed_server_is_passed_over_and_taken_back(running: tuple[Stack, Servers]) -> None:
    stack, servers = running
    assert chat(servers, "interactive").headers["x-planner-backend"] == "interactive"
    with client(servers["router"]).stream(CHAT, question("interactive", LONG)) as begun:
        events = begun.events()
        next(events)
        servers["interactive"].process.send_signal(signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:  # asked of the silent server, which then dies without a byte
            waiting = pool.submit(chat, servers, "interactive")
            until(lambda: connections(servers["router"], servers["interactive"]) == 2, "it is not asked")
            servers["interactive"].kill()
            assert waiting.result(DEADLINE_S).headers["x-planner-backend"] == "batch"
        *_, last = [event.data for event in events]
    assert json.loads(last)["error"]["message"] == "interactive broke off in the middle of its answer"
    assert chat(servers, "interactive").headers["x-planner-backend"] == "batch"
    assert chat(servers, "batch").headers["x-planner-backend"] == "batch"
    with stack.start("interactive"):
        assert chat(servers, "interactive").headers["x-planner-backend"] == "interactive"
