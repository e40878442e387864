"""Restore points that are gone: another disk, an empty mount point, snapshots removed or rewritten by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.errors import DataDamaged, Precondition, RepositoryMissing
from orchestrator.model.execution import Undo
from orchestrator.model.repository import CheckEnd, Snapshot
from orchestrator.report.status import rebuilt_text, status_text
from orchestrator.report.text import state_word
from orchestrator.runs import backup as backups
from orchestrator.runs import doctor, identity, rebuild, retention, verify
from orchestrator.runs.initialize import initialize
from orchestrator.runs.retention_plan import look
from orchestrator.runs.status import status
from orchestrator.runs.toolbox import Toolbox
from tests.unit.fakes import FakeEngine, FakeRepository, box_of
from tests.unit.runs.memory import NOW, MemoryRepository, manifest_of, toolbox

UNDO = cast("Undo", None)


@dataclass
class Disk(MemoryRepository):
    """A repository on a disk that can be changed for another one."""

    config: str | None = "first"
    errors: tuple[str, ...] = ()
    kept: dict[str, Snapshot] = field(default_factory=dict)

    def exists(self, undo: object) -> bool:
        return self.config != ""

    def init(self, undo: object) -> None:
        self.config = "new"

    def unplug(self, config: str = "") -> None:
        self.kept, self.stored, self.config = self.stored, {}, config

    def plug(self) -> None:
        self.stored, self.config = self.kept, "first"

    def check(self, undo: object, *, data: str | None = None) -> CheckEnd:
        return CheckEnd(self.errors)

    def dump(self, snapshot: str, path: str, stdout: int, undo: object) -> Any:
        raise DataDamaged(f"{snapshot} cannot be read")


@pytest.fixture
def disk() -> Disk:
    disk = Disk()
    for age in range(2):
        disk.store(manifest_of(age))
    return disk


@pytest.fixture
def box(tmp_path: Path, disk: Disk) -> Iterator[Toolbox]:
    box = toolbox(tmp_path, disk)
    rebuild.rebuild_all(box)
    yield box
    cast("Any", box.catalog).close()


def words(box: Toolbox) -> list[str]:
    return [state_word(point) for point in box.catalog.points()]


def test_init_creates_nothing_where_points_are_known_unless_told(box: Toolbox, disk: Disk) -> None:
    disk.unplug()
    with pytest.raises(RepositoryMissing, match="the catalog knows 2 restore points") as refused:
        initialize(box)
    assert (refused.value.hint or "").startswith("is its disk mounted")
    assert disk.config == ""
    assert [done for _, done in initialize(box, replace_lost=True)] == ["created"]
    assert words(box) == ["lost", "lost"]
    assert not identity.changed(box, cast("Any", disk))


def test_init_does_not_take_another_repository_for_the_known_one(box: Toolbox, disk: Disk) -> None:
    disk.unplug("other")
    with pytest.raises(Precondition, match="another one stands at"):
        initialize(box)
    initialize(box, replace_lost=True)
    initialize(box)


@pytest.mark.parametrize(("found", "error"), [("", RepositoryMissing), ("other", Precondition)])
def test_a_backup_does_not_go_on_elsewhere(tmp_path: Path, found: str, error: type[Exception]) -> None:
    repository = FakeRepository(config="first")
    box = box_of(tmp_path, repository, FakeEngine(), "main")
    assert backups.backup(box, backups.BackupRequest()).exit_code == 0
    stored, repository.stored, repository.config = repository.stored, {}, found
    record = backups.backup(box, backups.BackupRequest())
    assert (record.exit_code, repository.stored) == (4, {})
    assert (record.hint or "").startswith("is its disk mounted")
    repository.stored, repository.config = stored, "first"
    assert backups.backup(box, backups.BackupRequest()).exit_code == 0
    assert [point.lost for point in box.catalog.points()] == [False, False]


def test_an_upgraded_repository_is_still_the_same(box: Toolbox, disk: Disk) -> None:
    disk.config = "second format"
    assert identity.changed(box, cast("Any", disk))
    rebuild.rebuild_all(box)
    assert not identity.changed(box, cast("Any", disk))


def test_doctor_asks_for_the_disk_once_points_are_known(box: Toolbox, disk: Disk, tmp_path: Path) -> None:
    assert identity.absent_hint(box, cast("Any", disk)).startswith("is its disk mounted")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    empty = toolbox(fresh, Disk())
    assert identity.absent_hint(empty, cast("Any", Disk())) == "create it with resguardo init"
    cast("Any", empty.catalog).close()
    assert "identity" in vars(doctor)


def test_a_listing_says_what_is_gone_and_what_is_there_again(box: Toolbox, disk: Disk) -> None:
    disk.unplug("other")
    rebuilt = rebuild.rebuild_all(box)
    assert len(rebuilt.lost) == 2
    page = status(box)
    assert (page.exit_code, page.services[0].level, page.repositories[0].lost) == (1, "lost", 2)
    assert "2 restore points gone from repository local" in status_text(page, NOW)
    (event,) = box.catalog.events(name="point.lost")
    assert event.message.startswith("2 restore points are gone from repository local: ")
    disk.plug()
    assert rebuild.rebuild_all(box).lost == ()
    assert words(box) == ["committed", "committed"]
    assert "none of them new" in rebuilt_text("hub-01", 2, 0)


def test_prune_on_another_disk_asks_for_the_right_one(box: Toolbox, disk: Disk) -> None:
    disk.unplug("other")
    record = retention.prune(box, force=False, wait=0)
    assert (record.result, record.hint) == ("refused", identity.OTHER)


def test_reading_a_point_that_is_gone_condemns_nothing_else(box: Toolbox, disk: Disk) -> None:
    ghost = manifest_of(1).point
    del disk.stored[f"dumps-{ghost}"]
    record = verify.verify(box, data=None, point=ghost, wait=0)
    assert (record.exit_code, record.events[0].name) == (1, "point.lost")
    assert (record.hint or "").startswith("is the right disk mounted")
    assert verify.damage(box, cast("Any", disk)) == ""
    assert [(point.damaged, point.lost) for point in box.catalog.points()] == [(False, False), (True, True)]
    disk.add(manifest_of(1), "dumps")
    look(box, cast("Any", disk), "", UNDO)
    assert words(box) == ["committed", "committed"]


def test_a_point_that_is_there_and_cannot_be_read_is_damaged(box: Toolbox, disk: Disk) -> None:
    verify.verify(box, data=None, point=manifest_of(1).point, wait=0)
    assert "cannot be read" in verify.damage(box, cast("Any", disk))
    assert words(box) == ["committed", "committed, damaged"]


def test_verify_of_a_sound_repository_says_what_it_lost(box: Toolbox, disk: Disk) -> None:
    """restic's own repair gives a rewritten snapshot another ID: what was committed is not there any more."""
    rewritten = disk.stored.pop(f"commit-{manifest_of(1).point}")
    record = verify.verify(box, data="all", point=None, wait=0)
    assert (record.exit_code, record.events[0].name) == (1, "point.lost")
    assert words(box) == ["committed", "lost"]
    disk.stored[rewritten.id] = rewritten
    assert verify.verify(box, data="all", point=None, wait=0).exit_code == 0


def test_damage_is_told_with_what_it_is_about_and_what_to_do(box: Toolbox, disk: Disk) -> None:
    disk.errors = ("error for tree d1c61996:\n\n  pack 25ab: ciphertext verification failed\n", "x" * 1000, "c", "d")
    record = verify.verify(box, data="all", point=None, wait=0)
    assert "error for tree d1c61996: pack 25ab: ciphertext verification failed; xxx" in record.error
    assert "\n" not in record.error
    assert record.error.endswith("… ; c (and 1 more)".replace("… ;", "…;"))
    assert len(record.error) < 500
    assert "The repository may be damaged" in (record.hint or "")
    assert "`resguardo status`" in (record.hint or "")


def test_the_brake_of_disproved_damage_says_how_it_ends(box: Toolbox, disk: Disk) -> None:
    disk.errors = ("pack 1 is damaged",)
    verify.verify(box, data="all", point=None, wait=0)
    retention.prune(box, force=False, wait=0)
    stands = status(box).repositories[0].retention
    assert stands
    assert stands.hint == retention.MEND
    disk.errors = ()
    verify.verify(box, data="all", point=None, wait=0)
    stands = status(box).repositories[0].retention
    assert stands
    assert stands.hint == (
        "that damage was disproved at 2026-06-15 12:00 UTC: the next `resguardo prune`, or retention when it is due,"
        " ends this"
    )


@pytest.mark.parametrize(("texts", "brakes"), [("same", False), ("changed", True)])
def test_a_lost_catalog_without_rules_goes_by_the_policy_of_every_point(
    tmp_path: Path, texts: str, brakes: bool
) -> None:
    from dataclasses import replace  # noqa: PLC0415

    disk = Disk()
    box = toolbox(tmp_path, disk, rules="{last: 3}")
    now = box.config.texts["policy.yml"]
    for age in range(10):
        old = texts == "changed" and age == 9
        disk.store(replace(manifest_of(age), files={"policy.yml": f"# before\n{now}" if old else now}))
    plan = look(box, cast("Any", disk), "", UNDO)
    cast("Any", box.catalog).close()
    assert len(plan.removing) == 7
    assert bool(plan.brakes) == brakes
    assert all("this catalog is new" in text for text in plan.brakes)
