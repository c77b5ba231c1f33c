"""What is rendered really starts: launch script and ExecStart, under numactl, with the real llama-server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from msgspec.structs import replace

import planner
from planner.rendering import Bundle
from tests.real.tiny_gguf import write_tiny_gguf
from tests.real.units import exec_start

pytestmark = pytest.mark.tools

KEY = "correct horse battery staple"
READY_SECONDS = 60.0


@pytest.fixture(scope="module")
def plan() -> planner.planning.plan.Plan:  # type: ignore[name-defined]
    """A CPU plan of a two-node machine, bound to node 0, which this machine has."""
    hardware = planner.what_if(cores=2, ram="64GiB", ram_bandwidth="40GB/s", numa_nodes=2)
    answer = planner.recommend(
        hardware, "chat", model="qwen3-0.6b", quant="Q8_0", server="llama-server", context=512, users=1
    )
    service = answer.plan.services[0]
    bound = replace(service.placement, numa="bind", numa_nodes=(0,))
    return replace(answer.plan, services=(replace(service, placement=bound),))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def request(port: int, path: str, body: dict[str, object] | None, key: str) -> tuple[int, dict[str, object]]:
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    call = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server exited with {process.returncode}"
        try:
            if request(port, "/health", None, KEY)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the server was not ready in time")


def with_port(words: list[str], port: int) -> list[str]:
    """The same command on a free port, so that tests may run beside anything."""
    changed = list(words)
    changed[changed.index("--port") + 1] = str(port)
    return changed


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


def put_files(bundle: Bundle, folder: Path) -> None:
    from planner.rendering.write import write_bundle

    write_bundle(bundle, folder)
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    (secrets / "api_key").write_text(KEY + "\n")


def check_server(process: subprocess.Popen[bytes], port: int) -> None:
    """Ready, answers a chat completion, refuses a wrong key, stops cleanly."""
    try:
        wait_until_ready(process, port)
        body: dict[str, object] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        status, answer = request(port, "/v1/chat/completions", body, KEY)
        assert status == 200
        assert answer["choices"]
        assert request(port, "/v1/chat/completions", body, "wrong")[0] == 401
        numa_maps = Path(f"/proc/{process.pid}/numa_maps")
        if numa_maps.is_file():
            assert "bind:0" in numa_maps.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_tools_are_here() -> None:
    for tool in ("llama-server", "numactl", "systemd-analyze"):
        assert shutil.which(tool), f"{tool} is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"


def test_launch_script_starts_llama_server(plan, bundle_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bundle = planner.render(plan, "launch")
    put_files(bundle, bundle_folder)
    service = plan.services[0]
    models = tmp_path / "models"
    models.mkdir()
    write_tiny_gguf(models / service.source.file_names[0])
    port = free_port()
    script = bundle_folder / bundle.main
    text = script.read_text()
    assert f"--port {service.port}" in text
    script.write_text(text.replace(f"--port {service.port}", f"--port {port}"))
    environment = os.environ | {"PLANNER_MODELS_DIR": str(models)}
    process = subprocess.Popen(["bash", str(script)], env=environment, cwd=bundle_folder)
    check_server(process, port)


def test_unit_exec_start_starts_llama_server(plan, bundle_folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bundle = planner.render(plan, "systemd")
    put_files(bundle, bundle_folder)
    service = plan.services[0]
    credentials = bundle_folder / "secrets"
    (credentials / "api-key").write_text(KEY + "\n")
    models = tmp_path / "models"
    models.mkdir()
    write_tiny_gguf(models / service.source.file_names[0])
    words = exec_start(bundle[bundle.main], credentials_folder=credentials, instance="0")
    words = [word.replace("/var/lib/planner/models", str(models)) for word in words]
    assert Path(words[0]).name == "numactl"
    server = words.index("--") + 1
    assert Path(words[server]).name == "llama-server"
    words[server] = shutil.which("llama-server") or "llama-server"
    port = free_port()
    process = subprocess.Popen(with_port(words, port), cwd=bundle_folder)
    check_server(process, port)
