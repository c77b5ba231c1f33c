"""A running router for every test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rendering.house import House


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def one(**change: Any) -> House:
        houses.append(House(tmp_path, monkeypatch, change))
        return houses[-1]

    yield one
    for house in houses:
        house.close()


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    return build()
