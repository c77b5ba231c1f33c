"""Feed broken model files to the readers: `python tools/fuzz.py [SECONDS]` (default 600).

Mutated GGUF headers, config.json files and safetensors checkpoints go through reading, expanding and sizing. Each must
end in a model with an estimate or in a PlannerError that says where, within bounded memory and time. One input per
distinct answer is kept in tests/data/fuzz/corpus.jsonl and replayed by tests/catalog/test_fuzz_corpus.py; anything else
is a finding, printed and kept in a folder of its own.
"""

from __future__ import annotations

import base64
import collections
import json
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st

from planner.errors import PlannerError
from tests.catalog.fuzzing import answer, config_seeds, gguf_seeds, safetensors_seeds, signature

CORPUS = Path(__file__).parent.parent / "tests" / "data" / "fuzz" / "corpus.jsonl"
SLOW_S = 2.0
KEPT_BYTES = 4096
_NUMBERS = (-1, 0, 1, 2, 7, 255, 4096, 10_000, 10_001, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 47, 1 << 60, 1 << 63,
            (1 << 64) - 1)  # fmt: skip
_VALUES = (*_NUMBERS, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", "x", "3,4", "full_attention", None, True, False,
           [], {}, [0], [1] * 300, [-1, 2], [None], ["full_attention"], ["x"], [[1]], {"a": 1}, [1e9],
            "9" * 50)  # fmt: skip


@st.composite
def broken_gguf(draw: st.DrawFn) -> dict[str, bytes]:
    """A header with some bytes, lengths or types changed, cut, or given to another part of a split."""
    data = bytearray(draw(st.sampled_from(gguf_seeds())))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.integers(0, 5)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                data[at : at + 8] = struct.pack("<Q", draw(st.sampled_from(_NUMBERS)) & (1 << 64) - 1)
            case 2:
                data[at : at + 4] = struct.pack("<I", draw(st.sampled_from(_NUMBERS)) & (1 << 32) - 1)
            case 3:
                del data[at : at + draw(st.integers(1, 64))]
            case 4:
                data = data[:at]
            case 5:
                end = min(at + draw(st.integers(1, 64)), len(data))
                data[at:at] = data[at:end]
    count = draw(st.sampled_from((1, 1, 1, 2, 3)))
    if count == 1:
        return {"m.gguf": bytes(data)}
    parts = draw(st.sampled_from((1, count)))
    return {f"m-{number + 1:05}-of-{count:05}.gguf": bytes(data) for number in range(parts)}


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


@st.composite
def _broken_json(draw: st.DrawFn, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """A document with keys dropped, values made absurd, or keys of another family's document added."""
    document: dict[str, Any] = _copy(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 5))):
        target = document
        while draw(st.booleans()) and (inner := [each for each in target.values() if isinstance(each, dict)]):
            target = draw(st.sampled_from(inner))
        keys = sorted(target)
        match draw(st.integers(0, 3)):
            case 0 if keys:
                del target[draw(st.sampled_from(keys))]
            case 1 | 2 if keys:
                target[draw(st.sampled_from(keys))] = _copy(draw(st.sampled_from(_VALUES)))
            case _:
                other = draw(st.sampled_from(seeds))
                key = draw(st.sampled_from(sorted(other)))
                target[key] = _copy(draw(st.sampled_from((other[key], *_VALUES))))
    return document


@st.composite
def broken_config(draw: st.DrawFn) -> dict[str, bytes]:
    """A config.json, sometimes cut."""
    data = json.dumps(draw(_broken_json(config_seeds()))).encode()
    return {"config.json": data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 19)) == 0 else data}


@st.composite
def broken_checkpoint(draw: st.DrawFn) -> dict[str, bytes]:
    """A config with a safetensors index or file beside it."""
    files = {"config.json": json.dumps(config_seeds()[0]).encode()}
    header, index = safetensors_seeds()
    text = json.dumps(draw(_broken_json([header]))).encode()
    length = draw(st.sampled_from((len(text), *(number & (1 << 64) - 1 for number in _NUMBERS))))
    body = struct.pack("<Q", length) + text + bytes(draw(st.sampled_from((0, 96))))
    files["model.safetensors"] = body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 9)) == 0 else body
    if draw(st.booleans()):
        files["model.safetensors.index.json"] = json.dumps(draw(_broken_json([index]))).encode()
    return files


class Session:
    """What was answered so far, and the first input of every distinct answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: collections.Counter[str] = collections.Counter()
        self.findings: list[str] = []
        self.slowest_s = 0.0
        lines = CORPUS.read_text().splitlines() if CORPUS.exists() else []
        self.kept = {json.loads(line)["answer"] for line in lines}

    def run(self, files: dict[str, bytes]) -> None:
        """One input; a finding is whatever is neither a model nor an expected error, or slow."""
        for old in self.folder.iterdir():
            old.unlink()
        for name, data in files.items():
            (self.folder / name).write_bytes(data)
        started = time.monotonic()
        try:
            said = signature(answer(self.folder / next(iter(files))))
        except PlannerError as error:
            said = signature(error.message)
        except Exception:  # noqa: BLE001 - any other exception is what is searched for
            said = "BUG " + traceback.format_exc(limit=-3)
        took_s = time.monotonic() - started
        self.slowest_s = max(self.slowest_s, took_s)
        if said.startswith("BUG ") or took_s > SLOW_S:
            self._report(said, files, took_s)
        elif said not in self.answers:
            self._keep(said, files)
        self.answers[said] += 1

    def _report(self, said: str, files: dict[str, bytes], took_s: float) -> None:
        if said not in self.answers:
            kept = Path(tempfile.mkdtemp(prefix="fuzz-finding-"))
            for name, data in files.items():
                (kept / name).write_bytes(data)
            self.findings.append(f"{kept} ({took_s:.1f} s): {said}")
            print("FINDING", self.findings[-1], flush=True)

    def _keep(self, said: str, files: dict[str, bytes]) -> None:
        """Small inputs only: the corpus is for people too."""
        if said in self.kept or sum(map(len, files.values())) > KEPT_BYTES:
            return
        self.kept.add(said)
        line = {"answer": said, "files": {name: base64.b64encode(data).decode() for name, data in files.items()}}
        with CORPUS.open("a") as corpus:
            corpus.write(json.dumps(line) + "\n")


def main() -> None:
    """Rounds of 500 inputs until the time is up."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name:
        session = Session(Path(name))
        while time.monotonic() < end:

            @seed(random.getrandbits(32))
            @settings(
                max_examples=500,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(broken_gguf() | broken_config() | broken_checkpoint())
            def once(files: dict[str, bytes]) -> None:
                session.run(files)

            once()
    print(
        f"{session.answers.total()} inputs, {len(session.answers)} distinct answers, {len(session.findings)} findings"
    )
    print(
        f"slowest {session.slowest_s:.2f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB at most"
    )


if __name__ == "__main__":
    main()
