"""Options that would be ignored are refused, before anything is opened."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import backup, prune, verify
from orchestrator.model.errors import EXIT_USAGE, UsageError


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (verify.command, "--point 2026 --data 10%"),
        (prune.command, "--simulate 2y --force"),
        (prune.command, "--simulate 2y --wait 5"),
        (prune.command, "--dry-run --wait 5"),
        (backup.command, "--dry-run --wait 5"),
        (backup.command, "--dry-run --new-machine"),
    ],
)
def test_options_that_would_be_ignored(command: click.Command, line: str) -> None:
    refused = CliRunner().invoke(command, line.split()).exception
    assert isinstance(refused, UsageError)
    assert refused.exit_code == EXIT_USAGE
    assert (refused.hint or "").startswith("leave out --")
