"""Time and bytes of the sources of one point; errors of the machine below us; what a run could not undo."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import DeadlineExceeded, DiskFull, Precondition
from orchestrator.model.execution import Undo
from orchestrator.model.manifest import decode
from orchestrator.planning.backup import PlannedItem, PlannedSource, slow_repository
from orchestrator.runs import backup as runs
from orchestrator.runs.data import RepositoryData, awaited
from orchestrator.runs.outside import explained
from orchestrator.runs.taken import Clocks, Moved
from tests.unit.fakes import FakeEngine, FakeIntake, FakeRepository, FakeUndo, box_of

SOURCE = Source("shop", "main", "fake", "default", 60.0, None, cast("Any", None))
ITEMS = tuple(PlannedItem(Item(SOURCE, name, "db"), "stream", f"{name}.db") for name in ("one", "two"))
PLANNED = PlannedSource(SOURCE, ITEMS)


def test_a_clock_stands_while_none_of_its_items_moves() -> None:
    now = [0.0]
    clocks = Clocks(lambda: now[0])
    now[0] = 7200.0  # in the queue
    assert clocks.left(PLANNED) == 60.0
    with clocks.running(PLANNED):
        now[0] += 20
        with clocks.running(PLANNED):  # side by side: counted once
            now[0] += 5
        assert clocks.left(PLANNED) == 35.0
    now[0] += 7200.0  # the second item waits behind others
    assert clocks.left(PLANNED) == 35.0
    with clocks.running(PLANNED):
        now[0] += 50
        assert clocks.left(PLANNED) == 1.0


class _Shown:
    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def start(self, source: str, expected: int | None = None) -> None:
        self.calls.append(("start", source))

    def update(self, source: str, done: int) -> None:
        self.calls.append(("update", done))


def test_the_bytes_of_a_sources_items_are_summed_behind_one_bar() -> None:
    shown = _Shown()
    moved = Moved(cast("Any", shown))
    for item, done in ((0, 100), (1, 10), (0, 150)):
        moved.start(PLANNED)
        moved.update(PLANNED, ITEMS[item], done)
    assert shown.calls == [("start", "shop/main"), ("update", 100), ("update", 110), ("update", 160)]


class _NoDeadline(FakeRepository):
    """Remembers the deadline that each restic was given."""

    deadlines: dict[str, object]

    def backup_stream(self, filename: str, command: Any, tags: Any, undo: object, **more: object) -> Any:
        self.__dict__.setdefault("deadlines", {})[tags.part] = more.get("deadline")
        return super().backup_stream(filename, command, tags, undo, **more)


def test_the_commit_may_wait_for_its_turn_as_long_as_it_takes(tmp_path: Path) -> None:
    repository = _NoDeadline()
    assert runs.backup(box_of(tmp_path, repository, FakeEngine(), "main"), runs.BackupRequest()).exit_code == 0
    assert repository.deadlines["commit"] is None
    assert repository.deadlines["stream"] == pytest.approx(120, abs=2)


class _Slow(FakeRepository):
    """It takes bytes so slowly that a pump waits for it."""

    waited: float = 0.0

    def intake(self, _undo: object) -> FakeIntake:
        made = super().intake(_undo)
        made.waited = self.waited
        return made


@pytest.mark.parametrize(("waited", "said"), [(400.0, True), (299.0, False)])
def test_a_repository_slower_than_the_dump_is_said(tmp_path: Path, waited: float, said: bool) -> None:
    repository = _Slow()
    repository.waited = waited
    record = runs.backup(box_of(tmp_path, repository, FakeEngine(), "main"), runs.BackupRequest())
    (source,) = record.services[0].sources
    assert source.state == "taken"
    assert ["waited 7 of its" in finding.message for finding in source.findings] == [True] * said


def test_a_dump_that_takes_long_by_itself_is_not_the_repositorys_fault() -> None:
    assert slow_repository(400, 801, "local") is None
    found = slow_repository(400, 800, "local")
    assert found is not None
    assert "waited 7 of its 13 minutes for repository local" in found.message
    assert found.level == "warning"


def test_no_descriptors_for_a_commit_is_its_points_failure(tmp_path: Path) -> None:
    repository = FakeRepository()

    def refuse(_undo: Undo) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    box = replace(box_of(tmp_path, repository, FakeEngine(), "main"), open_intake=refuse)
    record = runs.backup(box, runs.BackupRequest())
    assert (record.exit_code, record.result) == (4, "failed")
    assert record.services[0].error == "too many open files"
    assert box.catalog.runs()[0].id == record.id


def test_what_an_error_of_the_machine_means() -> None:
    full = explained(OSError(errno.ENOSPC, "No space left on device", "/srv/x"))
    assert (type(full), full.message) == (DiskFull, "no space left on device: /srv/x")
    assert "limits" in str(explained(OSError(errno.EMFILE, "Too many open files")).hint)
    assert type(explained(OSError(errno.EIO, "Input/output error"))) is Precondition


def test_what_could_not_be_undone_is_in_the_record_and_told(tmp_path: Path) -> None:
    left = FakeUndo(problems=("directory /run/x: cannot be removed",))
    made = box_of(tmp_path, FakeRepository(), FakeEngine(), "main", on="recover.failed")
    box = replace(made, open_undo=cast("Any", lambda _run, _also: left))
    record = runs.backup(box, runs.BackupRequest())
    assert record.exit_code == 1
    assert record.result != "success"
    assert record.events[0].name == "recover.failed"
    assert len(list(box.catalog.outbox())) == 1
    assert [event.name for event in box.catalog.events(name="recover.failed")] == ["recover.failed"]


class _Changing(FakeRepository):
    """Its restic is replaced by a newer one whenever it is asked for."""

    asked: int = 0

    def version(self) -> str:
        self.asked += 1
        return f"0.18.{self.asked}"


def test_the_catalog_mirrors_the_manifest_that_was_committed(tmp_path: Path) -> None:
    repository = _Changing()
    box = box_of(tmp_path, repository, FakeEngine(), "main")
    runs.backup(box, runs.BackupRequest())
    (stored,) = [data for (snapshot, _), data in repository.files.items() if snapshot.startswith("commit")]
    mirrored = box.catalog.newest_manifest("local")
    assert mirrored is not None
    assert dict(mirrored.tools) == dict(decode(stored).tools)


def test_a_dump_that_gives_no_byte_is_given_up() -> None:
    read, write = os.pipe()
    try:
        with pytest.raises(DeadlineExceeded, match=r"no byte for 0\.05 s"):
            awaited(read, 0.05)
        os.write(write, b"x")
        assert awaited(read, 0.05) == b"x"
    finally:
        os.close(read)
        os.close(write)


class _Frozen:
    """A repository whose restic never writes, until it is stopped."""

    def dump(self, snapshot: str, path: str, stdout: int, undo: object) -> Any:
        self.held = os.dup(stdout)
        return self

    def wait(self) -> None:
        raise AssertionError("it was asked for an end that never comes")

    def stop(self) -> None:
        if self.held >= 0:
            os.close(self.held)
            self.held = -1


def test_a_restore_whose_restic_stands_still_ends() -> None:
    with (
        RepositoryData(cast("Any", _Frozen()), "s", "/x", 10, None, FakeUndo(), stall=0.05) as data,
        pytest.raises(DeadlineExceeded, match="no byte"),
    ):
        data.finish()
