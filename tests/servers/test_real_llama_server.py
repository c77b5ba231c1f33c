"""The real llama-server takes every word that is planned for it: it loads a tiny model and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.catalog.load import load_catalog
from planner.hardware.facts import Hardware
from planner.servers import SERVERS
from planner.servers.sampling import choose_sampling
from planner.sizing.records import Placement
from tests.servers.examples import ON_CPU, ON_GPU, QWEN3_14B, RTX_4090, SERVER, TWO_3090, quant, service
from tools.random_model import TINY, write_random_model
from tools.serving import free_port, serving

pytestmark = pytest.mark.tools

KEY = "a key with blanks"
EXPERTS = Placement(kind="experts-in-ram", gpus=(0,), cpu_expert_layers=2)
PAIR = Placement(kind="multi-gpu", gpus=(0, 1))


def command(folder: Path, placement: Placement, hardware: Hardware, intent: Any, port: int) -> list[str]:
    sampling = choose_sampling(QWEN3_14B, intent)
    planned = service("llama-server", QWEN3_14B, "Q4_K_M", placement, hardware, port=port, context=512, parallel=2,
                      sampling=sampling, threads=2)  # fmt: skip
    facts = load_catalog().server("llama-server")
    launch = SERVERS["llama-server"].launch(planned, QWEN3_14B, quant("Q4_K_M"), hardware, facts)
    files = {"models": write_random_model(folder / "tiny.gguf", TINY), "secret": folder / "key"}
    files["secret"].write_text(KEY + "\n")
    return [str(files[word.kind]) if word.kind in files else word.text for word in launch.argv]


@pytest.mark.parametrize(
    ("placement", "hardware", "intent"),
    [(ON_CPU, SERVER, "deterministic"), (ON_GPU, RTX_4090, "vendor"), (PAIR, TWO_3090, "vendor"),
     (EXPERTS, RTX_4090, "deterministic")],
)  # fmt: skip
def test_it_starts_and_answers(tmp_path: Path, placement: Placement, hardware: Hardware, intent: str) -> None:
    port = free_port()
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    with serving(command(tmp_path, placement, hardware, intent, port), port) as server:
        endpoint = parse_endpoint(server.url)
        assert Client(endpoint).post("/v1/chat/completions", body).status == 401
        answer = Client(endpoint, api_key=KEY).post("/v1/chat/completions", body)
        assert (answer.status, answer.document["model"]) == (200, "qwen3-14b")
        assert "n_slots = 2, n_ctx_slot = 512" in server.log.read_text()
        assert server.stop() == 0
