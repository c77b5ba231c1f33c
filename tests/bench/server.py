"""A small OpenAI-compatible server on loopback that streams what a test scripts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Script:
    """What the server says. `pages`: GET path -> (status, document or text); `stream`: the chunks of an answer."""

    models: list[Body] = field(default_factory=lambda: [{"id": "tiny", "object": "model", "owned_by": "someone"}])
    pages: dict[str, tuple[int, Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    refuse: Callable[[str, Body], tuple[int, Any] | None] = lambda _path, _body: None
    stream: Callable[[Body], Iterator[str]] | None = None
    posts: dict[str, Callable[[Body], tuple[int, Any]]] = field(default_factory=dict)
    seen: list[tuple[str, Body]] = field(default_factory=list)
    url: str = ""


def words_of(body: Body) -> int:
    """One word is one token here, and the template costs five."""
    prompt = body["messages"][0]["content"] if "messages" in body else body["prompt"]
    return len(prompt.split()) + 5


def chunk(**delta: Any) -> Body:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def tokens(body: Body, *, usage: bool = True, extra: Body | None = None, count: int | None = None) -> Iterator[str]:
    """A role, `max_tokens` tokens a millisecond apart, an end, and the counts."""
    yield json.dumps(chunk(role="assistant", content=None))
    asked = count or body["max_tokens"]
    for index in range(asked):
        time.sleep(0.001)
        yield json.dumps(chunk(content=f" w{index}"))
    yield json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    if usage:
        counts = {"prompt_tokens": words_of(body), "completion_tokens": asked}
        yield json.dumps({"choices": [], "usage": counts, **(extra or {})})
    yield "[DONE]"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def version_string(self) -> str:
        return self.script.headers.get("Server", "test")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _may(self) -> bool:
        if self.script.key is None or self.headers.get("Authorization") == f"Bearer {self.script.key}":
            return True
        self._answer(401, {"error": {"message": "Invalid API Key"}})
        return False

    def _answer(self, status: int, document: Any) -> None:
        content = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(document, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if not self._may():
            return
        if self.path in self.script.pages:
            self._answer(*self.script.pages[self.path])
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": self.script.models})
        else:
            self._answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            return
        self.script.seen.append((self.path, body))
        if self.path in self.script.posts:
            self._answer(*self.script.posts[self.path](body))
            return
        refused = self.script.refuse(self.path, body)
        if refused is not None:
            self._answer(*refused)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in (self.script.stream or tokens)(body):
            self._piece(f"data: {data}\n\n".encode())
        self._piece(b"")

    def _piece(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()


@contextmanager
def serving(script: Script) -> Iterator[Script]:
    """The server on a free port; `script.url` is its root."""
    handler = type("Bound", (Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
