"""States outlive the catalog: manifests tell what older points had earned."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from orchestrator.model.execution import Undo
from orchestrator.model.manifest import decode, encode
from orchestrator.model.point import State
from orchestrator.runs import proofs, rebuild
from orchestrator.runs.toolbox import Toolbox
from tests.unit.runs.memory import MemoryRepository, manifest_of
from tests.unit.runs.test_retention import opened

UNDO = cast("Undo", None)


def states(box: Toolbox) -> dict[str, State]:
    return {point.id: point.state for point in box.catalog.points()}


def learnt(box: Toolbox, repository: MemoryRepository) -> dict[str, State]:
    rebuild.learn(box, cast("Any", repository), UNDO)
    return states(box)


def stored(box: Toolbox, repository: MemoryRepository, age: float) -> str:
    """Store a point as a run on this catalog would; return its ID."""
    manifest = manifest_of(age)
    manifest = replace(manifest, earned=proofs.to_tell(box, manifest.service, manifest.tier))
    assert decode(encode(manifest)) == manifest
    repository.store(manifest)
    learnt(box, repository)
    return manifest.point


def test_a_rebuild_gets_back_what_was_earned_before_the_newest_backup(tmp_path: Path) -> None:
    repository = MemoryRepository()
    with opened(tmp_path, repository) as box:
        old, older = (stored(box, repository, age) for age in (2, 3))
        box.catalog.set_state(old, "local", "main", State.RESTORED)
        box.catalog.set_state(older, "local", "main", State.PROVEN)
        newest = stored(box, repository, 1)
        box.catalog.set_state(newest, "local", "main", State.CHECKED)
    shutil.rmtree(tmp_path / "state")
    with opened(tmp_path, repository) as box:
        assert learnt(box, repository) == {newest: State.COMMITTED, old: State.RESTORED, older: State.PROVEN}


def test_a_damaged_point_proves_nothing_and_older_manifests_are_not_asked(tmp_path: Path) -> None:
    repository = MemoryRepository()
    with opened(tmp_path, repository) as box:
        bad = stored(box, repository, 3)
        box.catalog.set_state(bad, "local", "main", State.PROVEN)
        stored(box, repository, 2)
        box.catalog.set_damaged(bad, "local", damaged=True)
        stored(box, repository, 1)
    shutil.rmtree(tmp_path / "state")
    with opened(tmp_path, repository) as box:
        assert learnt(box, repository)[bad] is State.COMMITTED


def test_a_backup_between_the_loss_and_the_rebuild_loses_nothing(tmp_path: Path) -> None:
    """The first run after a loss reads the newest manifest alone, and its own manifest must pass on what that told."""
    repository = MemoryRepository()
    with opened(tmp_path, repository) as box:
        old = stored(box, repository, 3)
        box.catalog.set_state(old, "local", "main", State.PROVEN)
        stored(box, repository, 2)
    for _ in range(2):
        shutil.rmtree(tmp_path / "state")
        with opened(tmp_path, repository) as box:
            rebuild.meet(box, cast("Any", repository), UNDO)
            manifest = manifest_of(len(repository.manifests) / -10)
            repository.store(replace(manifest, earned=proofs.to_tell(box, "shop", "default")))
            assert old not in states(box)
    with opened(tmp_path, repository) as box:
        assert learnt(box, repository)[old] is State.PROVEN
        assert box.catalog.get("earned.local") == ""


def test_words_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    repository = MemoryRepository()
    old = manifest_of(2)
    repository.store(old)
    repository.store(replace(manifest_of(1), earned={"local": {old.run: {"main": "blessed"}}}))
    with opened(tmp_path, repository) as box:
        assert learnt(box, repository)[old.point] is State.COMMITTED
