"""Put a restored database in the original's place: two renames in one transaction.

ALTER DATABASE RENAME first locks the name, so that new connections wait, and then lets the sessions that are still
there five seconds to leave; we end them meanwhile. Nothing is committed before both renames are done: whenever we die,
everything is as it was. Source: RenameDatabase and CountOtherDBBackends in PostgreSQL's dbcommands.c and procarray.c.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from orchestrator.engines.postgresql.connection import Session, maintenance
from orchestrator.engines.postgresql.lost import Backend, afterwards, backend_of
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.engines.postgresql.restore import check_name, exists
from orchestrator.engines.postgresql.target import target_of
from orchestrator.model.engine import Item, Kept, Original
from orchestrator.model.errors import ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding

_LIMIT = 60.0
_AGAIN = 0.1  # seconds between two rounds of ending sessions


def original(item: Item, at: Executor) -> Original:
    """Whether the database is there, and who would be thrown out of it. A server that does not answer tells nothing."""
    try:
        with maintenance(item.source, at) as session:
            there = exists(session, item.name)
            (count,) = session.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [item.name])[0]
    except ResguardoError as error:
        text = f"database {item.name!r} cannot be looked at: {error.message}"
        return Original(findings=(Finding("warning", text, error.hint),))
    if not count:
        return Original(there)
    text = f"database {item.name!r}: {count} session{'s' * (count > 1)} would be ended by the swap"
    return Original(there, (Finding("warning", text, "stop what uses it first"),))


def swap(item: Item, to: str, kept: str, at: Executor) -> Kept:
    """Rename the original to `kept` and `to` to the original's name.

    Raises RestoreFailed; then nothing has changed, or the message says that this is not known.
    """
    check_name(kept)
    with maintenance(item.source, at) as session, maintenance(item.source, at) as helper:
        if item.source.options.maintenance in {item.name, to}:
            text = f"database {item.name!r} is the one that we are connected to for maintenance"
            raise RestoreFailed(text, "set maintenance to another database")
        if not exists(session, to):
            raise RestoreFailed(f"there is no database {to!r} to put in place", "restore it first")
        replaced = exists(session, item.name)
        if replaced and exists(session, kept):
            raise RestoreFailed(f"database {kept!r} exists already", "choose another name to keep the original under")
        backend = backend_of(session)
        try:
            session.execute("BEGIN")
            session.execute("SET LOCAL lock_timeout = '30s'")
            if replaced:
                _rename(session, helper, item.name, kept)
            _rename(session, helper, to, item.name)
        except ResguardoError as error:
            with suppress(ResguardoError):  # a session that is lost cannot; what was not committed is not done
                session.execute("ROLLBACK")
            raise _unchanged(item, to, error) from error
        try:
            session.execute("COMMIT")
            notes: tuple[Finding, ...] = ()
        except ResguardoError as error:
            notes = (_looked_again(item, to, backend, error, at),)
    return Kept(kept if replaced else None, notes)


def _unchanged(item: Item, to: str, error: ResguardoError) -> RestoreFailed:
    return RestoreFailed(
        f"{to!r} could not take the place of {item.name!r}, nothing was changed: {error.message}",
        "end its sessions, prepared transactions and slots; the role must own both, or be a superuser",
    )


def _looked_again(item: Item, to: str, backend: Backend, error: ResguardoError, at: Executor) -> Finding:
    """Return the finding that a swap whose COMMIT got no answer was done. Raises RestoreFailed: not done, not known."""
    try:
        with afterwards(target_of(item.source, at, "restore"), item.source.options.maintenance, backend) as session:
            swapped = not exists(session, to)
    except ResguardoError as blind:
        raise RestoreFailed(
            f"whether {to!r} took the place of {item.name!r} is not known: {error.message}; then: {blind.message}",
            f"list the databases: it did if there is no {to!r} any more",
        ) from error
    if not swapped:
        raise _unchanged(item, to, error) from error
    text = f"the server's answer was lost when {to!r} took the place of {item.name!r}; a look showed that it did"
    return Finding("warning", text, "see the server's log")


def _rename(session: Session, helper: Session, name: str, new: str) -> None:
    """Rename while a helper ends the sessions of `name`, in the time that the server grants them."""
    over = threading.Event()
    ending = threading.Thread(target=_end_sessions, args=(helper, name, over), name="postgresql-swap", daemon=True)
    ending.start()
    try:
        session.execute(f"ALTER DATABASE {ident(name)} RENAME TO {ident(new)}", limit=_LIMIT)
    finally:
        over.set()
        ending.join()


def _end_sessions(helper: Session, name: str, over: threading.Event) -> None:
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    while True:
        try:
            helper.execute(query, [name], limit=10.0)
        except ResguardoError:
            return  # the rename says why: those sessions are still there
        if over.wait(_AGAIN):
            return
