"""A reader can decide again from what `recommend` prints: the values of each place, and the order that they make."""

from __future__ import annotations

import json
from bisect import bisect_right
from itertools import pairwise
from math import floor, log2
from typing import Any

import pytest
from typer.testing import CliRunner

from planner.catalog.load import load_catalog
from planner.cli.app import build
from planner.planning.facts import FACTS
from planner.planning.recommend import recommend
from planner.planning.why_not import why_not
from tests.planning.machines import mac, rtx4090

SIMPLE = ("gpu", "unified", "cpu", "tensor-parallel", "multi-gpu", "experts-in-ram", "split")
MACHINES = {
    "one card": ["--gpu", "RTX 4090", "--ram", "64GiB"],
    "two cards": ["--gpu", "RTX 3090:2", "--ram", "128GiB"],
    "small card": ["--gpu", "RTX 4060", "--ram", "32GiB"],
    "cpu": ["--cores", "8", "--ram", "16GiB", "--ram-bandwidth", "40GB/s"],
    "mac": ["--apple", "M3 Max 40c 128GiB"],
}
WISHES = {
    "chat": [],
    "team": ["--workload", "team"],
    "code": ["--workload", "code"],
    "long-context": ["--workload", "long-context"],
    "agent": ["--workload", "agent"],
    "embedding": ["--workload", "embedding"],
    "quality": ["--prefer", "quality"],
    "speed": ["--prefer", "speed"],
    "headroom": ["--prefer", "headroom"],
    "one model": ["--model", "qwen3-14b"],
}


def decision(*arguments: str) -> dict[str, Any]:
    result = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(build(), ["recommend", *arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)["answer"]["decision"]
    return found


def steps(factor: float) -> float:
    """Factors of 1.4 by which a target is missed, as docs/quality.md says: at least one, once it is missed."""
    return 0.0 if factor <= 1 else 1.0 + floor(2 * log2(factor))


def value(  # noqa: C901 - one case for each level
    level: str, place: dict[str, Any], made: dict[str, Any]
) -> float | str:
    """One level from the figures, the row and the axis that stand in the JSON; nothing of the package is asked."""
    row, axis, targets = made["row"], made["axis"], made["targets"]
    servers, quants, kind = row["servers"], row.get("quants", []), place["placement"]["kind"]
    band = bisect_right(axis["band_edges"], place["ability"])
    match level:
        case "shortlist":
            return place["model"] not in row.get("shortlist", [])
        case "usefulness":
            return place["ability"] < axis.get("useful_from", float("-inf"))
        case "targets":
            rate, wait = targets["decode_tokens_per_s"], targets["ttft_s"]
            missed = steps(rate / place["decode_tokens_per_s"]) if rate else 0.0
            return missed + (steps(place["ttft_s"] / wait) if wait else 0.0)
        case "server":
            return servers.index(place["server"]) if place["server"] in servers else len(servers)
        case "device":
            wanted = row.get("device", "any")
            on_gpu = kind in {"gpu", "multi-gpu", "tensor-parallel", "unified"}
            return not (wanted == "any" or kind == wanted or (wanted == "gpu" and on_gpu))
        case "quant":
            return bool(quants) and place["quant"] not in quants
        case "quant order":
            return quants.index(place["quant"]) if place["quant"] in quants else len(quants)
        case "ability":
            return -band
        case "ability (wide)":
            return -(band // 2)
        case "ability (exact)":
            return float(-place["ability"])
        case "speed":
            return -floor(2 * log2(place["decode_tokens_per_s"]))
        case "headroom":
            return -floor(place["free_fraction"] / 0.1)
        case "simplicity":
            return SIMPLE.index(kind) + 0.5 * (place["placement"]["numa"] == "interleave")
        case "name":
            return str(place["model"])
        case "quant name":
            return str(place["quant"])
        case _:
            return str(place["placement"]["text"])


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES.keys())
def test_the_order_can_be_computed_again_from_the_printed_values(machine: list[str], wish: list[str]) -> None:
    made = decision(*machine, *wish)
    places = made["places"]
    again = [[value(level, place, made) for level in made["levels"]] for place in places]
    assert again == [place["values"] for place in places]
    assert again == sorted(again)
    for ahead, place in pairwise(places):
        differs = [a != b for a, b in zip(ahead["values"], place["values"], strict=True)]
        assert place["behind_by"] == made["levels"][differs.index(True)]
        assert place["behind_text"]


def test_the_facts_and_the_row_are_those_of_the_matrix() -> None:
    catalog = load_catalog()
    made = decision(*MACHINES["two cards"], "--workload", "code", "--users", "8")
    assert {"workload_is_code", "many_users", "several_gpus", "nvidia_gpu"} <= set(made["facts"])
    assert set(made["facts"]) <= set(FACTS)
    first = next(row for row in catalog.matrix if set(row.when) <= set(made["facts"]))
    assert made["row"]["id"] == first.id


def test_explain_prints_the_table_within_80_columns() -> None:
    for machine in MACHINES.values():
        arguments = ["recommend", *machine, "--workload", "team", "--explain"]
        text = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(build(), arguments).stdout
        assert max(map(len, text.splitlines())) <= 80
        table = text[text.index("  level ") : text.index("Reasons")]
        assert [line.split()[0] for line in table.splitlines()[1:4]] == ["shortlist", "usefulness", "targets"]
        assert "2 behind 1 by" in table
        assert "<" in table


def test_why_not_answers_for_every_model_of_the_catalog() -> None:
    catalog = load_catalog()
    machine, wanted = rtx4090(catalog), catalog.workload("multimodal")
    planned = []
    for name in catalog.models:
        told = why_not(machine, catalog, wanted, name)
        assert {loser.model for loser in told} <= {name}
        assert all(loser.text and loser.reason_id for loser in told)
        planned += [] if told else [name]
    services = recommend(machine, catalog, wanted).plan.services
    assert sorted(planned) == sorted(service.model for service in services)


def test_why_not_on_the_command_line_groups_what_has_one_reason() -> None:
    arguments = ["recommend", *MACHINES["small card"], "--why-not", "qwen3.5-4b"]
    text = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(build(), arguments).stdout
    assert text.startswith("Why not Qwen3.5-4B\n")
    assert text.count("the row prefers llama-server to ollama") == 1
    assert "Q2_K on ollama, localai and llama-server: Q2_K loses" in " ".join(text.split())


def test_a_model_that_is_too_large_is_told_so_first() -> None:
    catalog = load_catalog()
    told = why_not(rtx4090(catalog), catalog, catalog.workload("chat"), "deepseek-r1")
    assert told[0].reason_id == "memory"
    assert "too little" in told[0].text
    assert {loser.reason_id for loser in told} >= {"memory", "quant-floor"}


def test_a_second_service_is_no_loser() -> None:
    catalog = load_catalog()
    assert why_not(rtx4090(catalog), catalog, catalog.workload("agent"), "qwen3-embedding-0.6b") == ()
    told = why_not(mac(catalog), catalog, catalog.workload("agent"), "bge-m3")
    assert told[0].reason_id != "kind"
