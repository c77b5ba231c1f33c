"""Router in front of the planned servers: one OpenAI-compatible address, one key, two priorities.

Reads router.json (PLANNER_ROUTER_CONFIG). A request goes to a backend of its class (`X-Priority` header or the body's
`priority`: interactive or batch), bytes stream through unchanged, and nothing of a prompt is logged or kept.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

log = logging.getLogger("planner.router")

CLASSES = ("interactive", "batch")
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
NOT_FORWARDED = HOP_BY_HOP | {"host", "content-length", "authorization", "x-priority", "cookie", "expect"}
NOT_RETURNED = HOP_BY_HOP | {"server", "date", "set-cookie"}
# Answers of a backend that cannot serve now: another one may.
UNAVAILABLE = {429, 502, 503, 504}


class Refused(Exception):
    """A request that is answered here, with an OpenAI-shaped error."""

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after_s = status, message, retry_after_s

    def response(self) -> Response:
        kind = {401: "authentication_error", 429: "rate_limit_error", 503: "overloaded_error"}
        body = {"error": {"message": self.message, "type": kind.get(self.status, "invalid_request_error")}}
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s is not None else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(body, self.status, headers)


class KeyFile:
    """The keys of a file, one a line, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self.path, self.stamp, self.keys = path, (0, 0), ()
        if not self.read():
            raise RuntimeError(f"{path} holds no key: the README's first command makes one")

    def read(self) -> tuple[bytes, ...]:
        with contextlib.suppress(OSError):  # a file that is being replaced: the last keys hold
            stat = self.path.stat()
            if (stat.st_mtime_ns, stat.st_size) != self.stamp:
                lines = self.path.read_bytes().splitlines()
                self.keys = tuple(line.strip() for line in lines if line.strip())
                self.stamp = (stat.st_mtime_ns, stat.st_size)
        return self.keys

    def admits(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        token = given.strip().encode()
        # Every key is compared, each in constant time, so that timing tells nothing.
        matches = [hmac.compare_digest(token, key) for key in self.read()]
        return scheme.lower() == "bearer" and any(matches)


class Backend:
    """One server: its slots, and a bounded queue in front of them."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.name, self.role, self.url = config["name"], config["role"], config["url"].rstrip("/")
        self.models: dict[str, str] = config["models"]
        self.priority_field: bool = config["priority_field"]
        self.key = KeyFile(key_path(config["key_file"], folder)) if config["key_file"] else None
        self.slots, self.queue, self.waiting = asyncio.Semaphore(config["slots"]), config["queue"], 0

    async def take(self, wait_s: float) -> bool:
        """Take a slot; False when the queue is full or the wait too long."""
        if not self.slots.locked():
            await self.slots.acquire()
            return True
        if self.waiting >= self.queue or wait_s <= 0:
            return False
        self.waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                await self.slots.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1
        return True


def key_path(text: str, folder: Path) -> Path:
    """A relative path lies in systemd's credentials folder, if there is one, else beside the configuration."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", folder)) / text


class Relay(Response):
    """Passes an upstream answer on byte by byte, and lets go of it when the client does."""

    def __init__(self, upstream: httpx.Response, backend: Backend) -> None:
        super().__init__(status_code=upstream.status_code)
        self.upstream, self.backend, self.first, self.rest = upstream, backend, b"", upstream.aiter_raw()
        kept = [(k.lower(), v) for k, v in upstream.headers.raw if k.decode("latin-1").lower() not in NOT_RETURNED]
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
            if not self.upstream.headers.get("content-type", "").startswith("text/event-stream"):
                return  # without an end: the connection closes, and no client takes the part for the whole
            last = broken_off(self.backend.name)
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def close(self) -> None:
        try:
            await self.upstream.aclose()
        finally:
            self.backend.slots.release()


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


class Router:
    """The routing decision and the exchange with one backend."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config = config
        self.keys = KeyFile(key_path(config["key_file"], folder))
        self.backends = [Backend(entry, folder) for entry in config["backends"]]
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
        return sorted(chosen, key=lambda b: (roles.index(b.role), b.slots.locked(), b.waiting))

    async def exchange(self, request: Request, path: str, body: dict[str, Any], priority: str) -> Response:
        """Try the candidates until one answers; none may be tried after the first byte went out."""
        last = Refused(503, "no backend is reachable", retry_after_s=5)
        candidates = self.candidates(path, body.get("model"), priority)
        for position, backend in enumerate(candidates):
            rest = candidates[position + 1 :]
            others = bool(rest)
            # Wait only where no equal is left that may be free now; a fallback is for a full queue or a dead server.
            wait_s = 0 if any(b.role == backend.role for b in rest) else self.config["queue_s"]
            if not await backend.take(wait_s):
                last = Refused(429, "all slots are busy and the queue is full", retry_after_s=5)
                continue
            relay = None
            try:
                relay = await self.ask(request, path, body, priority, backend)
                if relay.status_code not in UNAVAILABLE or not others:
                    return relay
                last = Refused(503, f"{backend.name} is not ready", retry_after_s=5)
                await relay.upstream.aclose()
                relay = None
            except httpx.TransportError as fault:
                log.warning("%s: %s", backend.name, type(fault).__name__)
                last = Refused(503, f"{backend.name} is not reachable", retry_after_s=5)
            finally:
                if relay is None:
                    backend.slots.release()
        raise last

    async def ask(
        self, request: Request, path: str, body: dict[str, Any], priority: str, backend: Backend
    ) -> Relay:
        """Send one request and wait for its first byte; the client leaving meanwhile cancels it."""
        sent = {key: value for key, value in body.items() if key != "priority"}
        if backend.models:
            sent["model"] = backend.models[body["model"] if body.get("model") is not None else "default"]
        if backend.priority_field:  # vLLM with --scheduling-policy priority: an integer, lower first
            sent["priority"] = CLASSES.index(priority)
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in NOT_FORWARDED]
        if backend.key:
            headers.append(("authorization", "Bearer " + backend.key.read()[0].decode()))
        built = self.client.build_request("POST", backend.url + path, headers=headers, content=json.dumps(sent))
        answer = asyncio.create_task(self.begun(built, backend))
        gone = asyncio.create_task(disconnected(request.receive))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientDisconnect
            return answer.result()
        except BaseException:
            answer.cancel()
            (late,) = await asyncio.gather(answer, return_exceptions=True)
            if isinstance(late, Relay):  # it came while we were leaving
                await late.upstream.aclose()
            raise
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def begun(self, built: httpx.Request, backend: Backend) -> Relay:
        """The answer to a request, from its first byte on."""
        relay = Relay(await self.client.send(built, stream=True), backend)
        try:
            await relay.begin()
        except BaseException:
            await relay.upstream.aclose()
            raise
        return relay


def requested_priority(header: str | None, body: dict[str, Any]) -> str:
    """The class of a request: header before body, interactive when neither speaks."""
    priority = header if header is not None else body.get("priority", "interactive")
    if priority not in CLASSES:
        raise Refused(400, f"priority must be interactive or batch, not {priority!r}")
    return str(priority)


async def read_body(request: Request, limit_bytes: int) -> dict[str, Any]:
    """The request's JSON object. Refuses what is too long or is none."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit_bytes:
            raise Refused(413, f"the request is longer than {limit_bytes} bytes")
    try:
        body = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise Refused(400, "the request body is not JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("model"), str | None):
        raise Refused(400, "the request body must be a JSON object with a model name")
    return body


async def serve(request: Request) -> Response:
    """One generation request."""
    router: Router = request.app.state.router
    try:
        router.authorize(request)
        body = await read_body(request, router.config["max_body_bytes"])
        priority = requested_priority(request.headers.get("x-priority"), body)
        return await router.exchange(request, request.url.path, body, priority)
    except Refused as refusal:
        return refusal.response()
    except ClientDisconnect:
        return Response(status_code=499)


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
    router: Router = request.app.state.router

    async def alive(backend: Backend) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            answer = await router.client.get(backend.url + router.config["health"][backend.name], timeout=2)
            return answer.status_code == 200
        return False

    states = await asyncio.gather(*map(alive, router.backends))
    names = [backend.name for backend in router.backends]
    up = dict(zip(names, ("up" if state else "down" for state in states), strict=True))
    return JSONResponse({"status": "ok" if any(states) else "unavailable", "backends": up}, 200 if any(states) else 503)


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
    ],
    lifespan=lifespan,
)
