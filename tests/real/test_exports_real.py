"""Exported configurations in front of two real llama-servers: HAProxy itself, and LiteLLM's own reader and router."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from planner.rendering import TARGETS, RenderOptions, lay_out
from planner.rendering.bundle import CannotServe
from tests.real.test_router_real import CHAT, client, metric, question
from tests.rendering import plans
from tools.bundles import KEY, Stack, two_role_plan
from tools.serving import Server, serving

pytestmark = pytest.mark.tools

WITH_KEY = os.environ | {"PLANNER_API_KEY": KEY}
WITHOUT_KEY = {name: value for name, value in os.environ.items() if name != "PLANNER_API_KEY"}


def haproxy() -> str:
    tool = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")  # where Debian puts it
    assert tool, "haproxy is missing: apt-get install haproxy"
    return tool


def checked(config: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [haproxy(), "-c", "-f", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", plans.CASES)
def test_haproxy_accepts_every_configuration_with_a_key_and_none_without(
    case: str, target: str, tmp_path: Path
) -> None:
    try:
        bundle = lay_out(*plans.CASES[case](), target, RenderOptions(exports=("haproxy",)))
    except CannotServe:
        assert (case == "mac") != (target == "launchd")
        return
    config = tmp_path / "haproxy.cfg"
    config.write_text(bundle["exports/haproxy.cfg"])
    done = checked(config, WITH_KEY)
    assert (done.returncode, done.stderr) == (0, "")
    for environment in (WITHOUT_KEY, WITHOUT_KEY | {"PLANNER_API_KEY": ""}):
        refused = checked(config, environment)
        assert refused.returncode != 0
        assert "set PLANNER_API_KEY" in refused.stderr


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return Stack(two_role_plan(2, 2048), tmp_path_factory.mktemp("stack"), exports=("haproxy", "litellm"))


@pytest.fixture
def servers(stack: Stack) -> Iterator[dict[str, Server]]:
    """Both llama-servers and HAProxy in the router's place."""
    with contextlib.ExitStack() as running:
        found = {name: running.enter_context(stack.start(name)) for name in ("interactive", "batch")}
        command = [haproxy(), "-db", "-f", str(stack.folder / "exports/haproxy.cfg")]
        found["router"] = running.enter_context(serving(command, stack.ports["router"], environment=WITH_KEY))
        yield found


def predicted(servers: dict[str, Server]) -> tuple[int, int]:
    interactive, batch = (metric(servers[role], "tokens_predicted_total") for role in ("interactive", "batch"))
    return interactive, batch


def status(server: Server, path: str, body: dict[str, Any] | None, *, key: str = KEY, priority: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} | ({"X-Priority": priority} if priority else {})
    method = "GET" if body is None else "POST"
    with httpx.Client(timeout=60, trust_env=False) as asking:
        return asking.request(method, server.url + path, json=body, headers=headers).status_code


def test_haproxy_checks_keys_paths_and_priorities_and_routes_by_them(servers: dict[str, Server]) -> None:
    router = servers["router"]
    body = question("interactive", 8) | {"stream": False}
    body = {name: value for name, value in body.items() if name not in ("priority", "stream_options")}
    assert status(router, CHAT, body, key="wrong") == 401
    assert status(router, "/slots", None) == 404
    assert status(router, CHAT, None) == 405
    assert status(router, CHAT, body, priority="urgent") == 400
    assert status(router, "/v1/models", None) == 200
    assert predicted(servers) == (0, 0)
    assert status(router, CHAT, body) == status(router, CHAT, body, priority="interactive") == 200
    assert predicted(servers) == (16, 0)
    assert status(router, CHAT, body, priority="batch") == 200
    assert predicted(servers) == (16, 8)


def test_haproxy_streams_and_lets_batch_stand_in_for_a_server_that_died(servers: dict[str, Server]) -> None:
    router = servers["router"]

    def events() -> list[str]:
        with client(router).stream(CHAT, question("interactive", 8)) as answer:
            return [event.data for event in answer.events()]

    assert events()[-1] == "[DONE]"
    assert predicted(servers) == (8, 0)
    servers["interactive"].kill()
    assert events()[-1] == "[DONE]"
    assert metric(servers["batch"], "tokens_predicted_total") == 8


def asked(config: Path, *names: str) -> dict[str, Any]:
    tool = shutil.which("python-with-litellm")
    assert tool, "LiteLLM is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    script = Path(__file__).with_name("litellm_asks.py")
    # The list of prices that it would fetch lies in its package too.
    environment = WITH_KEY | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [tool, str(script), str(config), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_litellm_reads_its_configuration_and_lets_batch_stand_in(stack: Stack, servers: dict[str, Server]) -> None:
    config = stack.folder / "exports/litellm.yaml"
    interactive, batch = (f"{servers[name].url}/v1" for name in ("interactive", "batch"))
    found = asked(config, "default", "batch", "qwen3-0.6b")
    assert found["unknown"] == []
    assert found["names"] == ["batch", "default", "qwen3-0.6b"]
    assert {name: base.rstrip("/") for name, base in found["answers"].items()} == {
        "default": interactive,
        "batch": batch,
        "qwen3-0.6b": interactive,
    }
    servers["interactive"].kill()
    assert asked(config, "default")["answers"]["default"].rstrip("/") == batch


@pytest.mark.parametrize("case", plans.CASES)
def test_litellm_takes_every_configuration(case: str, tmp_path: Path) -> None:
    config = tmp_path / "litellm.yaml"
    config.write_text(
        lay_out(*plans.CASES[case](), "launch", RenderOptions(exports=("litellm",)))["exports/litellm.yaml"]
    )
    assert asked(config)["unknown"] == []
