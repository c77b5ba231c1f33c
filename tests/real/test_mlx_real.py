"""The real mlx_lm.server (its CPU wheel) takes what is planned for it, behind its rendered router, and answers."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import planner
from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.planning.plan import Plan
from tools.bundles import KEY, started_stack

pytestmark = pytest.mark.tools

WISHES = {
    "one user": {},
    "four users, cache in 8 bits": {"users": 4, "kv_type": "q8_0", "deterministic": True},
}


def mac_plan(**wishes: object) -> Plan:
    machine = planner.what_if(apple="M3 Max 40c 128GiB")
    return planner.recommend(machine, "macos", server="mlx-lm", context=1024, **wishes).plan


def test_the_catalog_knows_exactly_the_flags_of_the_real_parser() -> None:
    text = subprocess.run(["mlx_lm.server", "--help"], check=True, capture_output=True, text=True).stdout
    real = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text.partition("options:")[2]))
    assert real == set(planner.load_catalog().server("mlx-lm").flags)


@pytest.mark.parametrize("wishes", WISHES)
def test_the_launch_script_starts_it_and_the_router_reaches_it(
    wishes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLX would compile kernels with g++, which need not be here.
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    plan = mac_plan(**WISHES[wishes])
    with started_stack(plan, tmp_path) as (_, servers):
        router = Client(parse_endpoint(servers["router"].url), api_key=KEY)
        body = {"model": plan.services[0].model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
        answer = router.post("/v1/chat/completions", body)
        assert answer.status == 200, servers["interactive"].log.read_text()
        assert 0 < answer.document["usage"]["completion_tokens"] <= 8
        with router.stream("/v1/chat/completions", body | {"stream": True}) as stream:
            *chunks, end = [event.data for event in stream.events()]
        assert end == "[DONE]"
        assert any(json.loads(chunk)["choices"] for chunk in chunks)
