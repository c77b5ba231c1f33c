"""What a request asks for, and what is refused."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

INTENTS = ("deterministic",)
# What each API calls the longest answer that a request allows.
ANSWER_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# No vocabulary has a longer token; those of OpenAI, Llama and Qwen end at 128 bytes (runs of spaces).
LONGEST_TOKEN_BYTES = 256
RETRY_AFTER_S = 5


class Refused(Exception):
    """A request that is answered here, with an OpenAI-shaped error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code

    def response(self) -> Response:
        kind = {401: "authentication_error", 429: "rate_limit_error", 503: "overloaded_error"}
        error = {"message": self.message, "type": kind.get(self.status, "invalid_request_error"), "code": self.code}
        body = {"error": {name: value for name, value in error.items() if value is not None}}
        headers = {"Retry-After": str(RETRY_AFTER_S)} if self.status in (429, 503) else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(body, self.status, headers)


def chosen(what: str, header: str | None, body: dict[str, Any], known: tuple[str, ...]) -> str | None:
    """A choice of the client: header before body; None when neither speaks."""
    value = header if header is not None else body.get(what)
    if what in body or header is not None:
        if value not in known:
            raise Refused(400, f"{what} must be {' or '.join(known)}, not {value!r}")
        return str(value)
    return None


def text_bytes(value: object) -> int:
    """Length of every text in a part of a prompt: messages, their parts, inputs. An image or a sound is no text."""
    total, rest = 0, [value]
    while rest:
        entry = rest.pop()
        if isinstance(entry, str):
            total += len(entry.encode(errors="replace"))
        elif isinstance(entry, list):
            rest += entry
        elif isinstance(entry, dict):
            rest += [entry.get(name) for name in ("content", "text", "arguments")]
    return total


def within_caps(body: dict[str, Any], caps: dict[str, int]) -> dict[str, Any]:
    """The request with its answer no longer than its class allows. Refuses a prompt that no tokenizer can fit into the
    context; the server counts the others exactly."""
    several = body.get("prompt")  # /v1/completions takes a list: each gets a context of its own
    longest = max(map(text_bytes, several), default=0) if isinstance(several, list) else text_bytes(several)
    length = longest + text_bytes([body.get(name) for name in ("messages", "input", "instructions")])
    if length > caps["context"] * LONGEST_TOKEN_BYTES:
        raise Refused(413, f"the prompt cannot fit into {caps['context']} tokens", "context_length_exceeded")
    limits = {n: min(body[n], caps["max_tokens"]) for n in ANSWER_LIMITS if type(body.get(n)) is int}
    return body | limits


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
