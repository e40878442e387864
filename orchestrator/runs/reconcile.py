"""What every acting command does first: finish what a killed run left, and say so."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.model.errors import ResguardoError, RunLocked
from orchestrator.model.execution import KillProcess, Undo
from orchestrator.model.record import Event
from orchestrator.runs.toolbox import Toolbox


def reconcile(box: Toolbox) -> list[str]:
    """Undo what dead runs left, look after their repository locks, note them as dead; return their IDs.

    A journal stays until its locks were dealt with, so that an unreachable repository is tried again next time. It
    happens under the run lock, since a living run stages at the same paths as a dead one did; a run that holds the
    lock has done all this itself.
    """
    try:
        with box.lock(0.0):
            return _reconcile(box)
    except RunLocked:
        return []


def _reconcile(box: Toolbox) -> list[str]:
    found = []
    for dead in box.dead():
        found.append(dead.run)
        box.catalog.mark_dead(dead.run, box.clock())
        message = f"run {dead.run} was killed; what it left was undone"
        box.event(Event(box.clock(), "run.killed", "warning", message, run=dead.run))
        for problem in dead.problems:
            box.event(Event(box.clock(), "recover.failed", "failed", problem, run=dead.run))
        if not dead.problems and _locks_settled(box, dead.restic):
            dead.forget()
    return found


def _locks_settled(box: Toolbox, processes: Sequence[KillProcess]) -> bool:
    names = {process.repository for process in processes if process.repository in box.repositories}
    if not names:
        return True
    try:
        with box.looking() as undo:
            for name in sorted(names):
                _settle(box, name, processes, undo)
    except ResguardoError as error:
        box.event(Event(box.clock(), "lock.unknown", "warning", error.message, hint=error.hint))
        return False
    return True


def _settle(box: Toolbox, name: str, processes: Sequence[KillProcess], undo: Undo) -> None:
    for event in box.unlock_stale(box.repositories[name], processes, undo):
        box.event(event)
