"""INT, TERM and HUP as something that any number of threads can wait for beside other descriptors."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable
from types import FrameType

from orchestrator.model.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Whether this process was told to stop.

    The descriptor becomes readable at the first signal and stays so: nobody reads it, thus every waiting thread wakes.
    """

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.signal: int | None = None

    def install(self) -> None:
        """Take over INT, TERM and HUP; call it from the main thread. A signal that nohup ignores stays ignored."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.trigger(number)

    def trigger(self, number: int) -> None:
        """Behave as if the signal had come."""
        self.signal = self.signal or number
        os.eventfd_write(self.fd, 1)

    def check(self) -> None:
        """Raise Interrupted (exit 130 for INT, 143 for TERM and HUP) if we were told to stop."""
        if self.signal is None:
            return
        code = EXIT_INTERRUPTED if self.signal == signal.SIGINT else EXIT_TERMINATED
        raise Interrupted(f"interrupted by {signal.Signals(self.signal).name}", code)

    def wait(self, fds: Iterable[int], seconds: float | None) -> set[int]:
        """Wait until one of `fds` is readable or hung up; empty after `seconds`. Raises Interrupted."""
        ready = poll([*fds, self.fd], seconds)
        if self.fd in ready:
            self.check()
        return ready - {self.fd}


def poll(fds: Iterable[int], seconds: float | None) -> set[int]:
    """Return which descriptors are readable or hung up, waiting at most `seconds` (None: as long as it takes)."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return {fd for fd, _ in poller.poll(None if seconds is None else max(0, seconds) * 1000)}


PROCESS = Interrupts()
