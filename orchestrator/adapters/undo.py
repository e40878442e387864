"""What must be undone if we die: the living run's side (`RunUndo`) and the side of who comes after (`reconcile`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.adapters import journal, sentinel
from orchestrator.adapters.interrupts import poll
from orchestrator.adapters.journal import Journal, Owner
from orchestrator.adapters.spawn import spawn
from orchestrator.adapters.state import StateFolder
from orchestrator.model.errors import DataDamaged, Precondition, ResguardoError
from orchestrator.model.execution import Action, KillProcess, PutBack, RemoveInside, RemovePath, Tell
from orchestrator.model.failpoints import reach
from orchestrator.model.names import RESTORING

ACKNOWLEDGED = 60.0  # seconds: a journal on a disk that takes longer to write is as good as lost
GOODBYE = 5.0
UNDOING = 20.0  # a sentinel at work needs at most GRACE + KILLED for restic and as much again for dumps


class RunUndo:
    """One run's list of what must be undone, fulfilling the port `Undo`; thread-safe.

    also: beginnings of paths outside the state folder that this run makes and may remove. Journal and sentinel come
    into being with the first action. `close()` is the orderly end; who leaves without it is
    taken for dead by the sentinel.
    """

    def __init__(self, state: StateFolder, run: str, *, also: Sequence[str] = (), python: str = sys.executable) -> None:
        self.run = run
        self.problems: tuple[str, ...] = ()
        self._state = state
        self._removable = (*state.removable(), *also)
        self._python = python
        self._lock = threading.Lock()
        self._link: socket.socket | None = None
        self._sentinel = 0
        self._lost = False
        self._journal = ""
        self._held = -1  # the journal: our half of its lock, which is free when sentinel and owner are dead
        self._pending: dict[str, Action] = {}

    def __enter__(self) -> RunUndo:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def sentinel(self) -> int:
        """The sentinel's PID; 0 before the first action."""
        return self._sentinel

    def register(self, action: Action) -> str:
        """Return the action's ID once it is on disk and the sentinel knows it.

        Raises ResguardoError when the sentinel is gone or refuses: then the action must not be done.
        """
        with self._lock:
            order = {"do": "register", "action": asdict(action), "durable": self._outlasts_power(action)}
            answer = self._ask(self._started(), order)
            if "id" not in answer:
                raise ResguardoError(f"run {self.run}: {answer['error']}", hint="nothing was started")
            self._pending[answer["id"]] = action
        reach("journal.appended")
        return str(answer["id"])

    def _outlasts_power(self, action: Action) -> bool:
        """Whether what must be undone is still there after the machine lost power: then the journal is synced first.

        Processes are not, nor is what lies in memory (/run); a process's death alone loses nothing that was written.
        """
        if isinstance(action, RemovePath):
            return not action.path.startswith("/run/")
        if isinstance(action, RemoveInside):
            return not action.volatile
        return isinstance(action, (PutBack, Tell))

    def done(self, action_id: str) -> None:
        """Say that this needs no undoing any more. Never raises: a dead sentinel is found by the next register."""
        with self._lock:
            self._pending.pop(action_id, None)
            if self._link is not None:
                try:
                    self._link.send(json.dumps({"do": "done", "id": action_id}).encode())
                except OSError:
                    return

    def close(self) -> None:
        """End in order: undo here what is still pending, drop the journal, dismiss the sentinel; safe to call again.

        What could not be undone stands in `problems`; the journal then stays for `reconcile`.
        """
        with self._lock:
            if self._link is None:
                return
            actions = [asdict(action) for action in self._pending.values()]
            self.problems = tuple(sentinel.undo(actions, asdict(Owner.me()), self._removable))
            if not self.problems:
                os.unlink(self._journal)
                self._pending.clear()
            self._dismiss(self._link)
            self._link = None

    def _started(self) -> socket.socket:
        if self._link is None:
            self._held, self._journal = journal.create(self._state.holds, self.run, self._removable)
            reach("journal.created")
            self._link = self._start_sentinel()
        return self._link

    def _start_sentinel(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = {sentinel.SOCKET: theirs.fileno(), sentinel.JOURNAL: self._held}
            argv = (self._python, "-I", "-S", sentinel.__file__)
            try:
                self._sentinel = spawn(argv, {"LC_ALL": "C.UTF-8"}, fds)
            except OSError as error:
                ours.close()
                os.unlink(self._journal)
                os.close(self._held)
                raise Precondition(
                    f"the sentinel cannot be started: {self._python}: {error.strerror}",
                    hint="see the limits of processes and memory",
                ) from error
        return ours

    def _ask(self, link: socket.socket, request: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            if not self._lost:
                link.send(json.dumps(request).encode())
                if poll([link.fileno()], ACKNOWLEDGED) and (reply := link.recv(sentinel.LONGEST)):
                    answer: Mapping[str, Any] = json.loads(reply)
                    return answer
        except ConnectionError:
            pass  # said below
        self._lost = True  # a late answer must not be taken for that to a later question
        raise ResguardoError(
            f"run {self.run}: its sentinel (process {self._sentinel}) does not answer",
            hint="it was killed or the disk of the state folder hangs; run again",
        )

    def _dismiss(self, link: socket.socket) -> None:
        with suppress(OSError):  # it is gone already
            link.send(json.dumps({"do": "goodbye"}).encode())
        pidfd = os.pidfd_open(self._sentinel)
        try:
            if not poll([pidfd], GOODBYE):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(self._sentinel, 0)
        finally:
            os.close(pidfd)
            link.close()
            os.close(self._held)


@dataclass(frozen=True)
class DeadRun:
    """A run whose owner died.

    restic: its restic processes that were not seen to end in order, for the lock doctor · problems: what could not be
    undone, in our grammar · left: what it did and nobody but the user can undo.
    """

    run: str
    path: str
    restic: tuple[KillProcess, ...] = ()
    problems: tuple[str, ...] = ()
    readable: bool = True
    left: tuple[Tell, ...] = ()

    def forget(self) -> None:
        """Delete its journal, once its locks are dealt with. One that is not understood or not undone stays."""
        if self.readable and not self.problems:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                return


def reconcile(state: StateFolder) -> list[DeadRun]:
    """Undo what dead runs left, by the sentinel's own code; journals of living runs are not touched.

    Call it with the run lock held: staging directories have the same path in every run.
    """
    journal.remove_unfinished(state.holds)
    names = sorted(name for name in os.listdir(state.holds) if name.endswith(journal.SUFFIX))
    found = (_reconcile_one(state, os.path.join(state.holds, name)) for name in names)
    return [dead for dead in found if dead is not None]


def _reconcile_one(state: StateFolder, path: str) -> DeadRun | None:
    run = os.path.basename(path).removesuffix(journal.SUFFIX)
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not _outlived(fd):
            return None
        return _finish(state, run, path, fd)
    except DataDamaged as error:
        return DeadRun(run, path, problems=(f"{path}: {error.message}",), readable=False)
    finally:
        os.close(fd)


def is_dead(state: StateFolder, run: str) -> bool:
    """Whether a run that has not ended lives no more, seen without waiting or changing anything.

    One without a journal has undone everything, or has died before it did anything.
    """
    try:
        fd = os.open(os.path.join(state.holds, run + journal.SUFFIX), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return journal.lock(fd)
    finally:
        os.close(fd)


def _outlived(fd: int) -> bool:
    """Whether owner and sentinel are gone; a sentinel that is at work for a dead owner is waited for."""
    until = time.monotonic() + UNDOING
    while not journal.lock(fd):
        if not _read(fd).owner.is_known_dead() or time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _read(fd: int) -> Journal:
    return journal.parse(os.pread(fd, os.fstat(fd).st_size, 0))


def _finish(state: StateFolder, run: str, path: str, fd: int) -> DeadRun:
    found = _read(fd)
    problems: list[str] = []
    if not found.undone:
        actions = [asdict(action) for action in found.pending.values()]
        # Of what the journal allows, only an in-place restore's unfinished copies are taken over: nothing else that
        # it says may make us remove anything outside our own folders.
        copies = [prefix for prefix in found.removable if prefix.endswith(RESTORING)]
        problems = sentinel.undo(actions, asdict(found.owner), (*state.removable(), *copies))
    restic = tuple(a for a in found.pending.values() if isinstance(a, KillProcess) and a.role == "restic")
    left = tuple(action for action in found.pending.values() if isinstance(action, Tell))
    return DeadRun(run, path, restic, tuple(problems), left=left)
