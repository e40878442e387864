"""`--job NAME`: which job may run as what."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import engines
from orchestrator.cli.acting import job_of
from orchestrator.model.errors import EXIT_USAGE, UsageError
from orchestrator.policy import Config, load

POLICY = """\
version: 1
host: hub-01
repositories: {local: {url: /nowhere, password: {env: NONE}}}
retention: {default: {last: 3}}
jobs:
  nightly: {at: "@daily", do: backup, services: [shop]}
  tidy: {at: "@weekly", do: prune}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "policy.yml").write_text(POLICY)
    (tmp_path / "services.yml").write_text("services:\n  shop: {paths: [/nothing]}\n")
    return load(str(tmp_path / "policy.yml"), engines.Options())


def test_a_job_brings_its_services_and_its_patience(config: Config) -> None:
    assert job_of(config, "nightly", "backup", (), 0.0) == (("shop",), config.policy.timeout)
    assert job_of(config, None, "backup", (), 5.0) == ((), 5.0)


def test_a_job_that_does_something_else_is_refused(config: Config) -> None:
    with pytest.raises(UsageError, match="the job 'tidy' does prune, not backup") as refused:
        job_of(config, "tidy", "backup", (), 0.0)
    assert (refused.value.exit_code, refused.value.hint) == (EXIT_USAGE, "jobs that do backup: nightly")


def test_a_job_that_does_not_exist_is_refused(config: Config) -> None:
    with pytest.raises(UsageError, match="has no job 'nightli'") as refused:
        job_of(config, "nightli", "backup", (), 0.0)
    assert refused.value.hint == "jobs that do backup: nightly"
