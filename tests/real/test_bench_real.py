"""What `planner bench` measures from outside is what llama-server measures inside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import planner
from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.bench.prompts import Prompts
from planner.bench.request import ask, settle
from planner.bench.run import Questions, bench
from tools.random_model import write_random_model
from tools.serving import llama_server

pytestmark = pytest.mark.tools

# HTTP, JSON and the scheduler stand between: 5 % of a 10 ms token and of a prompt of seconds. The server divides N
# tokens by N - 1 steps of decoding: 0.5 % of it at 200 tokens.
TOLERANCE = 0.05


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a llama-server with a random model of 240 MB and two slots."""
    model = write_random_model(tmp_path_factory.mktemp("bench") / "random-F16.gguf")
    with llama_server(model, "-c", "4096", "-np", "2") as server:
        yield server.url
    model.unlink()


def test_rates_agree_with_the_servers_own(served: str) -> None:
    """Other work on the host only delays what is seen from outside, so the least disturbed of three requests counts."""
    client, prompts = Client(parse_endpoint(served)), Prompts()
    dialect, _ = settle(client, "llama-server", "random", prompts.of(8), 8)
    samples = [ask(client, dialect, "random", prompts.of(50), 200) for _ in range(3)]
    assert all(sample.prompt_tokens == sample.timings["prompt_n"] > 200 for sample in samples)
    assert all(sample.output_tokens == sample.timings["predicted_n"] == 200 for sample in samples)
    decode = [error(s.decode_tokens_per_s, 200 / s.timings["predicted_ms"] * 1e3) for s in samples]
    prefill = [error(s.prefill_tokens_per_s, s.timings["prompt_n"] / s.timings["prompt_ms"] * 1e3) for s in samples]
    print(f"ours over the server's: decode {decode}, prefill {prefill}")
    assert min(map(abs, decode)) <= TOLERANCE
    assert min(map(abs, prefill)) <= TOLERANCE


def error(ours: float | None, theirs: float) -> float:
    assert ours is not None
    return round(ours / theirs - 1, 4)


def test_a_whole_measurement(served: str) -> None:
    machine = planner.what_if(cores=2, ram="16GiB", ram_bandwidth="20GB/s")
    questions = Questions(concurrency=(1, 2), prompt_tokens=200, output_tokens=60, rounds=1)
    result = bench(served, planner.load_catalog(), questions, hardware=machine)
    assert (result.served.server, result.served.slots) == ("llama-server", 2)
    assert (result.model, result.quant) == ("random-f16", "F16")
    one, two = result.levels
    assert one.server is not None
    assert one.cached_tokens == 0
    assert one.prompt_tokens == pytest.approx(200, rel=0.05)
    assert (one.output_tokens, one.tokens_counted) == (60, "usage")
    assert one.inter_token_s is not None
    assert one.inter_token_s.count > 50  # nearly all: control tokens have no text
    assert [figure.name for figure in one.predicted] == ["decode", "prefill", "ttft", "aggregate"]
    assert two.requests == 2
    assert result.calibration is not None
    assert result.calibration.engine == "llama.cpp-cpu"
