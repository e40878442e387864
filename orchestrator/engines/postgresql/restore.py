"""Restore a database under a new name: all of it, or nothing is left."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from orchestrator.engines._incoming import Incoming
from orchestrator.engines.postgresql import properties
from orchestrator.engines.postgresql.connection import (
    NAME_BYTES,
    Session,
    connect,
    last_words,
    one_line,
)
from orchestrator.engines.postgresql.lost import Backend, afterwards, backend_of
from orchestrator.engines.postgresql.options import Options
from orchestrator.engines.postgresql.properties import ROLES_HINT, Properties
from orchestrator.engines.postgresql.quoting import ident, literal
from orchestrator.engines.postgresql.target import Target, target_of
from orchestrator.engines.postgresql.tools import Tools, choose
from orchestrator.model.engine import Data, Item, Restored
from orchestrator.model.errors import (
    DataDamaged,
    Interrupted,
    Precondition,
    ResguardoError,
    RestoreFailed,
    ServerUnreachable,
)
from orchestrator.model.execution import Executor, Exit, Finding, Undo
from orchestrator.model.waiting import poll

DATA_ONLY = "data"  # begins the extension of a dump that holds rows alone
FOOTER = b"-- PostgreSQL database dump complete"
# Settings of the restoring role must not hinder it; those of the database are applied after the data.
_WRITABLE = "-c default_transaction_read_only=off -c statement_timeout=0 -c array_nulls=on"
UNFINISHED = "resguardo: being restored, not complete"  # until the end, so that a killed restore is recognised
_HEAD = 1 << 18  # bytes within which a dump's own description of its database must end


def restore(item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
    """See orchestrator.model.engine.Engine. The source's restore_user is used where it is set."""
    options: Options = item.source.options
    target = target_of(item.source, at, "restore")
    check_name(to)
    if item.extension.startswith(DATA_ONLY):
        raise _rows_alone(item)
    with connect(target, options.maintenance) as session:
        if exists(session, to):
            raise _taken(session, to)
        tools = choose(at, undo, session.version, options.tools)
        session.steady()
        with Incoming(data) as incoming:
            custom = item.extension.endswith("pgdump")
            head = incoming.head(_described_custom if custom else properties.complete, _HEAD)
            backend = backend_of(session)
            try:
                found, notes = _create(session, to, head, custom=custom)
            except ResguardoError as error:
                raise _not_created(error, target, options, to, backend) from error
            loading = _Loading(item, target, to, tools, incoming, at, undo)
            try:
                session.execute(f"COMMENT ON DATABASE {ident(to)} IS {literal(UNFINISHED)}")
                notes += loading.load(_without_unknown(head, session) if not custom else head, custom=custom)
                notes += _finish(session, target, to, found, item.source.timeout)
            except (ResguardoError, OSError) as error:
                raise _cleaned(error, target, options, to) from error
    return Restored(to, tuple(notes))


def _rows_alone(item: Item) -> RestoreFailed:
    client = "psql -X -1 -v ON_ERROR_STOP=1 -f FILE -d NAME"
    if item.extension.endswith("pgdump"):
        client = "pg_restore --data-only --exit-on-error --single-transaction -d NAME FILE"
    return RestoreFailed(
        f"{item.name!r} was dumped with content: data: it holds rows and no tables to put them into",
        f"restore the tables from another source or point, take this file out with restic dump, then {client}",
    )


def check_name(name: str) -> None:
    """Refuse a name that the server would silently cut. Raises RestoreFailed."""
    size = len(name.encode("utf-8", "surrogateescape"))
    if not name or "\0" in name or size > NAME_BYTES:
        raise RestoreFailed(f"{name!r} cannot name a database: {size} bytes", f"choose one of 1 to {NAME_BYTES} bytes")


def exists(session: Session, name: str) -> bool:
    """Whether the server has a database of this name."""
    return bool(session.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]))


def _taken(session: Session, name: str) -> RestoreFailed:
    if session.value("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]) == (
        UNFINISHED
    ):
        text = f"database {name!r} exists already: a restore that is under way or was killed made it"
        return RestoreFailed(text, f"when no restore is under way: DROP DATABASE {ident(name)}")
    return RestoreFailed(f"database {name!r} exists already", "choose another name, or drop it yourself")


def _described_custom(head: bytes) -> bool:
    return not b"PGDMP".startswith(head[:5]) or properties.archived(head) is not None


def _create(session: Session, to: str, head: bytes, *, custom: bool) -> tuple[Properties | None, list[Finding]]:
    """Create the database, empty; what the dump tells of it comes back, too. Raises ResguardoError."""
    notes = []
    found = None if custom else properties.parse(head)
    options = properties.archived(head) if custom else None
    if options is not None:
        properties.create_archived(session, to, options)
    else:
        properties.create(session, to, found)
    if found is None and options is None:
        text = f"the dump does not tell the encoding and locale of {to!r}: it has the server's default ones"
        notes.append(Finding("warning", text, "compare them with the original's: \\l in psql shows them"))
    if custom:
        text = f"owner, grants and settings of database {to!r} itself are not restored from the custom format"
        notes.append(Finding("warning", text, "pg_restore --create --section=pre-data --file=- shows them"))
    return found, notes


def _not_created(error: ResguardoError, target: Target, options: Options, to: str, backend: Backend) -> ResguardoError:
    if isinstance(error, ServerUnreachable):
        return _perhaps_created(error, target, options, to, backend)
    if isinstance(error, Precondition) and not isinstance(error, RestoreFailed):
        return RestoreFailed(
            f"database {to!r} cannot be created: {error.message}", "the role needs CREATEDB: set restore_user"
        )
    hint = "install the locale on the server and restart it" if "locale" in error.message else error.hint
    return RestoreFailed(f"database {to!r} cannot be created: {error.message}", hint)


def _perhaps_created(
    error: ResguardoError, target: Target, options: Options, to: str, backend: Backend
) -> ResguardoError:
    """The answer was lost. A database of that name may by now be somebody else's: it is told, and not dropped."""
    text, drop_it = f"database {to!r} cannot be created: {error.message}", f"DROP DATABASE {ident(to)}"
    try:
        with afterwards(target, options.maintenance, backend) as session:
            if not exists(session, to):
                return RestoreFailed(text, error.hint)
    except ResguardoError as blind:
        return RestoreFailed(f"{text}; whether it exists now is not known: {blind.message}", f"if it does: {drop_it}")
    return RestoreFailed(f"{text}; it exists now, empty, if nobody else made it", f"if it is empty: {drop_it}")


def _without_unknown(head: bytes, session: Session) -> bytes:
    """Leave out a setting that newer clients write and an older server does not know."""
    if session.version >= 170000:
        return head
    return re.sub(rb"(?m)^SET transaction_timeout = 0;\n", b"", head, count=1)


@dataclass(frozen=True)
class _Loading:
    """One client program that loads a dump into the new database."""

    item: Item
    target: Target
    to: str
    tools: Tools
    incoming: Incoming
    at: Executor
    undo: Undo

    def load(self, head: bytes, *, custom: bool) -> list[Finding]:
        """Load everything. Raises RestoreFailed, DataDamaged."""
        env, secrets = self.target.environment()
        stdin = self.incoming.pour(head, b"" if custom else FOOTER)
        try:
            proc = self.at.start(
                self._argv(custom=custom),
                undo=self.undo,
                env=env,
                secrets=secrets,
                stdin=stdin,
                deadline=self.item.source.timeout,
            )
        finally:
            os.close(stdin)
        try:
            self.incoming.consumer.attach(proc)
            end = proc.wait()
        finally:
            proc.stop()
        return self._judged(end)

    def _argv(self, *, custom: bool) -> list[str]:
        to = self.target.conninfo(self.to, options=_WRITABLE)
        if custom:
            options = ["--exit-on-error", "--single-transaction", "--no-password", "--format=custom"]
            return [self.tools.path("pg_restore"), *options, "--dbname", to]
        options = [
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--single-transaction",
            "--no-password",
            "--file=-",
        ]
        return [self.tools.path("psql"), *options, "--dbname", to]

    def _judged(self, end: Exit) -> list[Finding]:
        if end.ok and self.incoming.whole():
            lines = [one_line(line) for line in end.stderr_tail.splitlines() if _is_warning(line)]
            return [Finding("warning", f"loading {self.to!r}: {line}") for line in lines]
        if self.incoming.consumer.refused:
            self.incoming.check()
        raise _load_failed(end, self.to)


_NO_ROLE = re.compile(r'role "[^\n]*" does not exist')


def _is_warning(line: str) -> bool:
    # pg_dump wraps large objects in BEGIN and COMMIT: psql's own transaction ends there. That a failed restore leaves
    # nothing behind is because we drop the database, and not because of the transaction.
    return "warning" in line.lower() and "transaction in progress" not in line


def _load_failed(end: Exit, to: str) -> RestoreFailed:
    lines = [line for line in end.stderr_tail.splitlines() if "ERROR" in line or "error:" in line or "FATAL" in line]
    reason = (one_line(lines[0]) if lines else last_words(end.stderr_tail)) or "the client ended before the data did"
    how = "took too long" if end.timed_out else f"exit code {end.code}"
    known = (
        ("max_locks_per_transaction", "raise max_locks_per_transaction and restart the server"),
        ("\\restrict", "install a psql of August 2025 or newer"),
        ("permission denied", "restore as a superuser: set restore_user"),
        ("must be", "restore as a superuser: set restore_user"),
        ("is not available", "install the extension's package on the server"),
        ("does not exist", "create what is missing on the server"),
    )
    hint = next((hint for needle, hint in known if needle in end.stderr_tail), "see the server's log")
    if _NO_ROLE.search(end.stderr_tail):
        hint = ROLES_HINT
    return RestoreFailed(f"loading into {to!r} failed ({how}): {reason}", hint)


def _finish(session: Session, target: Target, to: str, found: Properties | None, limit: float) -> list[Finding]:
    with connect(target, to) as fresh:
        fresh.execute("ANALYZE", limit=limit)
    session.execute(f"COMMENT ON DATABASE {ident(to)} IS NULL")
    return [] if found is None else properties.apply(session, to, found)


def _cleaned(error: ResguardoError | OSError, target: Target, options: Options, to: str) -> ResguardoError:
    """Drop the half-made database, which is ours; say so when that fails."""
    reason, hint = (error.message, error.hint) if isinstance(error, ResguardoError) else (one_line(error), None)
    try:
        with connect(replace(target, wait=poll), options.maintenance) as session:
            drop(session, to)
    except ResguardoError as left:
        text = f"{reason}; the half-made database {to!r} is still there: {left.message}"
        return RestoreFailed(text, f"DROP DATABASE {ident(to)}")
    if isinstance(error, (DataDamaged, Interrupted, RestoreFailed)):
        return error
    return RestoreFailed(f"restoring into {to!r} failed: {reason}", hint)


def drop(session: Session, name: str) -> None:
    """End its sessions (our killed client's may linger) and drop a database that this restore made."""
    session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    session.execute(f"DROP DATABASE {ident(name)}", limit=300.0)
