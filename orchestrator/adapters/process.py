"""A running child: waiting with deadline and interruption, stopping, reaping."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace

from orchestrator.adapters.interrupts import Interrupts, poll
from orchestrator.model.errors import Bug, Interrupted
from orchestrator.model.execution import Exit

TAIL = 64 * 1024  # bytes of stderr that are kept
_TRIM = 1024 * 1024  # stderr that has grown over this is cut down to its tail
_LOOK = 1.0  # seconds between two looks at the size of stderr
_UNKILLABLE = 30.0


class Stderr:
    """What a child says on stderr: a file in memory, so that restic never meets a broken pipe or a full disk.

    It is cut when it grows; what a child writes in the instant of cutting may be lost.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("stderr", os.MFD_CLOEXEC)
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)
        self._kept = b""

    def trim(self) -> None:
        """Cut a file that has grown too large."""
        size = os.fstat(self.fd).st_size
        if size > _TRIM:
            self._kept = os.pread(self.fd, TAIL, size - TAIL)
            os.ftruncate(self.fd, 0)

    def close(self) -> str:
        """Return the tail and release the file."""
        size = os.fstat(self.fd).st_size
        tail = (self._kept + os.pread(self.fd, TAIL, max(0, size - TAIL)))[-TAIL:]
        os.close(self.fd)
        return tail.decode("utf-8", "replace")


class Child:
    """A child of ours, fulfilling the port `Proc`; all methods may be called from several threads.

    on_end is called once, after it was reaped.
    """

    def __init__(
        self,
        pid: int,
        stderr: Stderr | None,
        interrupts: Interrupts,
        *,
        deadline: float | None,
        on_end: Callable[[], None],
    ) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        # Not closed when the child is reaped: another thread may be waiting for it, and its number must not become
        # another file's.
        weakref.finalize(self, os.close, self.pidfd)
        self._stderr = stderr
        self._interrupts = interrupts
        self._until = None if deadline is None else time.monotonic() + deadline
        self._on_end = on_end
        self._lock = threading.Lock()
        self._exit: Exit | None = None

    def wait(self) -> Exit:
        """Wait for its end, at most until the deadline (then it is stopped: `timed_out`); safe to call again.

        Raises Interrupted when the run is told to stop; the child is stopped first.
        """
        while self._exit is None:
            left = _LOOK if self._until is None else self._until - time.monotonic()
            if left <= 0:
                return self._time_out()
            try:
                ended = self._interrupts.wait((self.pidfd,), min(left, _LOOK))
            except Interrupted:
                self.stop()
                raise
            if ended:
                return self._reap()
            self._trim()
        return self._exit

    def poll(self) -> Exit | None:
        """Return its Exit if it has ended, without waiting."""
        if self._exit is None and poll((self.pidfd,), 0):
            return self._reap()
        return self._exit

    def stop(self, grace: float = 1.0) -> Exit:
        """Send INT, TERM, KILL to its process group with `grace` seconds between; returns once reaped."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._signal(number)
            if self._exit is not None or poll((self.pidfd,), grace):
                break
        self._signal(signal.SIGKILL)  # also what a leader that has ended left behind in its group
        if self._exit is None and not poll((self.pidfd,), _UNKILLABLE):
            raise Bug(f"process {self.pid} survives SIGKILL", hint="it hangs in the kernel; look at the disks")
        return self._reap()

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._exit is not None:
                return  # reaped: the number may be another's by now
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                return

    def _trim(self) -> None:
        with self._lock:
            if self._exit is None and self._stderr is not None:
                self._stderr.trim()

    def _time_out(self) -> Exit:
        ended = self.poll()
        if ended is not None:
            return ended
        self._exit = replace(self.stop(), timed_out=True)
        return self._exit

    def _reap(self) -> Exit:
        with self._lock:
            if self._exit is not None:
                return self._exit
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            number = -code if code < 0 else None
            tail = "" if self._stderr is None else self._stderr.close()
            self._exit = Exit(128 - code if code < 0 else code, number, tail)
        self._on_end()
        return self._exit
