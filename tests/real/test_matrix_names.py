"""Example machines with every server: refusals say why, and no file tells a server what its version does not know.

No tool is needed for that, but the matrix, which is made once for these tests and those of the consumers."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.doctor import findings_of
from planner.doctor.files import read_files
from planner.doctor.records import Document, Served
from planner.errors import RenderError
from planner.rendering import TARGETS
from planner.servers.oracle import argv_problems, config_problems, variable_problems
from planner.servers.records import ConfigFile
from tests import matrix

pytestmark = pytest.mark.tools

# Variables that every process of a system has, whatever its version.
SYSTEM_VARIABLES = {"HOME", "PATH"}
# Pairs of an example and a server that cannot serve it, and the word by which the refusal says so.
REFUSED = {
    **{(machine, "mlx-lm"): "Apple Silicon" for machine in matrix.MACHINES if machine != "m3-max"},
    **{(machine, "mlx-lm"): "Apple Silicon" for machine in matrix.IMAGINED},
    ("m3-max", "vllm"): "runs on Linux",
    ("epyc-2-nodes", "vllm"): "AVX-512",
    ("arc-b580", "vllm"): "NVIDIA or AMD",
}


def test_a_server_is_refused_exactly_where_it_cannot_run_and_the_refusal_says_why() -> None:
    refusals = {(cell.machine, cell.server): cell.refusal for cell in matrix.cells() if cell.refusal is not None}
    assert refusals.keys() == REFUSED.keys()
    for pair, word in REFUSED.items():
        assert word in refusals[pair].message
        assert refusals[pair].hint


def documents(target: str, folder: Path) -> list[Document]:
    found = []
    for cell, bundle in matrix.bundles(target):
        found += read_files([matrix.put(bundle, folder / cell.name)])
    return found


def told_unknown(served: Served) -> list[RenderError]:
    """Every flag, value, variable and key of a program that its server's version does not know."""
    assert served.server is not None
    facts = matrix.catalog().server(served.server)
    config = ConfigFile(path=served.name, text=served.config or "")
    return [
        *argv_problems(served.argv, facts),
        *variable_problems(served.environment.keys() - SYSTEM_VARIABLES, facts),
        *(config_problems(config, facts) if served.config else ()),
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_every_flag_variable_and_key_is_one_of_the_server_s_version(target: str, tmp_path: Path) -> None:
    found = documents(target, tmp_path)
    programs = [served for document in found for served in document.served if served.server is not None]
    started = {served.server for served in programs if served.argv}
    assert started == {cell.server for cell in matrix.cells() if cell.server and target in cell.bundles}
    assert [str(problem) for served in programs for problem in told_unknown(served)] == []
    assert findings_of(found, matrix.catalog()) == ()
