"""Listing, forgetting and pruning, proved by plain restic beside the adapter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.adapters.restic import ResticRepository
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.engine import PathSet
from orchestrator.model.repository import ForgetEnd
from tests.conftest import MakeRepository
from tests.integration.restic.common import tags

Plain = Callable[..., subprocess.CompletedProcess[str]]


def _store(repository: ResticRepository, undo: RunUndo, path: Path, service: str) -> str:
    path.write_text(service)
    return repository.backup_paths(PathSet((str(path),)), tags(service=service), undo).wait().snapshot


def test_list_forget_prune(
    repository: ResticRepository, make_repository: MakeRepository, undo: RunUndo, tmp_path: Path, plain_restic: Plain
) -> None:
    shop = _store(repository, undo, tmp_path / "one", "shop")
    wiki = _store(repository, undo, tmp_path / "two", "wiki")
    other = _store(make_repository(host="elsewhere"), undo, tmp_path / "three", "shop")
    plain_restic("backup", "--host", "hub", str(tmp_path / "one"))

    assert {one.id for one in repository.snapshots(undo)} == {shop, wiki}, "our host, our tag"
    (listed,) = [one for one in repository.snapshots(undo) if one.id == shop]
    assert (listed.id, listed.host, listed.paths) == (shop, "hub", (str(tmp_path / "one"),))
    assert listed.ours == tags(service="shop")
    assert listed.bytes == 4
    assert len(listed.tree) == 64

    unknown = "ab" * 32
    assert repository.forget([shop, unknown], undo) == ForgetEnd(removed=(shop, unknown))
    assert repository.forget([], undo) == ForgetEnd()
    repository.prune(undo)
    left = {one["id"] for one in json.loads(plain_restic("snapshots", "--json").stdout)}
    assert shop not in left
    assert {wiki, other} < left
    assert repository.check(undo, data="all").errors == ()


def test_a_repository_that_refuses_deletion_is_seen(
    repository: ResticRepository, undo: RunUndo, tmp_path: Path, repository_path: Path
) -> None:
    kept = _store(repository, undo, tmp_path / "one", "shop")
    folder = str(repository_path / "snapshots")
    if subprocess.run(["chattr", "+a", folder], check=False, capture_output=True, timeout=10).returncode:
        pytest.skip("impossible here: a folder cannot be made append-only (needs root and a disk with attributes)")
    try:
        assert repository.forget([kept], undo) == ForgetEnd(kept=(kept,))
    finally:
        subprocess.run(["chattr", "-a", folder], check=True, timeout=10)


def test_a_run_starts_no_process_for_the_version(
    repository: ResticRepository, make_repository: MakeRepository, undo: RunUndo, tmp_path: Path
) -> None:
    _store(repository, undo, tmp_path / "one", "shop")
    assert repository.processes == 1
    assert make_repository().version() == repository.version()
