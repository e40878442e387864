"""Snapshots that got other restic IDs, as `restic copy` and `restic tag` give them, are still those of their points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.planning.listing import may_hold
from orchestrator.runs import rebuild, retention
from orchestrator.runs.retention_plan import look
from tests.unit.runs.memory import MemoryRepository, manifest_of
from tests.unit.runs.test_retention import UNDO, filled, opened


def renamed(repository: MemoryRepository, prefix: str, *, original: bool = True) -> None:
    """Give every snapshot another ID; restic notes the first one."""
    for known, one in list(repository.stored.items()):
        first = (one.original or known) if original else None
        del repository.stored[known]
        repository.stored[f"{prefix}{known}"] = replace(one, id=f"{prefix}{known}", original=first)
        if known in repository.manifests:
            repository.manifests[f"{prefix}{known}"] = repository.manifests.pop(known)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_points_keep_their_snapshots_under_new_ids(tmp_path: Path, rebuilt: bool) -> None:
    repository = filled(3)
    with opened(tmp_path, repository) as box:
        rebuild.rebuild_all(box)
        for prefix in ("copied-", "tagged-"):
            renamed(repository, prefix)
            if rebuilt:
                rebuild.rebuild_all(box)
            plan = look(box, cast("Any", repository), "", UNDO)
            assert (plan.brakes, plan.orphans, plan.lacks, plan.removing) == ((), (), 0, [])
            points = box.catalog.points()
            assert not any(point.damaged for point in points)
            assert {each for point in points for each in point.snapshots.values()} == set(repository.stored)
        retention.prune(box, force=True, wait=0)
        assert len(repository.stored) == 6
        assert len(box.catalog.events(name="point.*")) == 0


def test_a_rebuild_mirrors_known_points_once_more(tmp_path: Path) -> None:
    """What an earlier listing took for lost is found, also where all tags look as they should."""
    repository = filled(2)
    with opened(tmp_path, repository) as box:
        rebuild.rebuild_all(box)
        bad = manifest_of(0)
        snapshots = {"dumps": f"dumps-{bad.point}", "paths": "no-such", "commit": f"commit-{bad.point}"}
        box.catalog.add_point(bad, "local", snapshots, snapshots["commit"])
        box.catalog.set_missing(bad.point, "local", missing=True)
        rebuild.rebuild_all(box)
        assert not any(point.damaged for point in box.catalog.points())


def test_parts_whose_commit_is_there_are_never_removed(tmp_path: Path) -> None:
    """Not even by force, nor where the manifest does not know them under their IDs."""
    repository = filled(5)
    with opened(tmp_path, repository, rules="{last: 100}") as box:
        rebuild.rebuild_all(box)
        for point in box.catalog.points():
            box.catalog.begin(point.run, "backup", point.time)
            box.catalog.mark_dead(point.run, point.time)
        renamed(repository, "strange-", original=False)
        plan = look(box, cast("Any", repository), "", UNDO)
        assert plan.orphans == ()
        assert plan.lacks == 10
        record = retention.prune(box, force=False, wait=0)
        assert (record.hint or "").startswith("`resguardo catalog rebuild` first")
        retention.prune(box, force=True, wait=0)
        assert len([each for each in repository.stored if "dumps" in each]) == 5


def test_no_manifest_is_read_where_nothing_can_be_found(tmp_path: Path) -> None:
    repository = filled(2)
    with opened(tmp_path, repository) as box:
        rebuild.rebuild_all(box)
        repository.stored.pop(f"dumps-{manifest_of(1).point}")
        repository.reads.clear()
        plan = look(box, cast("Any", repository), "", UNDO)
        assert (plan.lacks, repository.reads) == (1, [])


def test_a_place_may_hold_what_its_tags_say() -> None:
    parts = list(filled(1).stored.values())
    assert may_hold(parts, ["commit", "dumps"])
    assert not may_hold(parts, ["commit", "dumps", "paths"])
    assert not may_hold(parts, ["stream:a:b", "dumps"])
