"""What retention takes away, and when the catalog follows: only proof removes a restore point from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.errors import Precondition, RepositoryLocked, ResguardoError
from orchestrator.model.execution import Undo
from orchestrator.model.point import State
from orchestrator.model.repository import ForgetEnd, Snapshot, SnapshotTags
from orchestrator.report.run_text import run_text
from orchestrator.report.text import retention_text
from orchestrator.runs import rebuild, reconcile, retention
from orchestrator.runs.retention_plan import look
from orchestrator.runs.toolbox import Toolbox
from tests.unit.runs.memory import NOW, MemoryRepository, manifest_of
from tests.unit.runs.test_retention import UNDO, filled, opened


class Killed(BaseException):
    """Stands for a kill -9: nothing catches it."""


@dataclass
class Troubled(MemoryRepository):
    """during: done within the next listing, after it was made · before, after: raised by a forget that did nothing, or
    all · keeps: what it does not delete, as an append-only server · full: raised by prune.
    """

    during: Callable[[], object] | None = None
    before: BaseException | None = None
    after: BaseException | None = None
    keeps: set[str] = field(default_factory=set)
    full: ResguardoError | None = None

    def snapshots(self, undo: object) -> list[Snapshot]:
        found, during = super().snapshots(undo), self.during
        self.during = None
        if during:
            during()
        return found

    def forget(self, ids: Sequence[str], undo: object, *, then: Sequence[str] = ()) -> ForgetEnd:
        if self.before:
            raise self.before
        wanted = [*ids, *then]
        gone = tuple(each for each in wanted if each not in self.keeps and self.stored.pop(each, None))
        if self.after:
            raise self.after
        return ForgetEnd(gone, tuple(each for each in wanted if each in self.keeps))

    def prune(self, undo: object) -> None:
        if self.full:
            raise self.full


def troubled(count: int, **more: Any) -> Troubled:
    made = filled(count)
    return Troubled(stored=made.stored, manifests=made.manifests, **more)


def points(box: Toolbox) -> list[str]:
    return [point.id for point in box.catalog.points()]


def ids(*ages: float) -> list[str]:
    return [manifest_of(age).point for age in ages]


def learnt(box: Toolbox, repository: MemoryRepository) -> None:
    rebuild.learn(box, cast("Any", repository), UNDO)


def dry(box: Toolbox, repository: MemoryRepository) -> Any:
    return look(box, cast("Any", repository), "", UNDO, judge=False)


def test_a_point_committed_while_a_dry_run_lists_is_no_loss(tmp_path: Path) -> None:
    repository = troubled(3)
    with opened(tmp_path, repository) as box:
        learnt(box, repository)
        young = manifest_of(-0.5)

        def commit() -> None:
            commit = repository.store(young)
            box.catalog.add_point(young, "local", {"dumps": f"dumps-{young.point}"}, commit)

        for plan_of in (dry, lambda box, repository: look(box, repository, "", UNDO)):
            repository.during = commit
            plan = plan_of(box, repository)
            assert (plan.gone, plan.brakes) == ((), ())
            assert young.point in points(box)
            assert not any(point.damaged for point in box.catalog.points())
            box.catalog.remove_point(young.point, "local")
            for part in ("commit", "dumps"):
                del repository.stored[f"{part}-{young.point}"]


def test_a_dry_run_judges_nothing_and_shows_what_a_run_would_do(tmp_path: Path) -> None:
    repository = troubled(5)
    with opened(tmp_path, repository, rules="{last: 100}") as box:
        learnt(box, repository)
        del repository.stored[f"dumps-{manifest_of(1).point}"]
        broken = repository.store(manifest_of(7))
        del repository.manifests[broken]
        plan = dry(box, repository)
        assert "the repository lacks 1 of the 10 snapshots" in plan.brakes[0]
        assert [(point.id, point.damaged) for point, _ in plan.removing] == [(*ids(1), True)]
        assert not any(point.damaged for point in box.catalog.points())
        assert box.catalog.events() == []
        look(box, cast("Any", repository), "", UNDO)
        assert [point.id for point in box.catalog.points() if point.damaged] == ids(1)
        assert sorted(event.severity for event in box.catalog.events()) == ["failed", "warning"]


def test_a_point_whose_snapshots_are_listed_again_is_good_again(tmp_path: Path) -> None:
    repository = filled(3)
    with opened(tmp_path, repository) as box:
        learnt(box, repository)
        box.catalog.set_damaged(*ids(2), "local", damaged=True)
        away = [repository.stored.pop(f"dumps-{manifest_of(age).point}") for age in (0, 1, 2)]
        learnt(box, repository)
        assert all(point.damaged for point in box.catalog.points())
        repository.stored |= {each.id: each for each in away}
        learnt(box, repository)
        assert [point.id for point in box.catalog.points() if point.damaged] == ids(2), "what was read stays"


@pytest.mark.parametrize("error", [RepositoryLocked("locked"), Precondition("offline"), Killed()])
def test_points_stay_listed_with_all_they_earned_until_it_is_proved_that_they_went(
    tmp_path: Path, error: BaseException
) -> None:
    repository = troubled(5, before=error)
    with opened(tmp_path, repository) as box:
        learnt(box, repository)
        box.catalog.set_state(*ids(4), "local", "main", State.RESTORED)
        try:
            record = retention.prune(box, force=True, wait=0)
            assert (record.exit_code > 0, record.forgotten) == (True, ())
        except Killed:
            pass
        repository.reads.clear()
        for _ in range(2):
            assert points(box) == ids(0, 1, 2, 3, 4)
            assert box.catalog.points()[-1].state is State.RESTORED
            learnt(box, repository)
        assert repository.reads == []
        repository.stored.pop(f"commit-{manifest_of(4).point}")
        assert "lacks 1 of" in look(box, cast("Any", repository), "", UNDO).brakes[0], "no mark excuses a later loss"


def test_what_a_killed_run_had_forgotten_is_neither_a_loss_nor_damage(tmp_path: Path) -> None:
    repository = troubled(5, after=Killed())
    with opened(tmp_path, repository) as box:
        with pytest.raises(Killed):
            retention.prune(box, force=True, wait=0)
        repository.after = None
        assert points(box) == ids(0, 1, 2, 3, 4)
        plan = dry(box, repository)
        assert (plan.gone, plan.brakes, plan.removing) == ((), (), [])
        plan = look(box, cast("Any", repository), "", UNDO)
        assert (plan.gone, plan.brakes, plan.removing) == ((), (), [])
        assert points(box) == ids(0, 1, 2)
        assert box.catalog.events(name="point.damaged") == []


def test_recovery_lists_a_repository_whose_forgetting_was_cut_off_and_no_other(tmp_path: Path) -> None:
    repository = troubled(5, after=Killed())
    with opened(tmp_path, repository) as box:
        learnt(box, repository)
        repository.during = lambda: pytest.fail("nothing was cut off here")
        reconcile.recover(box)
        repository.during = None
        with pytest.raises(Killed):
            retention.prune(box, force=True, wait=0)
        reconcile.recover(box)
        assert points(box) == ids(0, 1, 2)


def test_what_an_append_only_server_keeps_stays_as_it_was(tmp_path: Path) -> None:
    kept = manifest_of(3).point
    repository = troubled(5, keeps={f"commit-{kept}", f"dumps-{kept}"})
    with opened(tmp_path, repository) as box:
        learnt(box, repository)
        box.catalog.set_damaged(kept, "local", damaged=True)
        record = retention.prune(box, force=True, wait=0)
        assert points(box) == ids(0, 1, 2, 3)
        assert box.catalog.points()[-1].damaged
        assert [gone.point for gone in record.forgotten] == ids(4)
        assert [event.name for event in record.events] == ["retention.refused", "run.failed"]


def test_a_failed_prune_does_not_say_that_nothing_was_forgotten(tmp_path: Path) -> None:
    repository = troubled(5, full=RepositoryLocked("the repository is locked", "wait"))
    with opened(tmp_path, repository) as box:
        record = retention.prune(box, force=True, wait=0)
        assert box.catalog.get("prune.last.local") is None
        assert retention.last_done(box, cast("Any", repository)) == NOW
    assert [event.name for event in record.events] == ["prune.failed", "run.failed"]
    assert record.error == "repository local: forgot 2 restore points, but no space was freed: the repository is locked"
    assert (record.exit_code, record.hint, len(record.forgotten)) == (11, "wait", 2)


def test_points_and_orphans_are_counted_apart(tmp_path: Path) -> None:
    repository = troubled(5)
    dead = manifest_of(9)
    repository.add(dead, "dumps")
    with opened(tmp_path, repository) as box:
        box.catalog.begin(dead.run, "backup", NOW)
        box.catalog.mark_dead(dead.run, NOW)
        plan = look(box, cast("Any", repository), "", UNDO)
        end = retention.apply(box, cast("Any", repository), plan, "", cast("Undo", None), force=True)
    assert end.text == "forgot 2 restore points and 1 orphan"
    assert [gone.point for gone in end.forgotten if gone.orphan] == [dead.point]


def test_the_summary_counts_points_and_orphans_apart(tmp_path: Path) -> None:
    repository = troubled(5)
    dead = manifest_of(9)
    repository.add(dead, "dumps")
    with opened(tmp_path, repository) as box:
        box.catalog.begin(dead.run, "backup", NOW)
        box.catalog.mark_dead(dead.run, NOW)
        text = run_text(retention.prune(box, force=True, wait=0))
        assert [gone.orphan for gone in box.catalog.runs(command="prune")[0].forgotten] == [False, False, True]
    assert "forgotten  2 restore points and 1 orphan" in text
    assert f"forgot orphan {dead.point} (no commit)" in text


def test_a_dry_run_shows_what_another_version_stored_and_leaves_it(tmp_path: Path) -> None:
    repository = troubled(2)
    tags = ["v=9" if tag.startswith("v=") else tag for tag in SnapshotTags("shop", "default", "r", "paths").render()]
    repository.stored["f" * 64] = Snapshot("f" * 64, NOW, "", "hub-01", (), tuple(tags))
    with opened(tmp_path, repository) as box:
        plan = dry(box, repository)
    assert plan.foreign == ("f" * 64,)
    assert "left alone, of another version of resguardo: 1 snapshot (ffffffff)" in retention_text(plan)
