"""Sessions with a PostgreSQL server that cannot hang."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orchestrator.engines._guard import Beside, Guard
from orchestrator.engines._server import Purpose
from orchestrator.engines.postgresql.target import Target, target_of
from orchestrator.model.engine import Source
from orchestrator.model.errors import Precondition, ResguardoError, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Executor
from orchestrator.model.waiting import poll

if TYPE_CHECKING:
    import psycopg

_NOTICES = 1000
QUERY_LIMIT = 60.0  # seconds for one look at a catalog
NAME_BYTES = 63  # NAMEDATALEN - 1: longer names are cut by the server, silently
_REFUSED = (
    ("password authentication failed", "check {user} and {password}; the role needs LOGIN"),
    ("no password supplied", "set {password} in services.yml; PGPASSWORD and its like are not looked at"),
    ("authentication failed", "check {user}, {password} and the server's pg_hba.conf"),
    ("no pg_hba.conf entry", "allow this role and address in the server's pg_hba.conf"),
    ("permission denied for database", "GRANT CONNECT ON DATABASE … TO the role"),
    ("is not permitted to log in", "ALTER ROLE … LOGIN"),
    ("role ", "create the role, or correct {user}"),
)


class Session:
    """One connection. Every query has a time limit of ours: a frozen server cannot answer a statement_timeout.

    notices: (severity in English, text) of the last that the server sent beside its answers.
    """

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], target: Target) -> None:
        self._connection = connection
        self._target = target
        self._wait = target.wait
        self.notices: deque[tuple[str, str]] = deque(maxlen=_NOTICES)
        connection.add_notice_handler(self._noticed)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        self.notices.append((notice.severity_nonlocalized or "", one_line(notice.message_primary)))

    def steady(self) -> None:
        """Let no signal end a query from here on: what is being changed must not be left half known."""
        self._wait = poll

    @property
    def version(self) -> int:
        """Server version as a number (150018)."""
        return self._connection.info.server_version

    @property
    def version_text(self) -> str:
        """Server version as it says itself (15.18), without asking."""
        return (self._connection.info.parameter_status("server_version") or "").partition(" ")[0]

    @property
    def superuser(self) -> bool:
        """Whether the role is one, without asking: the server tells at the login."""
        return self._connection.info.parameter_status("is_superuser") == "on"

    def execute(
        self, query: str | bytes, params: Sequence[Any] | None = None, *, limit: float = QUERY_LIMIT
    ) -> list[tuple[Any, ...]]:
        """Run a query and return its rows, if it has any.

        Raises ServerUnreachable (connection lost, no answer in `limit` seconds), RightsMissing, ResguardoError,
        Interrupted (the connection is gone then).
        """
        import psycopg  # noqa: PLC0415 - drivers are imported when used

        guard = Guard(self._wait, limit, self.sever, self._target.where)
        try:
            with guard:
                text = query.encode() if isinstance(query, str) else query
                cursor = self._connection.execute(text, params)
                return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise guard.reason or explained(error, self._target.where) from error

    def value(self, query: str | bytes, params: Sequence[Any] | None = None, *, limit: float = QUERY_LIMIT) -> Any:
        """Return the first column of the first row."""
        return self.execute(query, params, limit=limit)[0][0]

    def sever(self) -> None:
        """End the connection from another thread; whoever waits on it gets an error at once."""
        with (
            contextlib.suppress(OSError, _driver_error()),
            socket.socket(fileno=os.dup(self._connection.fileno())) as ours,
        ):
            ours.shutdown(socket.SHUT_RDWR)

    def cancel(self) -> None:
        """Ask the server to give up the current query; a server that does not answer is not waited for."""
        with contextlib.suppress(OSError, _driver_error()):
            self._connection.cancel_safe(timeout=2.0)

    def close(self) -> None:
        """Say goodbye without waiting for an answer; safe to call again."""
        self._connection.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _driver_error() -> type[Exception]:
    import psycopg  # noqa: PLC0415 - drivers are imported when used

    return psycopg.Error


# Settings of roles and databases that would end a long, idle transaction, hide rows, change how names, texts and times
# are read, or let a crash of the server undo what we have called done.
_QUIET = (
    (90000, "statement_timeout", "0"),
    (90300, "lock_timeout", "0"),
    (90600, "idle_in_transaction_session_timeout", "0"),
    (140000, "idle_session_timeout", "0"),
    (170000, "transaction_timeout", "0"),
    (90000, "default_transaction_read_only", "off"),
    (90000, "search_path", "''"),
    (90000, "datestyle", "'ISO'"),
    (90000, "standard_conforming_strings", "on"),
    (90500, "row_security", "off"),
)
_DURABLE = "SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'"


def _quiet(version: int) -> str:
    """Return one message's statements for those settings that a server of this version knows."""
    return "".join(f"SET {name} = {value};" for since, name, value in _QUIET if version >= since) + _DURABLE


def _dial(target: Target, database: str) -> psycopg.Connection[tuple[Any, ...]]:
    import psycopg  # noqa: PLC0415 - drivers are imported when used

    return psycopg.connect(
        target.driver_conninfo(database),
        autocommit=True,
        prepare_threshold=None,
        client_encoding="utf8",
        password=target.password.reveal() if target.password else None,
        application_name="resguardo",
    )


def connect(target: Target, database: str) -> Session:
    """Connect. Raises ServerUnreachable, RightsMissing, Precondition (no such database), Interrupted."""
    target.tls.check_files(target.where)
    try:
        # libpq knows a time limit and no other way to be stopped.
        dialling = Beside(lambda: _dial(target, database), lambda got: got.close(), "postgresql-connect")
        connection = dialling.result(target.wait)
    except _driver_error() as error:
        raise refused(error, target, database) from error
    session = Session(connection, target)
    try:
        session.execute(_quiet(session.version))
    except ResguardoError:
        session.close()
        raise
    return session


@contextlib.contextmanager
def maintenance(source: Source, at: Executor, purpose: Purpose = "restore") -> Iterator[Session]:
    """Connect to the maintenance database for as long as the block runs, to change something: see `Session.steady`."""
    with connect(target_of(source, at, purpose), source.options.maintenance) as session:
        session.steady()
        yield session


def one_line(text: object) -> str:
    """Return a driver's or a program's message in our grammar: one line, no full stop."""
    return " ".join(str(text).split()).rstrip(".")


def last_words(text: str, most: int = 500) -> str:
    """Return the last whole words of what a program said, on one line: half a secret would not be known as one."""
    cut = len(text) > most and not text[-most - 1].isspace()
    return one_line(re.sub(r"^\S+", "", text[-most:]) if cut else text[-most:])


def refused(error: Exception, target: Target, database: str) -> ResguardoError:
    """Say why a connection could not be made. The server's reason is text only: before login it sends no code."""
    text = one_line(error)
    if f'database "{database}" does not exist' in str(error):
        return Precondition(f"{target.where}: there is no database {database!r}", "correct database, or create it")
    for needle, hint in _REFUSED:
        if needle in text and "FATAL" in text + "FATAL" * (needle == "no password supplied"):
            said = hint.replace("{user}", f"{target.prefix}user").replace("{password}", f"{target.prefix}password")
            return RightsMissing(f"{target.where}: role {target.params['user']!r} is refused: {text}", said)
    return ServerUnreachable(f"{target.where}: {text}", "start the server, or correct host, port or socket")


def explained(error: Exception, where: str) -> ResguardoError:
    """Turn a driver's error into one of ours."""
    import psycopg  # noqa: PLC0415 - drivers are imported when used

    text = one_line(error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RightsMissing(f"{where}: {text}", "grant the role what it lacks: see docs/databases/postgresql.md")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate in {None, "57P01", "57P02", "57P03"}:
        return ServerUnreachable(f"{where}: the connection was lost: {text}", "see the server's log")
    return ResguardoError(f"{where}: {text}", "see the server's log")
