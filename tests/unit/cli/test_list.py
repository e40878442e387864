"""`list`: what it may be asked."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from orchestrator.cli.list import command
from orchestrator.model.errors import EXIT_USAGE


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_that_shows_nothing_or_drops_the_oldest_is_refused(limit: str) -> None:
    done = CliRunner().invoke(command, ["--limit", limit])
    assert done.exit_code == EXIT_USAGE
    assert "--limit" in done.output
