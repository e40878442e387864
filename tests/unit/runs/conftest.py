"""What the tests of runs leave open is closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.runs.memory import OPENED


@pytest.fixture(autouse=True)
def closed_catalogs() -> Iterator[None]:
    """Python 3.13 warns of connections that nobody closed."""
    yield
    while OPENED:
        OPENED.pop().close()
