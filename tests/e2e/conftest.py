"""A site per test, with its repository copied from one that was initialised once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.weak_key import weaken


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, newest_restic: str) -> Path:
    """An initialised repository and its key: `init` costs seconds, a copy does not."""
    site = Site(tmp_path_factory.mktemp("template"), newest_restic)
    site.run("init")
    weaken(site.root / "repository", (site.root / "key").read_text().strip())
    return site.root


@pytest.fixture
def site(tmp_path: Path, made_once: Path, newest_restic: str) -> Iterator[Site]:
    made = Site(tmp_path / "s", newest_restic)
    shutil.copytree(made_once / "repository", made.root / "repository")
    shutil.copy(made_once / "key", made.root / "key")
    shutil.copytree(made_once / "state", made.root / "state")
    made.fill()
    yield made
    alive = made.quiet_within(10)
    assert not alive, f"left running: {alive}"
