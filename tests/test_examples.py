"""The examples are the main goldens: plans, screens and bundles are those that today's code makes."""

from __future__ import annotations

import pytest

from tools.examples import ALL, EXAMPLES, Example, differences


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.name)
def test_example_is_current(example: Example) -> None:
    changed = differences(example)
    assert not changed, "run `python tools/examples.py` and review:\n" + "\n".join(changed)


def test_every_folder_is_an_example() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {example.name for example in ALL}
