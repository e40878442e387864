"""When a repository's server counts as unreachable.

restic retries a refusing server for 15 minutes and a silent one for longer, and says nothing before the repository is
open except one line per retry. So, until it is open (a status line on stdout), `connect` seconds are enough when
1. the newest such line is about the config or a key, which are read only then, or in the first `connect` seconds about
   a lock (later ones are renewals), and no "operation successful" followed; or
2. the repository is remote and the process neither read nor wrote a byte nor computed all that time.
Once it is open restic's own patience holds: a network that comes back must not cost a long upload.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

_RETRY = re.compile(r"^\w+\(<?(?P<kind>config|key|lock)\b.*?\) returned error, retrying after \S+: (?P<why>.*)$")
_AGAIN = re.compile(r"operation successful after \d+ retries")
_LITTLE = 10  # seconds of computing: fewer may be progress alone
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Patience:
    """The state of one wait. started: monotonic seconds · connect, silence: seconds · remote: rule 2 holds."""

    started: float
    connect: float
    silence: float
    remote: bool
    opened: bool = False
    complaint: str = ""
    _activity: tuple[int, ...] = ()
    _moved: float = field(default=0.0)

    def hear(self, line: str, now: float) -> None:
        """Take one line of stderr."""
        if found := _RETRY.match(line):
            if found["kind"] != "lock" or now - self.started < self.connect:
                self.complaint = found["why"]
        elif _AGAIN.search(line):
            self.complaint = ""

    def judge(self, now: float, activity: tuple[int, ...]) -> str:
        """Return why the server is given up, or ""; `activity` are counters of the process's reading and computing."""
        if activity != self._activity:
            self._activity, self._moved = activity, now
        if self.opened:
            return ""
        if self.complaint and now - self.started >= self.connect:
            return self.complaint
        if self.remote and activity and now - max(self._moved, self.started) >= self.silence:
            return f"no answer for {self.silence:.0f} s"
        return ""


@dataclass
class Stillness:
    """Whether a restic process stands still. moved: when it last worked, monotonic seconds · stall: seconds; None: any.

    What it writes to our own files (its progress, once a second) is no work, nor is the little that this computes.
    """

    moved: float
    stall: float | None
    _done: tuple[int, ...] = ()

    def judge(self, now: float, activity: tuple[int, ...], told: int) -> float:
        """Return for how long it has stood still when that is too long, else 0. told: bytes in our own files."""
        if not activity:
            self.moved = now  # it cannot be seen: nothing is known against it
            return 0.0
        read, written, computed = activity
        done = (read, written - told, computed // _LITTLE)
        if done != self._done:
            self._done, self.moved = done, now
        still = now - self.moved
        return still if self.stall is not None and still >= self.stall else 0.0


def activity_of(pid: int) -> tuple[int, ...]:
    """Return bytes read, bytes written and whole seconds computed by a process; () when that cannot be seen."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            moved = [int(line.split()[1]) for line in file if line.startswith(("rchar", "wchar"))]
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (OSError, ValueError, IndexError):
        return ()
    return (*moved, (int(fields[11]) + int(fields[12])) // _TICKS)
