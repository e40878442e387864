"""When a call that met a lock is made once more."""

from __future__ import annotations

import os
import socket

from orchestrator.adapters.restic.outcome import Outcome
from orchestrator.adapters.restic.retry import Retried
from orchestrator.model.execution import Exit

NOBODY = 2**22 + 7  # above every PID that Linux gives


def refused(pid: int, host: str = "") -> Outcome:
    words = (
        f"unable to create lock in backend: repository is already locked exclusively by PID {pid} on "
        f"{host or socket.gethostname()} by root (UID 0, GID 0)\nlock was created at 2026-01-01 12:00:00 (4.01s ago)\n"
    )
    return Outcome("prune", "repository local", Exit(11), "", words)


DONE = Outcome("prune", "repository local", Exit(0), "", "")


class Ended:
    """A process that has ended already."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def wait(self) -> Outcome:
        return self._outcome

    def poll(self) -> Outcome | None:
        return self._outcome

    def stop(self) -> None:
        return


def retried(*outcomes: Outcome) -> tuple[Retried, list[bool]]:
    """A call whose tries end so, and what each try was told about waiting."""
    left, told = list(outcomes), list[bool]()

    def start(waits: bool) -> Ended:
        told.append(waits)
        return Ended(left.pop(0))

    return Retried(start), told


def test_a_living_holder_is_waited_for() -> None:
    call, told = retried(refused(os.getpid()), DONE)
    assert call.wait() is DONE
    assert told == [False, True]


def test_another_machines_holder_is_waited_for_once() -> None:
    call, told = retried(refused(NOBODY, "elsewhere"), refused(NOBODY, "elsewhere"))
    assert call.wait().code == 11
    assert told == [False, True]


def test_a_dead_holder_is_not_waited_for() -> None:
    call, told = retried(refused(NOBODY))
    assert call.wait().code == 11
    assert told == [False]


def test_who_only_asks_does_not_take_the_first_try_for_the_end() -> None:
    call, told = retried(refused(os.getpid()), DONE)
    assert call.poll() is None
    assert call.poll() is DONE
    assert call.wait() is DONE
    assert told == [False, True]


def test_stopped_is_stopped() -> None:
    call, told = retried(refused(os.getpid()))
    call.stop()
    assert call.wait().code == 11
    assert told == [False]
