"""States outlive the catalog: manifests tell what older points had earned."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.execution import Undo
from orchestrator.model.manifest import decode, encode
from orchestrator.model.point import State
from orchestrator.model.ports import CheckRecord
from orchestrator.runs import proofs, rebuild, verify
from orchestrator.runs.toolbox import Toolbox
from tests.unit.runs.memory import NOW, MemoryRepository, manifest_of
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
        assert learnt(box, repository) == {newest: State.COMMITTED, old: State.RESTORED, older: State.RESTORED}


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
        assert learnt(box, repository)[old] is State.RESTORED
        assert box.catalog.get("earned.local") == ""


def test_words_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    repository = MemoryRepository()
    old = manifest_of(2)
    repository.store(old)
    repository.store(replace(manifest_of(1), earned={"local": {old.run: {"main": "blessed"}}}))
    with opened(tmp_path, repository) as box:
        assert learnt(box, repository)[old.point] is State.COMMITTED


def test_a_manifest_does_not_vouch_for_its_own_run_nor_for_later_ones(tmp_path: Path) -> None:
    repository = MemoryRepository()
    own, later = manifest_of(2), manifest_of(1)
    states_told = {run: {"main": "restored"} for run in (own.run, later.run)}
    repository.store(replace(own, earned={"local": states_told}))
    with opened(tmp_path, repository) as box:
        assert learnt(box, repository)[own.point] is State.COMMITTED
        repository.store(later)
        assert learnt(box, repository)[later.point] is State.COMMITTED


@pytest.mark.parametrize("emptied", ["items", "sources"])
def test_a_point_that_names_nothing_is_not_whole(tmp_path: Path, emptied: str) -> None:
    repository = MemoryRepository()
    manifest = manifest_of(1)
    none = (replace(manifest.sources[0], items=()),) if emptied == "items" else ()
    repository.store(replace(manifest, sources=none))
    with opened(tmp_path, repository) as box:
        learnt(box, repository)
        (point,) = box.catalog.points()
        assert point.partial
        assert not point.whole


BAD = {
    "infinite": lambda body: body["sources"][0]["items"][0].update(bytes=float("inf")),
    "huge": lambda body: body["sources"][0]["items"][0].update(bytes=2**70),
    "huge count": lambda body: body["sources"][0]["items"][0].update(counts={"rows": 2**70}),
    "no number": lambda body: body["sources"][0]["items"][0].update(seconds=float("nan")),
    "early": lambda body: body.update(time="0001-01-01T00:00:00+14:00"),
    "late": lambda body: body.update(ended="9999-12-31T23:59:59+00:00"),
    "no text": lambda body: body.update(machine="\ud800"),
    "twice": lambda body: body.update(sources=body["sources"] * 2),
    "state": lambda body: body["sources"][0].update(state="odd"),
    "list": lambda body: body["sources"].append([]),
}


@pytest.mark.parametrize("what", list(BAD))
def test_an_unreadable_manifest_is_a_broken_point_and_the_others_are_learnt(tmp_path: Path, what: str) -> None:
    repository = MemoryRepository()
    bad, good = manifest_of(1), manifest_of(2)
    commit = repository.store(bad)
    repository.store(good)
    body = json.loads(repository.manifests[commit])
    BAD[what](body)
    repository.manifests[commit] = json.dumps(body).encode()
    with opened(tmp_path, repository) as box:
        assert list(learnt(box, repository)) == [good.point]
        (event,) = box.catalog.events(name="point.broken")
        assert event.message.startswith(f"{bad.point} is not a restore point: manifest cannot be read: ")


def test_known_damage_outlives_the_catalog_as_what_was_earned_does(tmp_path: Path) -> None:
    repository = MemoryRepository()
    with opened(tmp_path, repository) as box:
        bad, lost = (stored(box, repository, age) for age in (3, 2))
        box.catalog.set_state(bad, "local", "main", State.CHECKED)
        stored(box, repository, 1)
        box.catalog.set_damaged(bad, "local", damaged=True)
        box.catalog.set_missing(lost, "local", missing=True)
        stored(box, repository, 0.5)
    shutil.rmtree(tmp_path / "state")
    with opened(tmp_path, repository) as box:
        assert learnt(box, repository)[bad] is State.COMMITTED
        assert [point.id for point in box.catalog.points() if point.damaged] == [bad]


def test_a_rebuilt_history_is_due_for_a_check_and_status_says_so(tmp_path: Path) -> None:
    repository = cast("Any", MemoryRepository())
    with opened(tmp_path, repository) as box:
        assert not verify.forgotten(box, repository)
        stored(box, repository, 1)
        assert verify.forgotten(box, repository)
        assert verify.due(box, repository) == "it was never done"
        box.catalog.add_check(CheckRecord(NOW, "local", "", "", (), 1.0))
        assert not verify.forgotten(box, repository)
