"""A whole restore and a whole verify over fakes of our ports: the order of steps, and what stops them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.engine import Source
from orchestrator.model.errors import DiskFull, Interrupted, Precondition
from orchestrator.model.point import State
from orchestrator.model.record import RestoredItem, RunRecord
from orchestrator.planning.restore import Where
from orchestrator.planning.select import Choice
from orchestrator.runs import backup, restore, verify
from orchestrator.runs.toolbox import Toolbox
from tests.unit.fakes import FakeEngine, FakeProgress, FakeRepository, box_of


def backed_up(folder: Path, engine: FakeEngine, *sources: str) -> tuple[Toolbox, FakeRepository]:
    repository = FakeRepository()
    box = box_of(folder, repository, engine, *sources)
    assert backup.backup(box, backup.BackupRequest(verify=False)).exit_code == 0
    return box, repository


def bring_back(box: Toolbox, where: Where) -> tuple[RunRecord, Sequence[RestoredItem]]:
    request = restore.RestoreRequest("shop", Choice(), where)
    return restore.restore(box, request, restore.plan(box, request))


def states(box: Toolbox) -> list[State]:
    (point,) = box.catalog.points()
    return [source.state for source in point.sources]


def test_everything_is_checked_before_anything_is_swapped(tmp_path: Path) -> None:
    engine = FakeEngine()
    box, _ = backed_up(tmp_path, engine, "a", "b")
    record, items = bring_back(box, Where(in_place=True))
    assert engine.done == ["restore a", "verify a", "restore b", "verify b", "swap a", "swap b"]
    assert (record.exit_code, [item.state for item in items]) == (0, ["restored", "restored"])
    assert all(item.kept for item in items)
    assert states(box) == [State.RESTORED, State.RESTORED]
    assert not any(item.findings for item in items), "they are no copies any more"


def test_what_concerns_a_copy_is_said_of_one(tmp_path: Path) -> None:
    box, _ = backed_up(tmp_path, FakeEngine(), "a")
    _, (item,) = bring_back(box, Where(name="b"))
    assert [finding.message for finding in item.findings] == ["b is a copy"]


def test_nothing_is_swapped_after_a_failed_check(tmp_path: Path) -> None:
    engine = FakeEngine(wrong=["b"])
    box, _ = backed_up(tmp_path, engine, "a", "b")
    record, items = bring_back(box, Where(in_place=True))
    assert [step for step in engine.done if step.startswith("swap")] == []
    assert [item.state for item in items] == ["skipped", "failed"]
    assert (record.result, record.exit_code) == ("failed", 1)
    assert states(box) == [State.COMMITTED, State.COMMITTED]


def test_a_swap_that_fails_stops_those_after_it(tmp_path: Path) -> None:
    engine = FakeEngine(stuck=["b"])
    box, _ = backed_up(tmp_path, engine, "a", "b", "c")
    record, items = bring_back(box, Where(in_place=True))
    assert [step for step in engine.done if step.startswith("swap")] == ["swap a"]
    assert [item.state for item in items] == ["restored", "failed", "skipped"]
    assert record.exit_code == 3


def test_a_signal_during_the_swaps_ends_the_run_as_interrupted(tmp_path: Path) -> None:
    engine = FakeEngine(halts={"b": Interrupted("told to stop")})
    box, _ = backed_up(tmp_path, engine, "a", "b", "c")
    record, items = bring_back(box, Where(in_place=True))
    assert (record.result, record.exit_code) == ("interrupted", 130)
    assert [item.state for item in items] == ["restored", "skipped", "skipped"]
    assert (items[0].target, items[0].kept != "") == ("live-a", True)
    assert states(box) == [State.RESTORED, State.COMMITTED, State.COMMITTED]


def test_what_cannot_be_swapped_is_refused_before_data_is_read(tmp_path: Path) -> None:
    engine = FakeEngine(fixed=["b"])
    box, _ = backed_up(tmp_path, engine, "a", "b")
    with pytest.raises(Precondition, match="b cannot be swapped: it is a mount point"):
        bring_back(box, Where(in_place=True))
    assert not engine.done
    assert bring_back(box, Where())[0].exit_code == 0


def test_every_source_ends_on_the_terminal(tmp_path: Path) -> None:
    box, _ = backed_up(tmp_path, FakeEngine(wrong=["a"]), "a", "b")
    shown = FakeProgress()
    bring_back(replace(box, progress=cast("Any", shown)), Where())
    assert (shown.open, shown.ended) == (set(), {"shop/a": "failed", "shop/b": "restored"})


def test_to_a_new_place_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    engine = FakeEngine(wrong=["a"])
    box, _ = backed_up(tmp_path, engine, "a", "b")
    record, items = bring_back(box, Where())
    assert [item.state for item in items] == ["failed", "restored"]
    assert (record.result, record.exit_code) == ("partial", 3)
    assert states(box) == [State.COMMITTED, State.RESTORED]
    assert not [step for step in engine.done if step.startswith("swap")]


def test_damaged_bytes_are_never_taken_for_restored(tmp_path: Path) -> None:
    engine = FakeEngine()
    box, repository = backed_up(tmp_path, engine, "a")
    key = next(place for place in repository.files if place[0].startswith("stream-a"))
    repository.files[key] = repository.files[key][:-1] + b"?"
    record = verify.verify(box, data=None, point=box.catalog.points()[0].id, wait=0.0)
    assert (record.result, record.exit_code) == ("failed", 1)
    assert [event.name for event in record.events] == ["point.damaged", "run.failed"]
    assert box.catalog.points()[0].damaged
    assert states(box) == [State.COMMITTED]


def test_a_point_that_reads_back_is_checked_and_no_more(tmp_path: Path) -> None:
    box, _ = backed_up(tmp_path, FakeEngine(), "a")
    assert verify.verify(box, data=None, point=box.catalog.points()[0].id, wait=0.0).exit_code == 0
    assert states(box) == [State.CHECKED]


def test_damage_is_remembered_until_all_data_was_clean(tmp_path: Path) -> None:
    box, repository = backed_up(tmp_path, FakeEngine(), "a")
    repository.damage = ("pack 12 is damaged",)
    assert verify.verify(box, data="all", point=None, wait=0.0).exit_code == 1
    repository.damage = ()
    assert verify.verify(box, data="5%", point=None, wait=0.0).exit_code == 0
    assert verify.damage(box, box.repositories["local"])
    assert verify.verify(box, data="all", point=None, wait=0.0).exit_code == 0
    assert verify.damage(box, box.repositories["local"]) == ""


class _OnDisk(FakeEngine):
    """Restores to a path."""

    def originals(self, source: Source) -> Mapping[str, str]:
        return {"all": f"/{source.name}"}


def test_a_dry_run_foretells_that_there_is_no_room(tmp_path: Path) -> None:
    box, _ = backed_up(tmp_path, _OnDisk(places="path"), "a")
    full = replace(box, here=replace(box.here, free=lambda _path: 0))
    request = restore.RestoreRequest("shop", Choice(), Where(in_place=True))
    assert restore.plan(box, request).steps
    with pytest.raises(DiskFull, match="0 B free"):
        restore.plan(full, request)
