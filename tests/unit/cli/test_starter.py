"""The starter files: where they were written is said in full, and their example tells of partial backups too."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.starter import POLICY, write_starter


def test_what_was_written_is_named_by_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_starter("policy.yml") == [str(tmp_path / "policy.yml"), str(tmp_path / "services.yml")]
    assert write_starter("policy.yml") == []


def test_the_example_of_a_rule_tells_of_backups_that_are_not_whole() -> None:
    (rule,) = [line for line in POLICY.splitlines() if "on: [" in line]
    assert "[failed, partial, warning, recovered]" in rule
