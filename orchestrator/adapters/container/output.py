"""Where a tool's output goes: a descriptor of the caller's, most often a pipe."""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Sequence

from orchestrator.adapters.interrupts import poll

BUFFER = 1 << 20  # bytes
_LOOK = 1.0  # seconds
# Seconds in which a tool fills a part of its pipe before we are at it again: tools write a few kilobytes at a time, and
# waking for each takes half as much CPU again. A pipe of 1 MiB is full after 3 ms at 300 MB/s.
_GATHER = 0.001


class Output:
    """A descriptor that is written to without hanging in it: `wake` ends every wait."""

    def __init__(self, fd: int | None, wake: int) -> None:
        self._fd = None if fd is None else _own(fd)
        self._wake = wake

    def write(self, pieces: Sequence[memoryview]) -> None:
        """Write all; what nobody reads any more is dropped. Raises BrokenPipeError once, when the reader is gone."""
        rest = [piece for piece in pieces if piece]
        while rest and self._fd is not None and self._ready():
            try:
                written = os.writev(self._fd, rest[:512])
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self.close()
                raise
            rest = _after(rest, written)

    def splice(self, source: int) -> int:
        """Move what is in the pipe `source` without looking at it; 0 at its end. Raises BrokenPipeError."""
        while self._fd is not None and self._ready():
            try:
                return os.splice(source, self._fd, BUFFER, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                if not poll((source, self._wake), _LOOK):
                    continue
                if poll((self._wake,), 0):
                    return 0
                time.sleep(_GATHER)
        return 0

    def _ready(self) -> bool:
        poller = select.poll()
        assert self._fd is not None  # noqa: S101 - asked before
        poller.register(self._fd, select.POLLOUT)
        poller.register(self._wake, select.POLLIN)
        return all(fd != self._wake for fd, _ in poller.poll())

    def close(self) -> None:
        """Let the reader see the end."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _own(fd: int) -> int:
    """Return a descriptor of our own; a pipe is opened anew, so that not to block is our own matter too."""
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(fd)


def _after(pieces: list[memoryview], written: int) -> list[memoryview]:
    for number, piece in enumerate(pieces):
        if written < len(piece):
            return [piece[written:], *pieces[number + 1 :]]
        written -= len(piece)
    return []
