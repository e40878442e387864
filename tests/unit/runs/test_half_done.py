"""What a killed run leaves: noted while it lives, told when it is found, and seen by status before that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.model.execution import KillProcess, Tell
from orchestrator.planning.restore import Where
from orchestrator.report.status import status_text
from orchestrator.runs import backup, reconcile, restore
from orchestrator.runs.status import status
from orchestrator.runs.toolbox import Toolbox
from tests.unit.fakes import FakeEngine, FakeRepository, FakeUndo, box_of
from tests.unit.runs.test_restore_run import backed_up, bring_back

WORDS = "shop/a: 'live-a' was replaced, and what it was is kept as 'live-a_before_X'"


class Watched(FakeUndo):
    """Knows what is pending."""

    def pending(self) -> list[str]:
        return [action.message for action in self.actions if isinstance(action, Tell)]

    def done(self, action_id: str) -> None:
        self.actions[int(action_id) - 1] = None


class Told(FakeEngine):
    """Looks at the notes while it works."""

    look: Callable[[str], None]

    def restore(self, *args: Any) -> Any:
        self.look("restore")
        return super().restore(*args)

    def swap(self, *args: Any) -> Any:
        self.look("swap")
        return super().swap(*args)


@dataclass
class Dead:
    """A run that was killed."""

    run: str
    left: Sequence[Tell] = ()
    restic: Sequence[KillProcess] = ()
    problems: Sequence[str] = ()

    def forget(self) -> None:
        """Nothing is kept."""


def test_a_killed_restore_is_known_at_every_moment(tmp_path: Path) -> None:
    engine, undo, seen = Told(), Watched(), []
    engine.look = lambda at: seen.append((at, undo.pending()))
    box, _ = backed_up(tmp_path, engine, "a", "b")
    engine.places = "server"  # type: ignore[assignment]  # a half-made database is nothing that we could remove
    box = replace(box, open_undo=cast("Any", lambda _run, _also: undo))
    bring_back(box, Where(in_place=True))
    (_, first), (_, second), (_, third), (_, fourth) = seen
    assert ["half made" in note for note in first] == [True]
    assert ["half made" in note for note in second] == [True, True]
    assert [note for note in third if "being replaced" in note]
    assert [note for note in fourth if "was replaced by what" in note and "shop/a" in note]
    assert [("was replaced by what" in note) for note in undo.pending()] == [True, True]


def test_what_a_killed_restore_left_is_told_and_asked_for_until_a_good_one(tmp_path: Path) -> None:
    box, _ = backed_up(tmp_path, FakeEngine(), "a")
    dead = [Dead("20260615T115900Z-abcdef", (Tell(WORDS, "restore again", "shop"),))]
    box = replace(box, dead=lambda: cast("Any", [dead.pop()] if dead else []), unlock_stale=cast("Any", None))
    (buried,) = reconcile.recover(box)
    assert [(event.message, event.hint) for event in buried.left] == [(WORDS, "restore again")]
    (killed,) = box.catalog.events(name="run.killed")
    assert WORDS in killed.message
    assert "undone" not in killed.message
    stands = status(box)
    assert stands.exit_code == 1
    assert WORDS in status_text(stands, box.clock())
    assert restore.restore(box, *_latest(box))[0].exit_code == 0
    assert status(box).left == ()
    assert status(box).exit_code == 0


def _latest(box: Toolbox) -> tuple[restore.RestoreRequest, Any]:
    request = restore.RestoreRequest("shop", restore.Choice(), Where(in_place=True))
    return request, restore.plan(box, request)


@pytest.mark.parametrize(("dead", "level", "code"), [(True, "failed", 1), (False, "unproven", 0)])
def test_a_killed_backup_is_seen_before_it_is_recovered(
    dead: bool,
    level: str,
    code: int,
    tmp_path: Path,
) -> None:
    box, _ = backed_up(tmp_path, FakeEngine(), "a")
    box.catalog.begin("20260615T130000Z-abcdef", "backup", box.clock() + timedelta(minutes=1))
    late = box.clock() + timedelta(hours=1)
    stands = status(replace(box, is_dead=lambda _run: dead, clock=lambda: late))
    assert ([service.level for service in stands.services], stands.exit_code) == ([level], code)
    assert ("cut off" in stands.services[0].message) == dead


def test_a_killed_backup_is_over_with_the_next_good_one(tmp_path: Path) -> None:
    box = box_of(tmp_path, FakeRepository(), FakeEngine(), "a")
    box.catalog.begin("20260615T110000Z-abcdef", "backup", box.clock() - timedelta(hours=1))
    box = replace(box, is_dead=lambda _run: True)
    assert status(box).exit_code == 1
    assert backup.backup(box, backup.BackupRequest(verify=False)).exit_code == 0
    assert status(box).exit_code == 0
