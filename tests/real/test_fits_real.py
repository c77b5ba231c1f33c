"""The fitted files of the catalog are what their tools make of the data, to the digit."""

from __future__ import annotations

import pytest

from tools.fit_quality import outputs


@pytest.mark.tools
def test_abilities_are_what_the_scores_give() -> None:
    for path, text in outputs().items():
        assert path.read_text(encoding="utf-8") == text, f"run python tools/fit_quality.py: {path.name}"
