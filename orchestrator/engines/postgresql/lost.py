"""What became of a change whose session was lost: its server process may go on with it when nobody listens any more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from orchestrator.engines.postgresql.connection import Session, connect
from orchestrator.engines.postgresql.target import Target
from orchestrator.model.errors import ServerUnreachable
from orchestrator.model.waiting import poll

_ENDING = 30.0  # seconds that a server process gets to end
_AGAIN = 0.1


@dataclass(frozen=True)
class Backend:
    """A session's server process. start: seconds since 1970, as text: a PID alone may come again."""

    pid: int
    start: str


def backend_of(session: Session) -> Backend:
    """Ask while the session still answers."""
    query = "SELECT pid, extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    ((pid, start),) = session.execute(query)
    return Backend(int(pid), str(start))


@contextmanager
def afterwards(target: Target, database: str, backend: Backend) -> Iterator[Session]:
    """Connect anew once a lost session's process is gone: from then on what it did stays as it is.

    Signals wait: what is half known must not stay so. Raises ServerUnreachable, RightsMissing, Precondition.
    """
    with connect(replace(target, wait=poll), database) as session:
        until = time.monotonic() + _ENDING
        query = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE pid = %s AND extract(epoch FROM backend_start)::text = %s"""
        while session.execute(query, [backend.pid, backend.start]):
            if time.monotonic() > until:
                raise ServerUnreachable(
                    f"{target.where}: process {backend.pid} does not end", "see what the server is waiting for"
                )
            time.sleep(_AGAIN)
        yield session
