"""HTTP to one server: JSON answers and event streams, with failures a person can act on."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from planner.bench.endpoint import Endpoint
from planner.errors import PlannerError

CONNECT_TIMEOUT_S = 10.0
LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
LARGEST_EVENT_BYTES = 8 * 1024 * 1024
LONGEST_QUOTE = 300


class Refused(PlannerError):
    """The server answered with an HTTP error; `status` is its code."""

    def __init__(self, message: str, status: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in small letters) and body of an answer; `document` is None when it is no JSON."""

    status: int
    headers: dict[str, str]
    text: str
    document: Any = None


@dataclass(frozen=True)
class Event:
    """The data of one server-sent event, and when its last line arrived (`time.perf_counter`)."""

    arrived_s: float
    data: str


@dataclass(frozen=True)
class Client:
    """One server, its key and how long it may take to say something."""

    endpoint: Endpoint
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 600.0

    def get(self, path: str) -> Answer:
        """GET below the root. Raises PlannerError when nothing answers."""
        return self._exchange("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """POST JSON below the root. Raises PlannerError when nothing answers."""
        return self._exchange("POST", path, body)

    def stream(self, path: str, body: dict[str, Any]) -> Stream:
        """Connect, then send the request; its clock starts between the two. Raises PlannerError, Refused."""
        connection = self._connect()
        try:
            sent_s = time.perf_counter()
            response = self._send(connection, "POST", path, body)
            self._check_streams(path, response)
        except BaseException:
            connection.close()
            raise
        return Stream(self, connection, response, sent_s)

    def _check_streams(self, path: str, response: http.client.HTTPResponse) -> None:
        if response.status != 200:
            raise self.refusal(path, self._read(response))
        kind = response.headers.get_content_type()
        if kind != "text/event-stream":
            raise PlannerError(
                f"{self.endpoint.url}{path} answered with {kind} instead of a stream of events",
                hint="a proxy between here and the server may collect the stream: ask the server itself",
            )

    def is_local(self) -> bool:
        """True when the server is reached at an address of this machine."""
        connection = self._connect()
        try:
            own: str = connection.sock.getsockname()[0]
            peer: str = connection.sock.getpeername()[0]
        finally:
            connection.close()
        return own == peer

    def refusal(self, path: str, answer: Answer) -> Refused:
        """The error for an answer that is not 200, with its remedy."""
        where, said = f"{self.endpoint.url}{path}", error_text(answer)
        if answer.status in {401, 403}:
            if self.api_key is None:
                hint = "it wants an API key: put it in a file and give --api-key-file FILE"
            else:
                hint = "it does not accept the key in --api-key-file: check the file against the server's"
            return Refused(f"{where} answered {answer.status}{said}", answer.status, hint=hint)
        if answer.status in {301, 302, 307, 308}:
            there = answer.headers.get("location", "another place")
            return Refused(f"{where} points elsewhere", answer.status, hint=f"ask there: {there[:LONGEST_QUOTE]}")
        if answer.status == 503:
            return Refused(f"{where} is not ready{said}", 503, hint="wait until the model is loaded, then try again")
        return Refused(f"{where} answered {answer.status}{said}", answer.status)

    def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        connection = self._connect()
        try:
            return self._read(self._send(connection, method, path, body))
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        end = self.endpoint
        kind = http.client.HTTPSConnection if end.scheme == "https" else http.client.HTTPConnection
        connection = kind(end.host, end.port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            connection.close()
            raise self.failure(error) from None
        connection.sock.settimeout(self.timeout_s)
        return connection

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, Any] | None
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "text/event-stream, application/json", "User-Agent": "planner-bench"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            connection.request(method, self.endpoint.root + path, data, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self.failure(error) from None

    def _read(self, response: http.client.HTTPResponse) -> Answer:
        try:
            content = response.read(LARGEST_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self.failure(error) from None
        text = content.decode(errors="replace")
        headers = {name.casefold(): value for name, value in response.getheaders()}
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        return Answer(response.status, headers, text, document)

    def failure(self, error: Exception) -> PlannerError:
        """What kept the server from answering, and what to do about it."""
        url = self.endpoint.url
        if isinstance(error, ssl.SSLError):
            return PlannerError(f"{url}: no TLS connection: {error.reason}", hint="http:// instead of https://?")
        if isinstance(error, socket.gaierror | UnicodeError):
            return PlannerError(f"{url}: no such host: {self.endpoint.host}", hint="check the name")
        if isinstance(error, TimeoutError):
            return PlannerError(f"{url} does not answer in time", hint="check host, port and firewall; is it hung?")
        if isinstance(error, ConnectionRefusedError):
            return PlannerError(f"{url}: nothing listens there", hint="start the server, or check the port")
        if isinstance(error, http.client.HTTPException | ConnectionError):
            hint = "is this the port of an HTTP server, and does its log say why?"
            return PlannerError(f"{url} broke the connection off, or does not speak HTTP", hint=hint)
        reason = getattr(error, "strerror", None) or type(error).__name__
        return PlannerError(f"{url} cannot be reached: {reason}", hint="check host and port")


class Stream:
    """The events of one answer, each with its arrival; closes with its `with` block."""

    def __init__(
        self, client: Client, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, sent_s: float
    ) -> None:
        self._client, self._connection, self._response = client, connection, response
        self.sent_s = sent_s

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def events(self) -> Iterator[Event]:
        """Events until the server ends the stream. Raises PlannerError when it breaks off."""
        return events(self._pieces())

    def _pieces(self) -> Iterator[tuple[float, bytes]]:
        while True:
            try:
                piece = self._response.read1(65536)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self._client.failure(error) from None
            if not piece:
                return
            yield time.perf_counter(), piece


def events(pieces: Iterator[tuple[float, bytes]]) -> Iterator[Event]:
    """Server-sent events of (arrival, bytes) pieces cut anywhere; comments and other fields are passed over.

    Source: WHATWG HTML, "Server-sent events": lines end with CR LF, LF or CR, a blank line ends an event, several
    data lines are joined by newlines. A last event without its blank line is given too: servers forget it."""
    rest, data, arrived_s = b"", [], 0.0
    for arrived_s, piece in pieces:
        rest += piece
        if len(rest) > LARGEST_EVENT_BYTES:
            raise PlannerError("the server sent a line of more than 8 MiB", hint="this is no token stream")
        # A CR at the very end may be the first half of CR LF.
        whole = rest[:-1] if rest.endswith(b"\r") else rest
        lines = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop() + rest[len(whole) :]
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" ").decode(errors="replace"))
            elif not line and data:
                yield Event(arrived_s, "\n".join(data))
                data = []
    last = rest.strip(b"\r\n")
    if last.startswith(b"data:"):
        data.append(last[5:].removeprefix(b" ").decode(errors="replace"))
    if data:
        yield Event(arrived_s, "\n".join(data))


def error_text(answer: Answer) -> str:
    """`: what the server said`, shortened; empty when it said nothing readable."""
    document = answer.document
    said: Any = document
    for key in ("error", "detail", "message"):
        if isinstance(said, dict) and said.get(key):
            said = said[key]
    if isinstance(said, dict | list) or said is None:
        said = "" if isinstance(document, dict | list) else answer.text
    words = " ".join("".join(c if c.isprintable() else " " for c in str(said)).split())
    if words.startswith("<"):
        return ""
    return f": {words[:LONGEST_QUOTE]}" if words else ""
