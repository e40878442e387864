"""Small policies for the tests: written to a folder, changed by the test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from orchestrator.model.errors import PolicyInvalid
from orchestrator.policy import Config, load
from orchestrator.policy.base import PolicyModel
from orchestrator.policy.fault import fault
from orchestrator.policy.paths import LocalPath
from orchestrator.policy.secret_ref import SecretRef

POLICY = """\
version: 1
host: hub-01
repositories:
  local:
    url: var/repository
    password: {file: var/repository.key}
retention:
  default: {last: 7, daily: 30}
  cache: {within: 7d}
"""
SERVICES = """\
services:
  shop:
    databases:
      main: {engine: book, path: shop.db}
    paths: [files]
"""


class Book(PolicyModel):
    """The options of a database that is a file."""

    path: LocalPath
    pages: Annotated[int, Field(ge=1)] = 10
    check: bool = True
    password: SecretRef | None = None


class Files(BaseModel):
    """The options of paths; unknown keys are let through, to prove that the policy refuses them itself."""

    paths: list[LocalPath] = Field(min_length=1)
    exclude: list[str] = []
    exclude_caches: bool = False


class Shelf(PolicyModel):
    """Options with a rule over several keys."""

    low: int = 1
    high: int = 2

    def model_post_init(self, _context: object) -> None:
        """Check the order."""
        if self.low > self.high:
            raise fault("low is above high", "swap them")


OPTIONS: Mapping[str, type[BaseModel]] = {"book": Book, "files": Files, "shelf": Shelf}


def write(folder: Path, policy: str = POLICY, services: str | None = SERVICES) -> str:
    """Write both files; return policy.yml's path."""
    (folder / "policy.yml").write_text(policy, encoding="utf-8")
    if services is not None:
        (folder / "services.yml").write_text(services, encoding="utf-8")
    return str(folder / "policy.yml")


def loaded(folder: Path, policy: str = POLICY, services: str = SERVICES, **environ: str) -> Config:
    """Write and load both files."""
    return load(write(folder, policy, services), OPTIONS, environ)


def refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, policy: str = POLICY, services: str | None = SERVICES, **environ: str
) -> list[str]:
    """Load both files from their own folder, as a user would; return the text of each problem."""
    write(folder, policy, services)
    monkeypatch.chdir(folder)
    with pytest.raises(PolicyInvalid) as caught:
        load("policy.yml", OPTIONS, environ)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]
