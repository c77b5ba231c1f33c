"""Router in front of the planned servers: one OpenAI-compatible address, one key, two priorities.

Reads router.json (PLANNER_ROUTER_CONFIG). A request goes to a backend of its class (`X-Priority` header or the body's
`priority`: interactive or batch), bytes stream through unchanged, and nothing of a prompt is logged or kept.
`X-Intent` or the body's `intent`: deterministic fills in the sampler settings that make answers repeatable.
"""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from asking import INTENTS, RETRY_AFTER_S, Refused, chosen, read_body, within_caps
from backends import Backend, KeyFile, Metrics, key_path
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from slots import CLASSES
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

log = logging.getLogger("planner.router")
T = TypeVar("T")

# The only paths that reach a backend, with the role that serves them (None: the request's class).
PATHS = {
    "/v1/chat/completions": None,
    "/v1/completions": None,
    "/v1/responses": None,
    "/v1/embeddings": "embedding",
    "/v1/images/generations": "image",
}
# RFC 9110 section 7.6.1, and what the router sets itself.
HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
NOT_FORWARDED = HOP_BY_HOP | {
    "host", "content-length", "authorization", "x-priority", "x-intent", "cookie", "expect",
}  # fmt: skip
NOT_RETURNED = HOP_BY_HOP | {"server", "date", "set-cookie"}
# Answers of a backend that cannot serve now: another one may.
UNAVAILABLE = {429, 502, 503, 504}


class Relay(Response):
    """Passes an upstream answer on byte by byte, and lets go of it when the client does."""

    def __init__(self, upstream: httpx.Response, backend: Backend, priority: str, failures: Counter) -> None:
        super().__init__(status_code=upstream.status_code)
        self.upstream, self.backend, self.first, self.rest = upstream, backend, b"", upstream.aiter_raw()
        self.priority, self.failures = priority, failures
        kept = [(k.lower(), v) for k, v in upstream.headers.raw if k.decode("latin-1").lower() not in NOT_RETURNED]
        if upstream.status_code in (429, 503) and "retry-after" not in upstream.headers:
            kept.append((b"retry-after", str(RETRY_AFTER_S).encode()))
        self.raw_headers = [*kept, (b"x-planner-backend", backend.name.encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pump = asyncio.create_task(self.pump(send))
        gone = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        finally:
            for task in (pump, gone):
                task.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)
            await self.close()

    async def begin(self) -> None:
        """Wait for the first byte: until it is there another backend may answer instead."""
        self.first = await anext(self.rest, b"")

    async def pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.first, "more_body": True})
        last = b""
        try:
            async for chunk in self.rest:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx.TransportError as fault:
            log.warning("%s broke off: %s", self.backend.name, type(fault).__name__)
            self.failures.labels(self.backend.name, "broke_off").inc()
            if not self.upstream.headers.get("content-type", "").startswith("text/event-stream"):
                return  # without an end: the connection closes, and no client takes the part for the whole
            last = broken_off(self.backend.name)
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def close(self) -> None:
        try:
            await self.upstream.aclose()
        finally:
            self.backend.slots.release(self.priority)


def broken_off(name: str) -> bytes:
    """The event that ends a stream whose backend died: OpenAI's clients raise its message. The empty line before it
    ends what was cut."""
    error = {"message": f"{name} broke off in the middle of its answer", "type": "server_error", "code": 502}
    return f"\n\ndata: {json.dumps({'error': error})}\n\n".encode()


async def disconnected(receive: Receive) -> None:
    """Returns once the client has gone."""
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


async def unless_gone(work: Awaitable[T], receive: Receive, undo: Callable[[T], Awaitable[None]]) -> T:
    """The result of `work`. A client that leaves meanwhile cancels it and raises ClientDisconnect; a result that came
    all the same is undone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    except BaseException:
        finished = task.done()
        task.cancel()
        (late,) = await asyncio.gather(task, return_exceptions=True)
        if not finished and not isinstance(late, BaseException):  # it came while we were leaving
            await undo(late)
        raise
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)


class Router:
    """The routing decision and the exchange with one backend."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config = config
        self.keys = KeyFile(key_path(config["key_file"], folder))
        self.backends = [Backend(entry, folder) for entry in config["backends"]]
        self.urls = {(b.name, path): httpx.URL(b.url + path) for b in self.backends for path in PATHS}
        self.metrics = Metrics(self.backends)
        # A generation may be silent for minutes while its prompt is processed: httpx's default of 5 s would cut it.
        timeout = httpx.Timeout(connect=config["connect_s"], read=config["read_s"], write=60, pool=None)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self.client = httpx.AsyncClient(
            timeout=timeout, limits=limits, trust_env=False, headers={"accept-encoding": "identity"}
        )

    def authorize(self, request: Request) -> None:
        if not self.keys.admits(request.headers.get("authorization", "")):
            raise Refused(401, "missing or wrong API key: send Authorization: Bearer KEY")

    def candidates(self, path: str, model: object, priority: str) -> list[Backend]:
        """Backends for a request, the best first. A model's own name is served by that model alone."""
        role = PATHS[path]
        roles = [role] if role else [priority, *(c for c in CLASSES if c != priority)]
        able = [b for r in roles for b in self.backends if b.role == r and (model is None or model in b.models)]
        if not able:
            known = sorted({name for b in self.backends for name in b.models})
            raise Refused(404, f"no backend serves the model {model!r} here; known: {', '.join(known)}")
        first = [b for b in able if b.role == able[0].role]
        # Batch work never pushes into the interactive server when it has one of its own.
        spill = (priority == "interactive" and self.config["fallback"]) or role is not None
        chosen = able if spill else first
        # The idle one first among equals (one instance per NUMA node).
        return sorted(chosen, key=lambda b: (roles.index(b.role), not b.slots.free(priority), b.slots.waiting))

    async def exchange(self, request: Request, body: dict[str, Any], priority: str) -> Response:
        """Try the candidates until one answers; none may be tried after the first byte went out."""
        last = Refused(503, "no backend is reachable")
        candidates = self.candidates(request.url.path, body.get("model"), priority)
        for position, backend in enumerate(candidates):
            rest = candidates[position + 1 :]
            # Wait only where no equal is left that may be free now; a fallback is for a full queue or a dead server.
            wait_s = 0 if any(b.role == backend.role for b in rest) else self.config["queue_s"]
            if not await self.take(request, backend, priority, wait_s):
                last = Refused(429, "all slots are busy and the queue is full")
                continue
            relay = None
            try:
                relay = await self.ask(request, body, priority, backend)
                if relay.status_code not in UNAVAILABLE or not rest:
                    return relay
                last = Refused(503, f"{backend.name} is not ready")
                self.metrics.failures.labels(backend.name, "unavailable").inc()
                await relay.upstream.aclose()
                relay = None
            except httpx.TransportError as fault:
                log.warning("%s: %s", backend.name, type(fault).__name__)
                last = Refused(503, f"{backend.name} is not reachable")
                self.metrics.failures.labels(backend.name, "unreachable").inc()
            finally:
                if relay is None:
                    backend.slots.release(priority)
        raise last

    async def take(self, request: Request, backend: Backend, priority: str, wait_s: float) -> bool:
        """A slot of a backend; a client that leaves the queue leaves its place in it."""

        async def undo(taken: bool) -> None:
            if taken:
                backend.slots.release(priority)

        if backend.slots.take_now(priority):
            return True
        return await unless_gone(backend.slots.take(priority, wait_s), request.receive, undo)

    async def ask(self, request: Request, body: dict[str, Any], priority: str, backend: Backend) -> Relay:
        """Send one request and wait for its first byte; the client leaving meanwhile cancels it."""
        path = request.url.path
        sent = {key: value for key, value in body.items() if key not in ("priority", "intent")}
        if PATHS[path] is None:
            profile = backend.profiles.get(body["intent"] or "planned", {})
            sent = profile | sent  # what a request says itself holds
        if backend.models:
            sent["model"] = backend.models[body["model"] if body.get("model") is not None else "default"]
        if backend.priority_field:  # vLLM with --scheduling-policy priority: an integer, lower first
            sent["priority"] = CLASSES.index(priority)
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in NOT_FORWARDED]
        if backend.key:
            headers.append(("authorization", "Bearer " + backend.key.read()[0].decode()))
        url = self.urls[backend.name, path]
        built = self.client.build_request("POST", url, headers=headers, content=json.dumps(sent))
        return await unless_gone(self.begun(built, backend, priority), request.receive, lambda r: r.upstream.aclose())

    async def begun(self, built: httpx.Request, backend: Backend, priority: str) -> Relay:
        """The answer to a request, from its first byte on."""
        upstream = await self.sent(built)
        relay = Relay(upstream, backend, priority, self.metrics.failures)
        try:
            await relay.begin()
        except BaseException:
            await relay.upstream.aclose()
            raise
        return relay

    async def sent(self, built: httpx.Request) -> httpx.Response:
        """The answer to a request. A server may end a kept connection in the very moment in which the next request
        takes it (llama-server does after every stream): that request goes out again, over a new one at the latest."""
        while True:
            steps = set[str]()

            async def note(step: str, _: object, steps: set[str] = steps) -> None:
                steps.add(step)

            built.extensions["trace"] = note
            try:
                return await self.client.send(built, stream=True)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                if "connection.connect_tcp.complete" in steps:
                    raise

    async def states(self) -> dict[str, bool]:
        """Which backends answer their health checks now."""

        async def alive(backend: Backend) -> bool:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.client.get(backend.url + self.config["health"][backend.name], timeout=2)
                return answer.status_code == 200
            return False

        found = await asyncio.gather(*map(alive, self.backends))
        return {backend.name: state for backend, state in zip(self.backends, found, strict=True)}


async def serve(request: Request) -> Response:
    """One generation request, counted."""
    router: Router = request.app.state.router
    arrived, priority, streamed = time.perf_counter(), "", False
    try:
        router.authorize(request)
        body = await read_body(request, router.config["max_body_bytes"])
        priority = chosen("priority", request.headers.get("x-priority"), body, CLASSES) or "interactive"
        intent = chosen("intent", request.headers.get("x-intent"), body, INTENTS)
        streamed = body.get("stream") is True
        caps = router.config["classes"].get(priority) if PATHS[request.url.path] is None else None
        body = within_caps(body, caps) if caps else body
        answer = await router.exchange(request, body | {"intent": intent}, priority)
    except Refused as refusal:
        answer = refusal.response()
    except RecursionError:
        answer = Refused(400, "the request body is nested too deeply").response()
    except ClientDisconnect:
        answer = Response(status_code=499)
    backend = answer.backend.name if isinstance(answer, Relay) else ""
    router.metrics.requests.labels(backend, priority, str(answer.status_code)).inc()
    if backend and streamed and answer.status_code == 200:
        router.metrics.first_byte.labels(backend, priority).observe(time.perf_counter() - arrived)
    return answer


async def models(request: Request) -> Response:
    """The names that may be asked for."""
    router: Router = request.app.state.router
    try:
        router.authorize(request)
    except Refused as refusal:
        return refusal.response()
    names: Iterable[str] = sorted({name for backend in router.backends for name in backend.models})
    return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


async def health(request: Request) -> Response:
    """200 while the router and at least one backend answer; needs no key and says nothing more."""
    states = await request.app.state.router.states()
    up = {name: "up" if state else "down" for name, state in states.items()}
    working = any(states.values())
    return JSONResponse({"status": "ok" if working else "unavailable", "backends": up}, 200 if working else 503)


async def metrics(request: Request) -> Response:
    """Counters for Prometheus, with the key: they tell who works how much."""
    router: Router = request.app.state.router
    try:
        router.authorize(request)
    except Refused as refusal:
        return refusal.response()
    for name, state in (await router.states()).items():
        router.metrics.up.labels(name).set(state)
    return Response(generate_latest(router.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Read the configuration, refuse to start without a key, close the connections at the end."""
    path = Path(os.environ.get("PLANNER_ROUTER_CONFIG", Path(__file__).with_name("router.json")))
    app.state.router = Router(json.loads(path.read_text(encoding="utf-8")), path.resolve().parent)
    yield
    await app.state.router.client.aclose()


app = Starlette(
    routes=[
        *(Route(path, serve, methods=["POST"]) for path in PATHS),
        Route("/v1/models", models, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ],
    lifespan=lifespan,
)
