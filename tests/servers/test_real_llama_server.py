"""The real llama-server takes every word that is planned for it: it loads a tiny model and answers."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from planner.catalog.load import load_catalog
from planner.hardware.facts import Hardware
from planner.servers import SERVERS
from planner.servers.sampling import choose_sampling
from planner.sizing.records import Placement
from tests.real.tiny_gguf import write_tiny_gguf
from tests.servers.examples import ON_CPU, ON_GPU, QWEN3_14B, RTX_4090, SERVER, TWO_3090, quant, service

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
    files = {"models": write_tiny_gguf(folder / "tiny.gguf"), "secret": folder / "key"}
    files["secret"].write_text(KEY + "\n")
    return [str(files[word.kind]) if word.kind in files else word.text for word in launch.argv]


def ask(port: int, path: str, key: str | None) -> tuple[int, Any]:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = json.dumps(body).encode() if path.startswith("/v1") else None
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers), timeout=30
        ) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None
    except OSError:
        return 0, None


@pytest.mark.parametrize(
    ("placement", "hardware", "intent"),
    [(ON_CPU, SERVER, "deterministic"), (ON_GPU, RTX_4090, "vendor"), (PAIR, TWO_3090, "vendor"),
     (EXPERTS, RTX_4090, "deterministic")],
)  # fmt: skip
def test_it_starts_and_answers(tmp_path: Path, placement: Placement, hardware: Hardware, intent: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command(tmp_path, placement, hardware, intent, port), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 60
        while ask(port, "/health", None)[0] != 200:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.2)
        assert ask(port, "/v1/chat/completions", None)[0] == 401
        status, answer = ask(port, "/v1/chat/completions", KEY)
        assert (status, answer["model"]) == (200, "qwen3-14b")
        assert "n_slots = 2, n_ctx_slot = 512" in log.read_text()
    finally:
        process.terminate()
        assert process.wait(30) == 0
