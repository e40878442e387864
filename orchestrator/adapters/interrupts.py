"""INT, TERM, HUP and QUIT as something that any number of threads can wait for beside other descriptors."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from types import FrameType

from orchestrator.model.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, Interrupted
from orchestrator.model.waiting import poll

__all__ = ["PROCESS", "SIGNALS", "Interrupts", "poll"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Interrupts:
    """Whether this process was told to stop.

    The interpreter itself writes a signal's number into a pipe as it arrives, whatever the main thread is doing: a
    handler in Python would run only when the main thread is back from waiting for a lock, which may be hours. The pipe
    stays readable, so every waiting thread wakes.
    """

    def __init__(self) -> None:
        self.fd, self._tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._number: int | None = None
        self._lock = threading.Lock()

    def install(self) -> None:
        """Take over these signals; call it from the main thread. One that nohup ignores stays ignored."""
        signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _noted)

    @property
    def signal(self) -> int | None:
        """The first signal that came."""
        with self._lock:
            if self._number is None and poll((self.fd,), 0):
                told = os.read(self.fd, 1)
                os.write(self._tell, told)
                self._number = told[0]
            return self._number

    def trigger(self, number: int) -> None:
        """Behave as if the signal had come."""
        os.write(self._tell, bytes([number]))

    def check(self) -> None:
        """Raise Interrupted (exit 130 for INT, 143 for the others) if we were told to stop."""
        number = self.signal
        if number is None:
            return
        code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED
        raise Interrupted(f"interrupted by {signal.Signals(number).name}", code)

    def wait(self, fds: Iterable[int], seconds: float | None) -> set[int]:
        """Wait until one of `fds` is readable or hung up; empty after `seconds`. Raises Interrupted."""
        ready = poll([*fds, self.fd], seconds)
        if self.fd in ready:
            self.check()
        return ready - {self.fd}


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Keep the interpreter from ending: the signal's number was written already."""


PROCESS = Interrupts()
