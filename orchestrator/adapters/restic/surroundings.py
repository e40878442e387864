"""The lock doctor at work on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.adapters.restic import doctor
from orchestrator.adapters.restic.doctor import Here
from orchestrator.model.execution import KillProcess, Undo
from orchestrator.model.record import Event
from orchestrator.model.repository import Repository


def settle_locks(repository: Repository, known: Sequence[KillProcess], undo: Undo) -> tuple[Event, ...]:
    """Remove the locks that dead processes of ours left; return an event per lock removed or left in the way.

    known: restic processes of dead runs, from the journal. Raises the typed errors of listing and unlocking.
    """
    now = datetime.now(UTC)
    return doctor.events(doctor.clear(repository, known, here(now), undo), repository.name, now)


def here(now: datetime) -> Here:
    """Look at this machine: host name as restic writes it into a lock, boot, PID namespace, living processes."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal())
    live = {pid: start for pid in pids if (start := _start(pid)) is not None}
    return Here(socket.gethostname(), boot, os.stat("/proc/self/ns/pid").st_ino, live, now)


def _start(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot; None when it is gone or only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
