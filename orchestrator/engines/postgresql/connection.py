"""Sessions with a PostgreSQL server that cannot hang, and the same coordinates for its client programs."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.engines.postgresql.options import Options
from orchestrator.engines.postgresql.service_file import OPEN, section
from orchestrator.model.engine import Source
from orchestrator.model.errors import Bug, Interrupted, Precondition, ResguardoError, RightsMissing, ServerUnreachable
from orchestrator.model.secret import Secret
from orchestrator.model.waiting import Wait, poll

if TYPE_CHECKING:
    import psycopg

Purpose = Literal["dump", "restore"]
QUERY_LIMIT = 60.0  # seconds for one look at a catalog
CONNECT_LIMIT = 10
NAME_BYTES = 63  # NAMEDATALEN - 1: longer names are cut by the server, silently
_SOCKET_DIRS = ("/var/run/postgresql", "/run/postgresql", "/tmp")  # noqa: S108 - where servers put their sockets
_SECTION = "resguardo"  # of the private service file that a client program gets
_FIXED = {
    "connect_timeout": str(CONNECT_LIMIT),
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
_REFUSED = (
    ("password authentication failed", "check {user} and {password}; the role needs LOGIN"),
    ("no password supplied", "set {password} in services.yml; PGPASSWORD and its like are not looked at"),
    ("authentication failed", "check {user}, {password} and the server's pg_hba.conf"),
    ("no pg_hba.conf entry", "allow this role and address in the server's pg_hba.conf"),
    ("permission denied for database", "GRANT CONNECT ON DATABASE … TO the role"),
    ("is not permitted to log in", "ALTER ROLE … LOGIN"),
    ("role ", "create the role, or correct {user}"),
)


@dataclass(frozen=True)
class Target:
    """A server's coordinates as libpq parameters; the password apart, so that it never meets an argument vector.

    hidden: other parameters that nobody may read, such as sslpassword · wait: how its answers are waited for (see
    `Source`) · prefix: of the keys `user` and `password` in services.yml that say who this is, for messages.
    """

    params: Mapping[str, str]
    password: Secret | None
    wait: Wait = field(default=poll, repr=False, compare=False)
    prefix: str = ""
    hidden: Mapping[str, Secret] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """For messages."""
        return f"postgresql at {self.params['host']}:{self.params['port']}"

    def conninfo(self, database: str, **more: str) -> str:
        """Return a connection string, escaped: a database called `host=evil` stays a name."""
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - drivers are imported when used

        service = {"service": _SECTION} if self.hidden else {}
        return make_conninfo("", **{**self.params, **service, **more}, dbname=database)

    def driver_conninfo(self, database: str) -> str:
        """Return a connection string with everything but the password, for a driver in this process alone."""
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - drivers are imported when used

        hidden = {name: secret.reveal() for name, secret in self.hidden.items()}
        return make_conninfo("", **{**self.params, **hidden}, dbname=database)

    def environment(self) -> tuple[dict[str, str], dict[str, bytes]]:
        """Return (env, secrets) for a client program."""
        env, secrets = {"LC_ALL": "C.UTF-8"}, {}
        if self.hidden:
            lines = [f"[{_SECTION}]", *(f"{name}={secret.reveal()}" for name, secret in self.hidden.items())]
            env["PGSERVICEFILE"] = "{secret:service}"
            secrets["service"] = "\n".join([*lines, ""]).encode()
        if self.password is None:
            return env, secrets
        text = self.password.reveal()
        if "\n" in text or "\r" in text:
            raise Precondition(f"{self.where}: the password holds a line break", "libpq cannot take it: change it")
        escaped = text.replace("\\", "\\\\").replace(":", "\\:")
        return env | {"PGPASSFILE": "{secret:pgpass}"}, secrets | {"pgpass": f"*:*:*:*:{escaped}\n".encode()}


def target_of(source: Source, purpose: Purpose = "dump") -> Target:
    """Gather a source's coordinates. Raises Precondition (service file), RightsMissing (secret)."""
    options: Options = source.options
    params: dict[str, str] = dict(_FIXED)
    if options.service:
        params |= section(options.service, options.service_file)
    user, reference, prefix = options.user, options.password, ""
    if purpose == "restore" and options.restore_user:
        user, reference, prefix = options.restore_user, options.restore_password, "restore_"
        params.pop("password", None)
    password = source.resolve(reference) if reference is not None else _given(params.pop("password", None))
    port = str(options.port or params.get("port") or 5432)
    tls = {"sslrootcert": options.tls.ca, "sslcert": options.tls.cert, "sslkey": options.tls.key}
    params |= {key: value for key, value in tls.items() if value}
    said = bool(options.tls.model_fields_set)
    params["sslmode"] = options.tls.sslmode if said else params.get("sslmode", options.tls.sslmode)
    params["port"] = port
    params["host"] = options.socket or options.host or params.get("host") or _local(port)
    params["user"] = user or params.get("user") or getpass.getuser()
    if password is None:
        _add_passfile(params)
    params.pop("dbname", None)
    hidden = {name: Secret(params.pop(name)) for name in [*params] if name not in OPEN}
    for secret in (*hidden.values(), *([password] if password else [])):
        source.hide(secret)
    return Target(params, password, source.wait, prefix, hidden)


def _given(text: str | None) -> Secret | None:
    return None if text is None else Secret(text)


def _local(port: str) -> str:
    found = (folder for folder in _SOCKET_DIRS if os.path.exists(os.path.join(folder, f".s.PGSQL.{port}")))
    return next(found, "localhost")


def _add_passfile(params: dict[str, str]) -> None:
    # Client programs get a clean environment: what libpq would find in ours is named explicitly for both.
    path = os.environ.get("PGPASSFILE") or os.path.expanduser("~/.pgpass")
    if os.path.isfile(path):
        params.setdefault("passfile", path)


class _Guard:
    """Severs a connection when an answer takes too long or the run is told to stop: no driver's wait ends otherwise.

    `reason`: why it was severed, once the block is left.
    """

    def __init__(self, wait: Wait, limit: float, sever: Callable[[], None], where: str) -> None:
        self.reason: ResguardoError | None = None
        self._wait, self._limit, self._sever, self._where = wait, limit, sever, where
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._watch, name="postgresql-guard", daemon=True)

    def __enter__(self) -> _Guard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self._over, 1)
        self._thread.join()  # none may outlive its query: it would sever an innocent one
        os.close(self._over)

    def _watch(self) -> None:
        try:
            if not self._wait((self._over,), self._limit):
                self.reason = ServerUnreachable(
                    f"{self._where}: no answer within {self._limit:g} s", "see what the server is waiting for"
                )
        except Interrupted as told:
            self.reason = told
        if self.reason is not None:
            self._sever()


class Session:
    """One connection. Every query has a time limit of ours: a frozen server cannot answer a statement_timeout."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], target: Target) -> None:
        self._connection = connection
        self._target = target
        self._wait = target.wait

    def steady(self) -> None:
        """Let no signal end a query from here on: what is being changed must not be left half known."""
        self._wait = poll

    @property
    def version(self) -> int:
        """Server version as a number (150018)."""
        return self._connection.info.server_version

    def execute(
        self, query: str | bytes, params: Sequence[Any] | None = None, *, limit: float = QUERY_LIMIT
    ) -> list[tuple[Any, ...]]:
        """Run a query and return its rows, if it has any.

        Raises ServerUnreachable (connection lost, no answer in `limit` seconds), RightsMissing, ResguardoError,
        Interrupted (the connection is gone then).
        """
        import psycopg  # noqa: PLC0415 - drivers are imported when used

        guard = _Guard(self._wait, limit, self.sever, self._target.where)
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


# Settings of roles and databases that would end a long, idle transaction, hide rows, change how names are read, or let
# a crash of the server undo what we have called done.
_QUIET = """
SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',
  'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
UNION ALL SELECT set_config('default_transaction_read_only', 'off', false)
UNION ALL SELECT set_config('search_path', '', false) UNION ALL SELECT set_config('row_security', 'off', false)
UNION ALL SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'
"""


class _Connecting(threading.Thread):
    """Connects beside us: libpq knows a time limit and no other way to be stopped.

    One that is given up ends with that limit, and closes what it got.
    """

    def __init__(self, target: Target, database: str) -> None:
        super().__init__(name="postgresql-connect", daemon=True)
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._error: BaseException | None = None
        self._target, self._database = target, database
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._ended = self._given_up = False

    def run(self) -> None:
        """Connect, and say that it is over."""
        try:
            self._connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            self._error = error
        with self._lock:
            self._ended = True
            os.eventfd_write(self._over, 1)
            if self._given_up:
                self._drop()

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        import psycopg  # noqa: PLC0415 - drivers are imported when used

        password = self._target.password.reveal() if self._target.password else None
        return psycopg.connect(
            self._target.driver_conninfo(self._database),
            autocommit=True,
            prepare_threshold=None,
            client_encoding="utf8",
            password=password,
            application_name="resguardo",
        )

    def result(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Wait for it. Raises Interrupted, and what `refused` makes of the driver's error."""
        self.start()
        try:
            self._target.wait((self._over,), None)
        except Interrupted:
            self._give_up()
            raise
        self.join()
        os.close(self._over)
        if self._connection is not None:
            return self._connection
        import psycopg  # noqa: PLC0415 - drivers are imported when used

        if isinstance(self._error, psycopg.Error):
            raise refused(self._error, self._target, self._database) from self._error
        raise self._error or Bug("a connection ended without a word")

    def _give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._ended:
                self._drop()

    def _drop(self) -> None:
        os.close(self._over)
        if self._connection is not None:
            self._connection.close()


def connect(target: Target, database: str) -> Session:
    """Connect. Raises ServerUnreachable, RightsMissing, Precondition (no such database), Interrupted."""
    connection = _Connecting(target, database).result()
    session = Session(connection, target)
    try:
        session.execute(_QUIET)
    except ResguardoError:
        session.close()
        raise
    return session


@contextlib.contextmanager
def maintenance(source: Source, purpose: Purpose = "restore") -> Iterator[Session]:
    """Connect to the maintenance database for as long as the block runs, to change something: see `Session.steady`."""
    with connect(target_of(source, purpose), source.options.maintenance) as session:
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
