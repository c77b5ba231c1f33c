"""docs/claims.md: every number is in what its command prints, and says what the page says that it says."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tools.claims import DATA, PAGE, number, page

CLAIMS: dict[str, dict[str, Any]] = {
    claim["claim"]: claim for topic in yaml.safe_load(DATA.read_text(encoding="utf-8")) for claim in topic["claims"]
}


def figures(part: str) -> list[float]:
    """The numbers that stand on the page for the claim with these words, in order."""
    (found,) = [claim for name, claim in CLAIMS.items() if part in name]
    text = " ".join(number(show) for show in found["shows"])
    return [float(figure) for figure in re.findall(r"(?<![-\w.])\d+(?:\.\d+)?(?![\w.])", text)]


def test_the_page_is_what_the_commands_print() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tools/claims.py"


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_claim_has_a_verdict_a_source_and_a_command(claim: dict[str, Any]) -> None:
    assert claim["verdict"] in {"right", "wrong", "partly", "no longer"}
    assert claim["truth"].endswith(".")
    assert claim["source"]
    assert all(show["command"].startswith("planner ") for show in claim["shows"])
    assert "|" not in "".join([claim["claim"], claim["truth"], *(show["command"] for show in claim["shows"])])


def test_bits_are_those_of_the_quantizer_s_own_table() -> None:
    """llama.cpp tools/quantize/README.md, Llama-3.1-8B: bits per weight, and sizes in GiB."""
    assert figures("Q4_K_M is 4.5 bits") == [pytest.approx(4.8944, rel=0.002)]
    assert figures("Q5_K_M has 5.5 bits") == [pytest.approx(n, rel=0.003) for n in (5.7036, 5.33, 4.58)]
    assert figures("IQ4_XS is as large") == [pytest.approx(n, rel=0.003) for n in (4.17, 4.58)]


def test_what_is_called_too_large_is_too_large() -> None:
    assert min(figures("70 billion parameters on a 16 GB card")) > 16
    resident, read, lacking, ram = figures("22 billion active parameters")
    assert resident > 24
    # 22 billion of 235 are active.
    assert read / (resident * 1.074) == pytest.approx(22 / 235, rel=0.1)
    assert lacking > 0
    assert ram == 64


def test_the_cache_grows_in_proportion() -> None:
    at_8k, at_16k, at_128k = figures("square of the context")
    # 2 x 32 layers x 8 heads x 128 x 2 bytes x 8192 tokens = 1 GiB.
    assert (at_8k, at_16k, at_128k) == (1.0, 2.0, 16.0)
    window, full = figures("Sliding-window attention")
    assert window < full / 2


def test_what_is_called_slower_is_slower() -> None:
    unbound, bound, interleaved = figures("wrong NUMA node")
    assert unbound < bound <= interleaved
    empty, deep = figures("Beyond 32k tokens")
    assert deep < empty
    vllm, slots = (figures("Several users need vLLM")[i] for i in (0, 2))
    assert slots < vllm < 2 * slots
    on_cpu, on_card = (figures("Long documents belong on a CPU")[i] for i in (0, 1))
    assert on_cpu * 60 > 10 * on_card
