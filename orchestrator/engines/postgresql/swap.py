"""Put a restored database in the original's place: two renames in one transaction.

ALTER DATABASE RENAME first locks the name, so that new connections wait, and then lets the sessions that are still
there five seconds to leave; we end them meanwhile. Nothing is committed before both renames are done: whenever we die,
everything is as it was. Source: RenameDatabase and CountOtherDBBackends in PostgreSQL's dbcommands.c and procarray.c.
"""

from __future__ import annotations

import threading

from orchestrator.engines.postgresql.connection import Session, maintenance
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.engines.postgresql.restore import check_name, exists
from orchestrator.model.engine import Item, Kept, Original
from orchestrator.model.errors import ResguardoError, RestoreFailed
from orchestrator.model.execution import Finding

_LIMIT = 60.0
_AGAIN = 0.1  # seconds between two rounds of ending sessions


def original(item: Item) -> Original:
    """Whether the database is there, and who would be thrown out of it. A server that does not answer tells nothing."""
    try:
        with maintenance(item.source) as session:
            there = exists(session, item.name)
            (count,) = session.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [item.name])[0]
    except ResguardoError as error:
        text = f"database {item.name!r} cannot be looked at: {error.message}"
        return Original(findings=(Finding("warning", text, error.hint),))
    if not count:
        return Original(there)
    text = f"database {item.name!r}: {count} session{'s' * (count > 1)} would be ended by the swap"
    return Original(there, (Finding("warning", text, "stop what uses it first"),))


def swap(item: Item, to: str, kept: str) -> Kept:
    """Rename the original to `kept` and `to` to the original's name. Raises RestoreFailed; then nothing has changed."""
    check_name(kept)
    with maintenance(item.source) as session, maintenance(item.source) as helper:
        if item.source.options.maintenance in {item.name, to}:
            text = f"database {item.name!r} is the one that we are connected to for maintenance"
            raise RestoreFailed(text, "set maintenance to another database")
        if not exists(session, to):
            raise RestoreFailed(f"there is no database {to!r} to put in place", "restore it first")
        replaced = exists(session, item.name)
        if replaced and exists(session, kept):
            raise RestoreFailed(f"database {kept!r} exists already", "choose another name to keep the original under")
        session.execute("BEGIN")
        try:
            session.execute("SET LOCAL lock_timeout = '30s'")
            if replaced:
                _rename(session, helper, item.name, kept)
            _rename(session, helper, to, item.name)
            session.execute("COMMIT")
        except ResguardoError as error:
            session.execute("ROLLBACK")
            raise RestoreFailed(
                f"{to!r} could not take the place of {item.name!r}, nothing was changed: {error.message}",
                "end its sessions, prepared transactions and slots; the role must own both, or be a superuser",
            ) from error
    return Kept(kept if replaced else None)


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
