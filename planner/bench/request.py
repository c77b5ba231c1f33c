"""One streamed request: its body in the dialect the server takes, and the moments at which tokens arrived."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from planner.bench.connection import Client, Event, Refused
from planner.errors import PlannerError

Counted = Literal["usage", "events"]
# Answers that mean "not in this dialect": try a plainer one.
_OTHER_DIALECT = frozenset({400, 404, 405, 422, 501})
# A delta with any of these holds a token: answers, and the thoughts of reasoning models (llama.cpp, vLLM, Ollama).
_TOKEN_FIELDS = ("content", "reasoning_content", "reasoning", "tool_calls")


@dataclass(frozen=True)
class Dialect:
    """How this server is asked: the path, and fields beyond the plain ones."""

    path: str
    extras: dict[str, Any] = field(default_factory=dict)

    def body(self, model: str, prompt: str, output_tokens: int) -> dict[str, Any]:
        """The JSON to send."""
        body: dict[str, Any] = {"model": model, "max_tokens": output_tokens, "stream": True, **self.extras}
        if self.path.endswith("/chat/completions"):
            return body | {"messages": [{"role": "user", "content": prompt}]}
        return body | {"prompt": prompt}


def dialects(server: str | None) -> tuple[Dialect, ...]:
    """The ways to ask, the most telling first: full length in spite of end tokens, no cached prompt, token counts."""
    usage = {"stream_options": {"include_usage": True}}
    ignore = {"llama-server": {"ignore_eos": True, "cache_prompt": False}, "vllm": {"ignore_eos": True}}
    own = ignore.get(server or "", {})
    chat, plain = "/v1/chat/completions", "/v1/completions"
    return (Dialect(chat, usage | own), Dialect(chat), Dialect(plain, usage | own), Dialect(plain))


@dataclass(frozen=True)
class Sample:
    """What one request showed; moments by `time.perf_counter`. `arrivals_s`: events that held tokens."""

    sent_s: float
    arrivals_s: tuple[float, ...]
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    counted_tokens: int | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def output_tokens(self) -> int:
        """The server's count, else streamed events."""
        return self.counted_tokens if self.counted_tokens is not None else len(self.arrivals_s)

    @property
    def counted(self) -> Counted:
        """Where `output_tokens` comes from."""
        return "usage" if self.counted_tokens is not None else "events"

    @property
    def ttft_s(self) -> float:
        """From the sent request to the first token."""
        return self.arrivals_s[0] - self.sent_s

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Tokens after the first, over the time from the first to the last; None for a single event."""
        spent_s = self.arrivals_s[-1] - self.arrivals_s[0]
        return (self.output_tokens - 1) / spent_s if spent_s > 0 and self.output_tokens > 1 else None

    @property
    def prefill_tokens_per_s(self) -> float | None:
        """Prompt tokens that no cache held, over the time to the first token; None where they are not counted."""
        if self.prompt_tokens is None or self.ttft_s <= 0:
            return None
        return max(self.prompt_tokens - (self.cached_tokens or 0), 0) / self.ttft_s

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Times between events."""
        pairs = zip(self.arrivals_s, self.arrivals_s[1:], strict=False)
        return tuple(later - earlier for earlier, later in pairs)


def ask(client: Client, dialect: Dialect, model: str, prompt: str, output_tokens: int) -> Sample:
    """Send one request and follow its stream to the end. Raises PlannerError, Refused."""
    with client.stream(dialect.path, dialect.body(model, prompt, output_tokens)) as stream:
        reading = _Reading(client)
        for event in stream.events():
            if reading.take(event):
                break
        return reading.sample(stream.sent_s)


class _Reading:
    """A stream as it comes in."""

    def __init__(self, client: Client) -> None:
        self._where = client.endpoint.url
        self.arrivals: list[float] = []
        self.usage: dict[str, Any] = {}
        self.timings: dict[str, float] = {}
        self.ended = False

    def take(self, event: Event) -> bool:
        """Note one event; True when it was the last."""
        if event.data.strip() == "[DONE]":
            self.ended = True
            return True
        chunk = self._chunk(event.data)
        if any(_holds_token(choice) for choice in _choices(chunk)):
            self.arrivals.append(event.arrived_s)
        self.ended = self.ended or any(choice.get("finish_reason") for choice in _choices(chunk))
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        if isinstance(chunk.get("timings"), dict):
            self.timings = {k: float(v) for k, v in chunk["timings"].items() if isinstance(v, int | float)}
        return False

    def _chunk(self, data: str) -> dict[str, Any]:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            raise PlannerError(f"{self._where} streamed something that is no JSON object", hint="see the server's log")
        if chunk.get("error"):
            error = chunk["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise PlannerError(f"{self._where} gave up while answering: {str(said)[:300]}", hint="see the server's log")
        return chunk

    def sample(self, sent_s: float) -> Sample:
        """What came in. Raises PlannerError when there was no token, or no end."""
        if not self.ended:
            raise PlannerError(f"{self._where} broke off in the middle of an answer", hint="see the server's log")
        if not self.arrivals:
            raise PlannerError(f"{self._where} answered without a token", hint="does the model answer a plain chat?")
        details = self.usage.get("prompt_tokens_details")
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
        if cached is None and "cache_n" in self.timings:
            cached = int(self.timings["cache_n"])
        return Sample(
            sent_s=sent_s,
            arrivals_s=tuple(self.arrivals),
            prompt_tokens=_count(self.usage.get("prompt_tokens")),
            cached_tokens=cached,
            counted_tokens=_count(self.usage.get("completion_tokens")) or None,
            timings=self.timings,
        )


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _holds_token(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict) and any(delta.get(name) for name in _TOKEN_FIELDS):
        return True
    return bool(choice.get("text"))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def settle(client: Client, server: str | None, model: str, prompt: str, output_tokens: int) -> tuple[Dialect, Sample]:
    """The first dialect that the server takes, and what the request gave. Raises the first refusal when none is."""
    first: Refused | None = None
    for dialect in dialects(server):
        try:
            return dialect, ask(client, dialect, model, prompt, output_tokens)
        except Refused as refusal:
            first = first or refusal
            if refusal.status not in _OTHER_DIALECT:
                raise
    assert first is not None
    raise first
