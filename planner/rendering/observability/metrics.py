"""What can be asked of a deployment in PromQL: the metrics of each server and of the router, by the question.

Names: llama-server's from its own /metrics (b11434), vLLM's from vllm/v1/metrics/loggers.py of the wheel 0.33.0, the
router's from templates/router/backends.py. Ollama and mlx_lm.server have no metrics; LocalAI is only asked
whether it is up.
"""

from __future__ import annotations

import msgspec

from planner.rendering.deployment import Deployment, Unit

# Rates are taken over this window. Our choice: several answers of a usual length lie in it.
WINDOW = "10m"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """How one server answers. Each expression holds `%s` where the selector of a backend goes; None: it has no such
    metric. `needs_key`: /metrics asks for the API key."""

    needs_key: bool = False
    decode_rate: str | None = None
    first_token_buckets: str | None = None
    output_tokens: str | None = None
    waiting: str | None = None
    cache_used: str | None = None


_SOURCES = {
    "llama-server": Source(
        needs_key=True,
        # Seconds are summed over slots, so the quotient is what one user gets.
        decode_rate=f"sum by (backend) (rate(llamacpp:tokens_predicted_total%s[{WINDOW}]))"
        f" / sum by (backend) (rate(llamacpp:tokens_predicted_seconds_total%s[{WINDOW}]))",
        output_tokens="llamacpp:tokens_predicted_total%s",
        waiting="llamacpp:requests_deferred%s",
    ),
    "vllm": Source(
        decode_rate=f"sum by (backend) (rate(vllm:inter_token_latency_seconds_count%s[{WINDOW}]))"
        f" / sum by (backend) (rate(vllm:inter_token_latency_seconds_sum%s[{WINDOW}]))",
        first_token_buckets="vllm:time_to_first_token_seconds_bucket%s",  # noqa: S106 - no password
        output_tokens="vllm:generation_tokens_total%s",
        waiting="vllm:num_requests_waiting%s",
        cache_used="vllm:kv_cache_usage_perc%s",
    ),
    "localai": Source(needs_key=True),
}
# From the request's arrival at the router to its first byte, so its queue is in it.
_ROUTER_BUCKETS = "planner_router_first_byte_seconds_bucket%s"


def source(unit: Unit) -> Source | None:
    """The metrics of a unit's server, None where it has none."""
    return _SOURCES.get(unit.service.server)


def silent_servers(deployment: Deployment) -> tuple[str, ...]:
    """Servers of the deployment that have no metrics of their own."""
    return tuple(sorted({unit.service.server for unit in deployment.units if source(unit) is None}))


def ask(expression: str, selector: str = "") -> str:
    """An expression for the series that a selector picks."""
    return expression.replace("%s", selector)


def selector(backend: str) -> str:
    """The series of one process. Its name holds lower-case letters, digits and hyphens only."""
    return f'{{backend="{backend}"}}'


def first_token_buckets(deployment: Deployment, unit: Unit) -> str | None:
    """Where times to the first token are counted: by the server itself, else at the router, else nowhere."""
    own = source(unit)
    if own is not None and own.first_token_buckets is not None:
        return own.first_token_buckets
    return _ROUTER_BUCKETS if deployment.router is not None else None


def quantile(share: float, buckets: str, chosen: str = "") -> str:
    """A quantile of a histogram, per backend."""
    return f"histogram_quantile({share}, sum by (backend, le) (rate({ask(buckets, chosen)}[{WINDOW}])))"
