"""Broken model files that fuzzing found: a model with an estimate, or an error that says where; little memory."""

from __future__ import annotations

import base64
import json
import tracemalloc
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.sizing.records import Footprint
from tests.catalog.fuzzing import answer

CORPUS = Path(__file__).parents[1] / "data" / "fuzz" / "corpus.jsonl"
MEMORY_BYTES = 64 * 2**20


def outcome(path: Path) -> Footprint | PlannerError:
    try:
        return answer(path)
    except PlannerError as error:
        return error


def test_every_kept_input_is_answered(tmp_path: Path) -> None:
    """One input per distinct answer of the fuzzing session."""
    lines = CORPUS.read_text().splitlines()
    assert len(lines) > 100
    tracemalloc.start()
    try:
        for number, line in enumerate(lines):
            files = json.loads(line)["files"]
            folder = tmp_path / str(number)
            folder.mkdir()
            for name, data in files.items():
                (folder / name).write_bytes(base64.b64decode(data))
            path = folder / next(iter(files))
            said = outcome(path)
            if isinstance(said, PlannerError):
                assert "." in said.message.partition(":")[0] or said.hint, said.message  # the file, or a remedy
                assert said.message.isprintable()
            else:
                assert said.total_bytes > 0
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"GGUF" + (1).to_bytes(4, "little"), "version 1"),
        (b"GGUF" + (3).to_bytes(4, "big"), "big-endian"),
        (b"GGML" + bytes(4), "not a GGUF file"),
        (b"GGUF" + (3).to_bytes(4, "little") + (10**9).to_bytes(8, "little"), "tensor count: 1000000000 entries"),
        (b"GGUF" + (2).to_bytes(4, "little") + bytes(8) + (2**60).to_bytes(8, "little"), "metadata count"),
        (
            b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little") + (2**60).to_bytes(8, "little"),
            "a text of 1152921504606846976 bytes",
        ),
    ],
)
def test_headers_that_lie_name_the_field(start: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(start + bytes(64))
    with pytest.raises(PlannerError, match=says):
        answer(path)


def test_a_split_that_names_itself_ends(tmp_path: Path) -> None:
    """Parts are counted by the first one's number, whatever the others claim; a missing part is named."""
    from tests.catalog.fuzzing import gguf_seeds

    split = gguf_seeds()[-1]
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(split)
    with pytest.raises(PlannerError, match=r"m-00002-of-00002\.gguf: no such file"):
        answer(tmp_path / "m-00001-of-00002.gguf")
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(split)
    assert answer(tmp_path / "m-00002-of-00002.gguf").total_bytes > 0
