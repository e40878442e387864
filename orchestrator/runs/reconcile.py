"""What every acting command does first: finish what a killed run left, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.model.errors import Interrupted, ResguardoError, RunLocked
from orchestrator.model.execution import KillProcess
from orchestrator.model.record import Event
from orchestrator.runs import rebuild
from orchestrator.runs.notify import announce_events
from orchestrator.runs.toolbox import DeadRun, Toolbox


def reconcile(box: Toolbox) -> list[Buried]:
    """Undo what dead runs left, unless another run holds the lock: that one has done it. See `recover`."""
    try:
        return recover(box)
    except RunLocked:
        return []


@dataclass(frozen=True)
class Buried:
    """A dead run that was looked after. left: what the user has to know, of severity failed."""

    run: str
    left: tuple[Event, ...] = ()


def recover(box: Toolbox) -> list[Buried]:
    """Undo what dead runs left, look after their repository locks, note them as dead and tell of it; return them.

    It happens under the run lock, since a living run stages at the same paths as a dead one did. A journal stays until
    its locks were dealt with, so that an unreachable repository is tried again next time. Raises RunLocked.
    """
    with box.lock(0.0):
        known = box.catalog.dead_runs()
        found = []
        for dead in box.dead():
            events = _bury(box, dead, new=dead.run not in known)
            found.append(Buried(dead.run, tuple(event for event in events if event.name.startswith("recover."))))
            for event in events:
                box.event(event)
            announce_events(box, events)
        _finish_forgetting(box)
        return found


def _finish_forgetting(box: Toolbox) -> None:
    for repository in box.repositories.values():
        try:
            rebuild.finish_forgetting(box, repository)
        except Interrupted:
            raise
        except ResguardoError:  # tried again by the next command; one that needs the repository tells of it
            continue


def _bury(box: Toolbox, dead: DeadRun, *, new: bool) -> list[Event]:
    box.catalog.mark_dead(dead.run, box.clock())
    events = []
    if new:
        message = f"run {dead.run} was killed; {_fate(dead)}"
        events.append(Event(box.clock(), "run.killed", "warning", message, run=dead.run))
        events += [
            Event(box.clock(), "recover.left", "failed", tell.message, dead.run, tell.service, hint=tell.hint)
            for tell in dead.left
        ]
    events += [Event(box.clock(), "recover.failed", "failed", problem, run=dead.run) for problem in dead.problems]
    settled, told = _settle_locks(box, dead.restic)
    if settled and not dead.problems:
        dead.forget()
    return [*events, *told]


def _fate(dead: DeadRun) -> str:
    if not dead.left:
        return "what it left was undone" if not dead.problems else "not all that it left could be undone"
    return "its processes and plaintext are gone; this stays: " + "; ".join(tell.message for tell in dead.left)


def _settle_locks(box: Toolbox, processes: Sequence[KillProcess]) -> tuple[bool, list[Event]]:
    names = sorted({process.repository for process in processes if process.repository in box.repositories})
    events: list[Event] = []
    try:
        for name in names:
            with box.looking() as undo:
                events += box.unlock_stale(box.repositories[name], processes, undo)
    except ResguardoError as error:
        return False, [*events, _unknown(box, error)]
    return True, events


def look_after_locks(box: Toolbox, *, asked: bool) -> list[Event]:
    """Look at every repository's locks; return an event for each that was removed (`asked` for) or is left, and why.

    A repository that cannot be looked at is an event too. Raises RunLocked.
    """
    events: list[Event] = []
    with box.lock(0.0):
        for repository in box.repositories.values():
            try:
                with box.looking() as undo:
                    events += box.unlock_stale(repository, (), undo, asked=asked)
            except Interrupted:
                raise
            except ResguardoError as error:
                events.append(_unknown(box, error))
    for event in events:
        box.event(event)
    return events


def _unknown(box: Toolbox, error: ResguardoError) -> Event:
    return Event(box.clock(), "lock.unknown", "warning", error.message, hint=error.hint)
