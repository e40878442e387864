"""The lock doctor at work on this machine."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime

from orchestrator.adapters import sentinel
from orchestrator.adapters.restic import doctor
from orchestrator.adapters.restic.doctor import Here
from orchestrator.model.execution import KillProcess, Undo
from orchestrator.model.record import Event
from orchestrator.model.repository import Repository


def settle_locks(
    repository: Repository, known: Sequence[KillProcess], undo: Undo, *, asked: bool = False
) -> tuple[Event, ...]:
    """Remove the locks that dead processes of ours left; return an event per lock removed or left in the way.

    known: restic processes of dead runs, from the journal · asked: a person wants every lock removed whose process is
    not running on this host. Raises the typed errors of listing and unlocking.
    """
    now = datetime.now(UTC)
    return doctor.events(doctor.clear(repository, known, here(now), undo, asked=asked), repository.name, now)


def here(now: datetime) -> Here:
    """Look at this machine: host name as restic writes it into a lock, boot, PID namespace, living processes."""
    return Here(socket.gethostname(), sentinel.boot_id(), sentinel.pid_namespace(), sentinel.living(), now)
