"""A call that another's lock may keep out.

restic waits for a lock as long as it is told to, whoever holds it. So the first try does not wait, and only when the
holder may yet let go is restic started again, with all its patience.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from orchestrator.adapters.restic.holder import holder_of
from orchestrator.adapters.restic.outcome import LOCKED, Outcome


class Running(Protocol):
    """A restic process under way; its methods may be called from different threads."""

    def wait(self) -> Outcome:
        """Wait for the end. Raises Interrupted when the run is told to stop (restic is reaped then)."""

    def poll(self) -> Outcome | None:
        """Return the outcome if it has ended, without waiting."""

    def stop(self) -> None:
        """Interrupt, then kill after 1 s, and reap; safe to call again."""


class Retried:
    """Fulfils `Running` with at most two processes. start: starts one, which waits for locks when told to."""

    def __init__(self, start: Callable[[bool], Running]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._call = start(False)  # noqa: FBT003 - the only parameter
        self._over = False  # whether this is the last try

    def wait(self) -> Outcome:
        """See Running."""
        while True:
            call = self._call
            ended = call.wait()
            if not self._again(call, ended):
                return ended

    def poll(self) -> Outcome | None:
        """See Running."""
        call = self._call
        ended = call.poll()
        return None if ended is None or self._again(call, ended) else ended

    def stop(self) -> None:
        """See Running."""
        with self._lock:
            self._over = True
            self._call.stop()

    def _again(self, call: Running, ended: Outcome) -> bool:
        """Whether another try is under way, started here when it is worth it."""
        with self._lock:
            if call is not self._call:
                return True
            if self._over or not worth_waiting(ended):
                return False
            self._over = True
            self._call = self._start(True)  # noqa: FBT003 - the only parameter
            return True


def worth_waiting(ended: Outcome) -> bool:
    """Whether a lock was in the way, and its holder may yet let go."""
    if ended.ours or ended.code != LOCKED:
        return False
    holder = holder_of(ended.complaint)
    return holder is None or not holder.gone()
