"""What the router adds to the first token: the same server asked directly and through the rendered router, in turns."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.bench.prompts import Prompts
from planner.bench.request import Dialect, ask, dialects
from tools.bundles import KEY, started_stack, two_role_plan
from tools.serving import Server

ADDED_S = 0.005
PAIRS_PER_ROUND = 40
PROMPT_TOKENS, OUTPUT_TOKENS = 64, 32  # control tokens and bytes show nothing: one of so many is text


def added_to_first_token(rounds: int) -> bool:
    """Print the median of paired differences; True when it is inside the bound."""
    name = "router: added to the first token"
    if shutil.which("llama-server") is None:
        print(f"{name}: not measured, llama-server is not on PATH (python tools/real_tools.py)")
        return True
    with tempfile.TemporaryDirectory() as folder, started_stack(two_role_plan(1, 2048), Path(folder)) as (_, servers):
        clients = [_client(servers[which]) for which in ("interactive", "router")]
        pairs = [_pair(clients) for _ in range(1 + rounds * PAIRS_PER_ROUND)][1:]
    added = [routed - direct for direct, routed in pairs]
    direct, routed = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    middle = statistics.median(added)
    ninth = statistics.quantiles(added, n=10)[-1]
    print(
        f"{name}: {middle * 1e3:.1f} ms (bound {ADDED_S * 1e3:g}), 90th percentile {ninth * 1e3:.1f} ms; medians of"
        f" {len(pairs)} pairs: {direct:.1f} ms direct, {routed:.1f} ms routed"
    )
    return middle <= ADDED_S


def _client(server: Server) -> Client:
    return Client(parse_endpoint(server.url), api_key=KEY)


def _pair(clients: list[Client]) -> list[float]:
    """Seconds to the first token of one prompt, of each in turn: the same tokens, none of them from a cache."""
    prompt, best = Prompts().of(PROMPT_TOKENS), dialects("llama-server")[0]
    dialect = Dialect(best.path, best.extras | {"temperature": 0})
    return [ask(client, dialect, "qwen3-0.6b", prompt, OUTPUT_TOKENS).ttft_s for client in clients]
