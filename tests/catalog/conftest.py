"""The shipped catalog, loaded once for these tests."""

from __future__ import annotations

from functools import cache

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog


@cache
def shipped() -> Catalog:
    return load_catalog()


@pytest.fixture
def catalog() -> Catalog:
    return shipped()
