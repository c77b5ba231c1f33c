"""The rendered router, really running: uvicorn on loopback in front of two small real servers."""

from __future__ import annotations

import asyncio
import http.client
import importlib
import json
import select
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from planner.rendering import lay_out
from tests.rendering import plans

KEY = "correct-horse"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PIECE = b'data: {"choices": []}\n\n'


class Served:
    """An ASGI application on a port of its own, in a thread."""

    def __init__(self, app: Any, port: int = 0) -> None:
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1, ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()


class Backend:
    """A stand-in for an inference server: remembers what it was asked, streams slowly, notices who leaves."""

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, list[dict[str, Any]]()
        self.authorization = list[str | None]()
        self.headers = list[dict[str, str]]()
        self.cancelled, self.release = threading.Event(), threading.Event()
        self.status = 200
        paths = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/admin")
        routes = [Route(path, self.answer, methods=["POST"]) for path in paths]
        self.served = Served(Starlette(routes=[*routes, Route("/health", lambda _: JSONResponse({}))]))

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.authorization.append(request.headers.get("authorization"))
        self.headers.append(dict(request.headers))
        if self.status != 200:
            return JSONResponse({"error": self.name}, self.status)
        if body.get("hold"):
            await self.hold(request)
        if "dies_after" in body:
            return StreamingResponse(self.dying(body), media_type=body["media_type"])
        if body.get("stream"):
            return StreamingResponse(self.stream(body), media_type="text/event-stream")
        return JSONResponse({"from": self.name, "model": body["model"]}, headers={"Connection": "close", "X-Own": "1"})

    async def hold(self, request: Request) -> None:
        """Like a long prefill: silent until released or until the client has gone."""
        while not self.release.is_set():
            if await request.is_disconnected():
                self.cancelled.set()
                return
            await asyncio.sleep(0.02)

    async def dying(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        """A server that sent its head and so many pieces, then crashes; the other one is well."""
        for _ in range(body["dies_after"]):
            yield PIECE
        if self.name == "interactive":
            raise ConnectionError
        yield PIECE

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        try:
            yield b"data: one\n\n"
            while not self.release.is_set():
                await asyncio.sleep(0.02)
            yield b"data: two\n\n"
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def router_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The rendered router, imported as `uvicorn --app-dir` does: from its folder, beside its own modules."""
    monkeypatch.syspath_prepend(str(folder / "router"))
    for file in (folder / "router").glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    return importlib.import_module("router")


class House:
    """The router of the team bundle, its configuration pointed at the stand-ins."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
        plan, units = plans.team()
        for path, text in lay_out(plan, units, "launch").items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        (folder / "secrets").mkdir()
        (folder / "secrets" / "api_key").write_text(KEY + "\n")
        self.interactive, self.batch = Backend("interactive"), Backend("batch")
        config_file = folder / "config" / "router.json"
        config = json.loads(config_file.read_text()) | change
        for entry, backend in zip(config["backends"], (self.interactive, self.batch), strict=True):
            entry["url"] = backend.served.url
            entry |= change.get(entry["name"], {})
        config_file.write_text(json.dumps(config))
        monkeypatch.setenv("PLANNER_ROUTER_CONFIG", str(config_file))
        self.folder = folder
        self.served = Served(router_module(folder, monkeypatch).app)
        self.client = httpx.Client(base_url=self.served.url, headers=HEADERS, timeout=20, trust_env=False)

    def chat(self, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        sent = {"model": "default", "messages": [], **body}
        return self.client.post("/v1/chat/completions", json=sent, headers=headers or {})

    def close(self) -> None:
        self.client.close()
        for backend in (self.interactive, self.batch):
            backend.release.set()
        all_served = (self.served, self.interactive.served, self.batch.served)
        for served in all_served:
            served.server.should_exit = True
        for served in all_served:
            served.stop()


def put_router(bundle: Mapping[str, str], folder: Path) -> None:
    (folder / "router").mkdir()
    for path, text in bundle.items():
        if path.startswith("router/"):
            (folder / path).write_text(text)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread; a minute is only there to fail instead of hanging."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def held(house: House, headers: dict[str, str], results: list[int]) -> threading.Thread:
    """A request that keeps a slot until released."""

    def run() -> None:
        request = {"model": "default", "hold": True}
        with httpx.Client(base_url=house.served.url, headers=HEADERS, timeout=30, trust_env=False) as own:
            results.append(own.post("/v1/chat/completions", json=request, headers=headers).status_code)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def leave_silent(house: House) -> None:
    """A client that leaves once the interactive backend has its request, before any byte of an answer."""
    asked = len(house.interactive.asked)
    client = http.client.HTTPConnection("127.0.0.1", house.served.port)
    client.request("POST", "/v1/chat/completions", json.dumps({"model": "default", "hold": True}), HEADERS)
    until(lambda: len(house.interactive.asked) > asked)
    assert not select.select([client.sock], [], [], 0)[0]
    client.close()


def samples(house: House) -> dict[str, float]:
    """What /metrics says, by name and labels, through the parser of Prometheus' own client."""
    answer = house.client.get("/metrics")
    assert answer.status_code == 200
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for one in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}"] = one.value
    return found


def sample(house: House, name: str, **labels: str) -> float:
    return samples(house)[f"{name}{{{','.join(f'{key}={value}' for key, value in sorted(labels.items()))}}}"]


class Forgetful:
    """A server that answers one request of a connection, keeps it open, and closes it when the next one comes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.asked = 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection: socket.socket) -> None:
        with connection:
            if not connection.recv(65536):
                return
            self.asked += 1
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            connection.recv(65536)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
