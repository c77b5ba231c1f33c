"""The decision matrix: each row is reached, and wrong names are told with near misses."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.catalog.records import MatrixRow
from planner.cli.app import build
from planner.errors import CatalogError
from planner.hardware.facts import Gpu, Hardware, Memory
from planner.hardware.what_if import what_if
from planner.planning.facts import Situation
from planner.planning.matrix import check_matrix, choose_row, validate_row
from planner.units import GIB

RTX = Gpu(vendor="nvidia", name="RTX 4090", backend="cuda", memory_bytes=24 * GIB, compute_capability="8.9")
MAC = Gpu(vendor="apple", name="Apple M3 Max", backend="metal", memory_bytes=64 * GIB, unified=True)
RAM = Memory(total_bytes=64 * GIB)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def ask(catalog: Catalog, workload: str, *gpus: Gpu, users: int = 1) -> MatrixRow:
    record = catalog.workload(workload)
    machine = Hardware(gpus=gpus, memory=RAM)
    return choose_row(catalog, Situation(hardware=machine, workload=record, users=users, context_tokens=8192))


REACHED = [
    ("prototype", (RTX,), 1, "prototype"),
    ("team", (RTX,), 10, "team"),
    ("team", (), 10, "team-without-vllm"),
    ("long-context", (RTX,), 1, "long-context"),
    ("long-context", (RTX, RTX), 1, "long-context-gpus"),
    ("long-context", (MAC,), 1, "long-context-gpu"),
    ("code", (RTX,), 1, "code"),
    ("code", (RTX,), 8, "code-team"),
    ("macos", (MAC,), 1, "macos"),
    ("macos", (RTX,), 1, "macos-elsewhere"),
    ("multimodal", (RTX,), 1, "multimodal"),
    ("reasoning", (RTX,), 8, "reasoning"),
    ("reasoning", (RTX,), 1, "reasoning-single"),
    ("agent", (RTX,), 8, "agent-team"),
    ("agent", (RTX,), 1, "agent"),
    ("batch", (RTX,), 8, "batch"),
    ("batch", (), 8, "batch-elsewhere"),
    ("embedding", (), 4, "embedding"),
    ("chat", (RTX,), 10, "chat-team"),
    ("chat", (MAC,), 1, "chat-apple"),
    ("chat", (), 1, "chat"),
]


@pytest.mark.parametrize(("workload", "gpus", "users", "row"), REACHED)
def test_each_row_is_reached(catalog: Catalog, workload: str, gpus: tuple[Gpu, ...], users: int, row: str) -> None:
    assert ask(catalog, workload, *gpus, users=users).id == row


def test_only_the_last_row_is_for_a_person_s_own_workloads(catalog: Catalog) -> None:
    own = replace(catalog.workload("chat"), id="summaries")
    chosen = choose_row(catalog, Situation(hardware=Hardware(), workload=own, users=1, context_tokens=8192))
    assert chosen.id == "general"
    assert {row.id for row in catalog.matrix} == {row for *_, row in REACHED} | {"general"}


REFERENCES = {
    "prototype": ("ollama", ("qwen3-14b",), ("Q4_K_M",), "any"),
    "team": ("vllm", ("qwen3-14b", "qwen3-32b"), ("AWQ",), "gpu"),
    "long-context": ("llama-server", ("llama-3.1-8b-instruct",), ("Q4_K_M",), "cpu"),
    "code": ("localai", ("phi-4",), ("Q5_K_M",), "gpu"),
    "macos": ("mlx-lm", ("qwen3-14b",), ("MLX-4bit",), "unified"),
    "multimodal": ("localai", (), (), "any"),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_six_scenarios_keep_their_reference_choice(catalog: Catalog, name: str) -> None:
    row = next(row for row in catalog.matrix if row.id == name)
    assert row.reference is not None
    found = (row.reference.server, row.reference.models, row.reference.quants, row.reference.device)
    assert found == REFERENCES[name]
    assert row.servers[0] == row.reference.server
    assert row.because
    assert row.cost


def test_the_shipped_matrix_has_no_errors(catalog: Catalog) -> None:
    assert [finding for finding in check_matrix(catalog) if finding.severity == "error"] == []


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"when": ("workload_is_cod",)}, "when: unknown fact 'workload_is_cod'", "workload_is_code"),
        ({"servers": ("vlm",)}, "servers: unknown server 'vlm'", "vllm"),
        ({"shortlist": ("qwen3-14",)}, "shortlist: unknown model 'qwen3-14'", "qwen3-14b"),
        ({"quants": ("Q4_KM",)}, "quants: unknown quant 'Q4_KM'", "Q4_K_M"),
        ({"servers": ()}, "servers: a row needs at least one server", "llama-server"),
    ],
)
def test_wrong_names_are_told_with_row_key_and_near_miss(
    catalog: Catalog, change: dict[str, tuple[str, ...]], message: str, hint: str
) -> None:
    row = replace(catalog.matrix[0], **change)
    with pytest.raises(CatalogError) as caught:
        validate_row(row, catalog)
    assert f"decision_matrix.yaml: {row.id}: {message}" in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_row_behind_a_wider_one_is_an_error(catalog: Catalog) -> None:
    wide = replace(catalog.matrix[-1], id="wide")
    broken = copy.copy(catalog)
    vars(broken)["matrix"] = (wide, *catalog.matrix)
    texts = [finding.text for finding in check_matrix(broken)]
    assert f"{catalog.matrix[0].id}: never reached, wide comes first and asks for less" in texts


def test_a_matrix_without_an_answer_says_what_to_add(catalog: Catalog) -> None:
    empty = SimpleNamespace(matrix=catalog.matrix[:1])
    situation = Situation(hardware=Hardware(), workload=catalog.workload("chat"), users=1, context_tokens=8192)
    with pytest.raises(CatalogError) as caught:
        choose_row(empty, situation)  # type: ignore[arg-type]
    assert "no row holds for workload chat" in caught.value.message
    assert "when: []" in (caught.value.hint or "")


OWN = """
- {id: never, title: t, when: [workload_is_chat, workload_is_team], servers: [ollama], because: b, cost: c}
- {id: wide, title: t, when: [has_gpu], servers: [ollama], because: b, cost: c}
- {id: behind, title: t, when: [nvidia_gpu], servers: [ollama], because: b, cost: c}
- id: gone
  title: t
  when: [workload_is_chat]
  reference: {server: vllm, models: [qwen3-14c], quants: [AWQ]}
  servers: [ollama]
  because: b
  cost: c
- id: unread
  title: t
  when: [workload_is_code]
  reference: {server: vllm, models: [qwen3-14b], quants: [Q4_K_M]}
  servers: [ollama]
  because: b
  cost: c
- id: unpublished
  title: t
  when: [workload_is_team]
  reference: {server: vllm, models: [gemma-3-1b-it], quants: [NVFP4]}
  servers: [ollama]
  because: b
  cost: c
"""


def test_check_reports_rows_that_nothing_reaches_and_references_that_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OWN)
    result = CliRunner().invoke(build(), ["catalog", "check", "--matrix", str(file), "--json"])
    assert result.exit_code == 1
    found = [finding for finding in json.loads(result.stdout)["findings"] if finding.get("subject") == str(file)]
    told = {finding["text"].partition(":")[0]: finding["text"] for finding in found}
    assert told.keys() == {"never", "behind", "gone", "unread", "unpublished"}
    assert "workload_is_chat and workload_is_team cannot hold together" in told["never"]
    assert "wide comes first and asks for less" in told["behind"]
    assert "unknown model 'qwen3-14c'" in told["gone"]
    assert "qwen3-14b" in told["gone"]
    assert "vllm cannot read Q4_K_M" in told["unread"]
    assert "no NVFP4 of gemma-3-1b-it is published for vllm" in told["unpublished"]


def test_a_person_s_own_matrix_decides_and_its_faults_name_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    row = "- {id: ours, title: t, when: [], servers: [vllm], shortlist: [%s], quants: [AWQ], because: b, cost: c}"
    file.write_text(row % "qwen3-8b")
    machine = what_if(load_catalog(), gpus=["RTX 4090"], ram="64GiB")
    found = planner.recommend(machine, matrix=file).plan
    assert (found.matrix_row.id, found.services[0].model, found.services[0].server) == ("ours", "qwen3-8b", "vllm")
    file.write_text(row % "qwen3-8c")
    with pytest.raises(CatalogError, match=r"mine\.yaml: ours: shortlist: unknown model 'qwen3-8c'"):
        planner.recommend(machine, matrix=file)


def test_rows_of_a_person_s_catalog_folder_come_before_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = "- {id: ours, title: t, when: [workload_is_chat], servers: [ollama], quants: [Q8_0], because: b, cost: c}"
    (tmp_path / "decision_matrix.yaml").write_text(row)
    monkeypatch.setenv("PLANNER_CATALOG", str(tmp_path))
    machine = what_if(load_catalog(), gpus=["RTX 4090"], ram="64GiB")
    assert planner.recommend(machine).plan.matrix_row.id == "ours"
    assert planner.recommend(machine, "code").plan.matrix_row.id == "code"


@pytest.mark.parametrize(
    ("wrong", "right", "near"),
    [
        ("workload_is_agnt", "workload_is_agent", "unknown fact"),
        ("olama", "ollama", "unknown server"),
        ("qwen3-14c", "qwen3-14b", "unknown model"),
        ("Q4_KM", "Q4_K_M", "unknown quant"),
    ],
)
def test_a_person_s_own_matrix_is_read_whole_and_its_file_named(
    catalog: Catalog, tmp_path: Path, wrong: str, right: str, near: str
) -> None:
    """A wrong name is told even where an earlier row decides."""
    shipped = (Path(__file__).parents[2] / "catalog" / "decision_matrix.yaml").read_text()
    own = tmp_path / "mine.yaml"
    own.write_text(re.sub(rf"\b{re.escape(right)}\b", wrong, shipped))
    with pytest.raises(CatalogError) as caught:
        planner.recommend(Hardware(), "chat", catalog=catalog, matrix=own)
    assert caught.value.message.startswith(f"{own}: ")
    assert near in caught.value.message
    assert right in (caught.value.hint or "")
