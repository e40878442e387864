"""A catalog in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.adapters.catalog import SqliteCatalog


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "catalog.db")


@pytest.fixture
def catalog(path: str) -> Iterator[SqliteCatalog]:
    with SqliteCatalog(path) as opened:
        yield opened
