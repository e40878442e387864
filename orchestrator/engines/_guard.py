"""Drivers that wait for a server where nobody can stop them: their waits end with a limit, or with the run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from orchestrator.model.errors import Bug, Interrupted, ResguardoError, ServerUnreachable
from orchestrator.model.waiting import Wait

T = TypeVar("T")


class Guard:
    """Severs a connection when an answer takes too long or the run is told to stop: no driver's wait ends otherwise.

    `reason`: why it was severed, once the block is left. where: for messages.
    """

    def __init__(self, wait: Wait, limit: float, sever: Callable[[], None], where: str) -> None:
        self.reason: ResguardoError | None = None
        self._wait, self._limit, self._sever, self._where = wait, limit, sever, where
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._watch, name="driver-guard", daemon=True)

    def __enter__(self) -> Guard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self._over, 1)
        self._thread.join()  # none may outlive its query: it would sever an innocent one
        os.close(self._over)

    def _watch(self) -> None:
        try:
            if not self._wait((self._over,), self._limit):
                self.reason = ServerUnreachable(
                    f"{self._where}: no answer within {self._limit:g} s", "see what the server is waiting for"
                )
        except Interrupted as told:
            self.reason = told
        if self.reason is not None:
            self._sever()


class Beside(threading.Thread, Generic[T]):
    """Does what a driver cannot be stopped from, such as connecting, in a thread of its own.

    One that is given up goes on until its own limit, and discards what it got.
    """

    def __init__(self, work: Callable[[], T], discard: Callable[[T], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._discard = work, discard
        self._got: list[T] = []
        self._error: BaseException | None = None
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._ended = self._given_up = False

    def run(self) -> None:
        """Work, and say that it is over."""
        try:
            self._got.append(self._work())
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            self._error = error
        with self._lock:
            self._ended = True
            os.eventfd_write(self._over, 1)
            if self._given_up:
                self._drop()

    def result(self, wait: Wait) -> T:
        """Start it and wait for it. Raises what `wait` does, such as Interrupted, and what the work raised."""
        self.start()
        try:
            wait((self._over,), None)
        except ResguardoError:
            self._give_up()
            raise
        self.join()
        os.close(self._over)
        if self._got:
            return self._got[0]
        raise self._error or Bug(f"{self.name} ended without a word")

    def _give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._ended:
                self._drop()

    def _drop(self) -> None:
        os.close(self._over)
        for got in self._got:
            self._discard(got)
