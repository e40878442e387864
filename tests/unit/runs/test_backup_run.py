"""A whole backup run over fakes of our ports: what is committed, what it ends with, who is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model.errors import DiskFull, Interrupted, UsageError, WrongPassword
from orchestrator.model.record import RunRecord
from orchestrator.runs import backup as runs
from orchestrator.runs import recording
from orchestrator.runs.toolbox import Toolbox
from tests.unit.fakes import CONTENT, FakeEngine, FakeRepository, box_of


def run(box: Toolbox) -> RunRecord:
    return runs.backup(box, runs.BackupRequest())


def names(record: RunRecord) -> list[str]:
    return [event.name for event in record.events]


def told(box: Toolbox) -> list[str]:
    return [entry.severity for entry in box.catalog.outbox()]


def test_a_good_run_commits_applies_retention_and_checks(tmp_path: Path) -> None:
    repository = FakeRepository()
    box = box_of(tmp_path, repository, FakeEngine(), "main", "more", on="success")
    record = run(box)
    assert (record.result, record.exit_code, names(record)) == ("success", 0, ["run.succeeded"])
    (point,) = box.catalog.points()
    assert (point.whole, [source.name for source in point.sources]) == (True, ["main", "more"])
    assert "check 1/20" in repository.calls
    assert told(box) == ["success"]


def test_one_failing_source_leaves_a_partial_point_and_exit_3(tmp_path: Path) -> None:
    repository = FakeRepository()
    box = box_of(tmp_path, repository, FakeEngine(cut=["bad"]), "bad", "good")
    record = run(box)
    assert (record.result, record.exit_code) == ("partial", 3)
    assert names(record) == ["source.failed", "run.partial"]
    (point,) = box.catalog.points()
    assert [(source.name, source.outcome) for source in point.sources] == [("bad", "failed"), ("good", "taken")]
    assert not point.whole
    assert not [snapshot for snapshot in repository.stored if "bad" in snapshot], "a cut dump was stored"
    assert told(box) == ["failed"]


def test_nothing_is_committed_when_nothing_is_good(tmp_path: Path) -> None:
    repository = FakeRepository()
    box = box_of(tmp_path, repository, FakeEngine(cut=["a"], down=["b"]), "a", "b")
    record = run(box)
    assert (record.result, record.exit_code) == ("failed", 1)
    assert repository.stored == {}
    assert box.catalog.points() == []
    assert names(record) == ["source.failed", "source.failed", "run.failed"]
    assert told(box) == ["failed"]


def test_no_restic_is_started_when_no_source_answers(tmp_path: Path) -> None:
    repository = FakeRepository()
    record = run(box_of(tmp_path, repository, FakeEngine(down=["a"]), "a"))
    assert (record.exit_code, record.services[0].error) == (1, "no source could be stored")
    assert [call for call in repository.calls if call != "snapshots"] == []


@pytest.mark.parametrize("part", ["commit", "stream"])
def test_without_a_point_there_is_no_retention_and_no_check(tmp_path: Path, part: str) -> None:
    repository = FakeRepository(broken={part: DiskFull("no room")})
    box = box_of(tmp_path, repository, FakeEngine(), "main")
    record = run(box)
    assert (record.result, record.exit_code) == ("failed", 4)
    assert box.catalog.points() == []
    assert not [call for call in repository.calls if call.startswith(("forget", "check"))]
    assert ("point.failed" in names(record)) == (part == "commit")


def test_a_failed_check_does_not_undo_the_backup(tmp_path: Path) -> None:
    repository = FakeRepository(damage=("pack 12 is damaged",))
    box = box_of(tmp_path, repository, FakeEngine(), "main")
    record = run(box)
    assert (record.result, record.exit_code) == ("attention", 1)
    assert len(box.catalog.points()) == 1
    assert names(record) == ["verify.failed", "run.attention"]
    assert record.events[-1].message.startswith("backup stored everything, but needs attention: ")
    assert "partial" not in {event.severity for event in record.events}
    assert "pack 12 is damaged" in record.repositories[0].error


def test_a_partial_point_stays_partial_whatever_else_needs_attention(tmp_path: Path) -> None:
    repository = FakeRepository(damage=("pack 12 is damaged",))
    record = run(box_of(tmp_path, repository, FakeEngine(cut=["bad"]), "bad", "good"))
    assert (record.result, record.exit_code, record.events[-1].name) == ("partial", 1, "run.partial")


def test_a_check_that_cannot_run_gives_its_own_code(tmp_path: Path) -> None:
    repository = FakeRepository(broken={"check": WrongPassword("the password is wrong")})
    record = run(box_of(tmp_path, repository, FakeEngine(), "main"))
    assert (record.exit_code, [source.state for source in record.services[0].sources]) == (4, ["taken"])


def test_an_interrupted_run_is_recorded_and_told(tmp_path: Path) -> None:
    repository = FakeRepository()
    box = box_of(tmp_path, repository, FakeEngine(raises={"main": Interrupted("interrupted", 143)}), "main")
    record = run(box)
    assert (record.result, record.exit_code, names(record)) == ("interrupted", 143, ["run.interrupted"])
    assert box.catalog.runs()[0].id == record.id
    assert told(box) == ["failed"]
    assert repository.stored == {}


def test_a_bug_ends_in_a_record_and_a_notification(tmp_path: Path) -> None:
    repository = FakeRepository()
    box = box_of(tmp_path, repository, FakeEngine(raises={"main": ZeroDivisionError("ours")}), "main")
    with pytest.raises(ZeroDivisionError) as caught:
        run(box)
    recording.crashed(box, "backup", caught.value)
    (record,) = box.catalog.runs()
    assert (record.result, record.exit_code) == ("failed", 70)
    assert told(box) == ["failed"]
    assert box.begun == {}
    assert repository.stored == {}


def test_it_works_again_is_told_once(tmp_path: Path) -> None:
    engine, repository = FakeEngine(down=["main"]), FakeRepository()
    box = box_of(tmp_path, repository, engine, "main", on="recovered")
    run(box)
    engine.down = []
    assert "alert.recovered" in names(run(box))
    assert "alert.recovered" not in names(run(box))
    assert told(box) == ["recovered"]


def test_another_machine_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    repository = FakeRepository()
    box = box_of(tmp_path, repository, FakeEngine(), "main")
    run(box)
    before = dict(repository.stored)
    object.__setattr__(box.here, "machine", "another")
    record = run(box)
    assert (record.exit_code, record.result) == (4, "failed")
    assert "--new-machine" in str(record.hint)
    assert repository.stored == before


def test_what_is_not_there_is_refused_before_a_run_begins(tmp_path: Path) -> None:
    box = box_of(tmp_path, FakeRepository(), FakeEngine(), "main")
    with pytest.raises(UsageError, match="no such service"):
        runs.backup(box, runs.BackupRequest(services=("shpo",)))
    assert box.catalog.runs() == []


def test_the_stored_bytes_are_those_of_the_dump(tmp_path: Path) -> None:
    repository = FakeRepository()
    run(box_of(tmp_path, repository, FakeEngine(), "main"))
    assert CONTENT in repository.files.values()
