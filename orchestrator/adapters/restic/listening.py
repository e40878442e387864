"""What a running restic says on stderr, read while it speaks.

The launcher keeps a child's stderr in a memory file and returns its tail at the end. To give up an unreachable server
in time, and to read names that are no UTF-8, the adapter looks at that file itself. It is opened in the moment when the
child is registered and still blocked: later a restic with file capabilities would not let us.
"""

from __future__ import annotations

import os

from orchestrator.model.execution import Action, KillProcess, Undo

_FIRST, _LAST = 1 << 20, 3 << 20  # bytes that are kept of what is longer


class Overheard:
    """The bytes of one stderr so far."""

    def __init__(self) -> None:
        self._fd = -1
        self._at = 0
        self._said = b""
        self._told = 0

    def open(self, pid: int) -> None:
        """Open the stderr of a blocked child; where /proc does not allow it the tail at the end has to do."""
        try:
            self._fd = os.open(f"/proc/{pid}/fd/2", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return

    def lines(self) -> list[bytes]:
        """Return the lines that were completed since the last call."""
        self._listen()
        end = self._said.rfind(b"\n") + 1
        new, self._told = self._said[self._told : end], max(end, self._told)
        return new.split(b"\n")[:-1]

    def close(self) -> bytes:
        """Return all that was said (the middle of what is very long left out) and let go."""
        self._listen()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return self._said

    def _listen(self) -> None:
        if self._fd < 0:
            return
        size = os.fstat(self._fd).st_size
        if size < self._at:  # the launcher has cut it
            self._at = 0
        new = os.pread(self._fd, size - self._at, self._at)
        self._at += len(new)
        self._said += new
        if (surplus := len(self._said) - _FIRST - _LAST) > 0:
            self._said = self._said[:_FIRST] + self._said[-_LAST:]
            self._told = max(0, self._told - surplus)


class Listening:
    """An `Undo` that passes everything on and opens the child's stderr when the child is registered."""

    def __init__(self, undo: Undo, overheard: Overheard) -> None:
        self._undo = undo
        self._overheard = overheard

    def register(self, action: Action) -> str:
        """As `Undo.register`."""
        if isinstance(action, KillProcess):
            self._overheard.open(action.pid)
        return self._undo.register(action)

    def done(self, action_id: str) -> None:
        """As `Undo.done`."""
        self._undo.done(action_id)
