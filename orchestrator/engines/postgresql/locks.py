"""Tables that another session has locked: waited for as long as `lock_timeout` says, then told who holds the lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.engines.postgresql.connection import QUERY_LIMIT, Session, connect
from orchestrator.engines.postgresql.target import Target
from orchestrator.model.errors import DumpFailed, ResguardoError

_NOT_AVAILABLE = "55P03"  # lock_not_available in the manual's appendix "PostgreSQL Error Codes"
_HOLDERS = """
SELECT a.pid, a.usename, a.application_name, a.state, l.relation::regclass::text,
  extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::bigint
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.granted AND a.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY a.xact_start LIMIT 1
"""
RAISE = "find who holds the lock, or raise lock_timeout"


def limit(session: Session, seconds: float) -> float:
    """Let the server give up a lock after `seconds`; return the time to allow a query that may wait for one."""
    session.execute("SELECT set_config('lock_timeout', %s, false)", [str(int(seconds * 1000))])
    return seconds + QUERY_LIMIT


def holder(session: Session) -> str:
    """Say who holds a table of this database for itself, "" when nobody does any more."""
    found = session.execute(_HOLDERS)
    if not found:
        return ""
    pid, user, program, state, table, age = found[0]
    name = f" ({program})" if program else ""
    return f"session {pid} of {user}{name}, {state or 'at work'} since {age} s, has locked {table}"


def advice(target: Target, database: str) -> str:
    """Return the hint for a lock that was not had, with its holder where the server tells."""
    try:
        with connect(target, database) as session:
            who = holder(session)
    except ResguardoError:
        return RAISE
    return f"{who}: end it, or raise lock_timeout" if who else RAISE


@contextmanager
def told(session: Session, database: str, seconds: float) -> Iterator[None]:
    """Turn the server's refusal to wait longer into an error that names the holder. Raises DumpFailed."""
    try:
        yield
    except ResguardoError as error:
        if getattr(error.__cause__, "sqlstate", None) != _NOT_AVAILABLE:
            raise
        who = holder(session)
        hint = f"{who}: end it, or raise lock_timeout" if who else RAISE
        text = f"database {database!r}: another session keeps a table locked, {seconds:g} s were not enough"
        raise DumpFailed(text, hint) from error
