"""What is rendered really starts: launch script and ExecStart, under numactl, with the real llama-server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

import planner
from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.planning.plan import Plan
from tests.real.units import exec_start
from tools.bundles import KEY, put_files, put_model, with_port
from tools.serving import Server, free_port, serving

pytestmark = pytest.mark.tools


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A CPU plan of a two-node machine, bound to node 0, which this machine has."""
    hardware = planner.what_if(cores=2, ram="64GiB", ram_bandwidth="40GB/s", numa_nodes=2)
    answer = planner.recommend(
        hardware, "chat", model="qwen3-0.6b", quant="Q8_0", server="llama-server", context=512, users=1
    )
    service = answer.plan.services[0]
    bound = replace(service.placement, numa="bind", numa_nodes=(0,))
    return replace(answer.plan, services=(replace(service, placement=bound),))


def check_server(server: Server) -> None:
    """Answers a chat completion, refuses a wrong key, lies where it was bound, stops cleanly."""
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    endpoint = parse_endpoint(server.url)
    answer = Client(endpoint, api_key=KEY).post("/v1/chat/completions", body)
    assert answer.status == 200
    assert answer.document["choices"]
    assert Client(endpoint, api_key="wrong").post("/v1/chat/completions", body).status == 401
    numa_maps = Path(f"/proc/{server.process.pid}/numa_maps")
    if numa_maps.is_file():
        assert "bind:0" in numa_maps.read_text()
    assert server.stop() == 0


def test_the_tools_are_here() -> None:
    for tool in ("llama-server", "numactl", "systemd-analyze"):
        assert shutil.which(tool), f"{tool} is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"


def test_launch_script_starts_llama_server(plan: Plan, tmp_path: Path) -> None:
    bundle = planner.render(plan, "launch")
    folder = put_files(bundle, tmp_path / "bundle")
    models = put_model(plan.services[0], tmp_path / "models")
    port = free_port()
    with_port(folder / bundle.main, plan.services[0].port, port)
    environment = os.environ | {"PLANNER_MODELS_DIR": str(models)}
    with serving(["bash", bundle.main], port, environment=environment, folder=folder) as server:
        check_server(server)


def test_unit_exec_start_starts_llama_server(plan: Plan, tmp_path: Path) -> None:
    bundle = planner.render(plan, "systemd")
    folder = put_files(bundle, tmp_path / "bundle")
    models = put_model(plan.services[0], tmp_path / "models")
    credentials = folder / "secrets"
    (credentials / "api_key").rename(credentials / "api-key")
    port = free_port()
    unit = with_port(folder / bundle.main, plan.services[0].port, port)
    words = exec_start(unit, credentials_folder=credentials, instance="0")
    words = [word.replace("/var/lib/planner/models", str(models)) for word in words]
    assert Path(words[0]).name == "numactl"
    program = words.index("--") + 1
    assert Path(words[program]).name == "llama-server"
    words[program] = shutil.which("llama-server") or "llama-server"
    with serving(words, port, folder=folder) as server:
        check_server(server)
