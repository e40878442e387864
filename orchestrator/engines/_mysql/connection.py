"""Sessions with a server that cannot hang, and the same coordinates for its client programs."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orchestrator.engines._guard import Beside, Guard
from orchestrator.engines._mysql.defaults import option_file, tls_settings
from orchestrator.engines._mysql.options import Options
from orchestrator.engines._mysql.server import Kind, Server, server_of
from orchestrator.engines._server import Purpose, Tls, login
from orchestrator.model.engine import Source
from orchestrator.model.errors import Precondition, ResguardoError, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Address, Executor
from orchestrator.model.secret import Secret
from orchestrator.model.waiting import Wait, poll

if TYPE_CHECKING:
    import ssl

    import pymysql

QUERY_LIMIT = 60.0  # seconds for one look at a catalog
CONNECT_LIMIT = 30  # seconds: a server may look for our name in vain before it greets us
NO_ROW_LIMIT = 2**64 - 1  # both manuals: sql_select_limit
NAME_LETTERS = 64  # of a database; longer ones are refused by the server
_PORT = 3306
_SOCKETS = ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108 - where servers put them
# Both manuals' error references: before login, while connecting, of rights, and of what is not there.
_REFUSED = {1045, 1698, 1130, 1129, 1251, 1275, 1820, 1862, 3118, 4151}
_LOST = {1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927, 2002, 2003, 2005, 2006, 2013, 2026}
_RIGHTS = {1044, 1142, 1143, 1227, 1370, 1305, 1410, 1873}


@dataclass(frozen=True)
class Target:
    """A server's coordinates. tools, driver: its address for each; the password stands apart from all arguments.

    wait: how its answers are waited for (see `Source`) · prefix: of the keys `user` and `password` in services.yml that
    say who this is, for messages · kind: what the source says that it is.
    """

    tools: Address
    driver: Address
    user: str
    password: Secret | None
    tls: Tls
    kind: Kind
    wait: Wait = field(default=poll, repr=False, compare=False)
    prefix: str = ""
    place: str = ""

    @property
    def where(self) -> str:
        """For messages."""
        at = self.tools.socket or f"{self.tools.host}:{self.tools.port}"
        return f"{self.kind} at {at}{f' in {self.place}' if self.place else ''}"

    def secrets(self, tool: Kind) -> dict[str, bytes]:
        """Return the private file of a client program of this kind; it is its first argument."""
        if self.tools.socket:
            settings = {"protocol": "socket", "socket": self.tools.socket}
        else:
            settings = {"protocol": "tcp", "host": self.tools.host, "port": str(self.tools.port)}
        settings |= {"user": self.user} | tls_settings(self.tls, tool, local=bool(self.tools.socket))
        if self.password is not None:
            settings["password"] = self.password.reveal()
        return {"client": option_file(settings)}


def target_of(source: Source, at: Executor, purpose: Purpose = "dump") -> Target:
    """Gather a source's coordinates. Raises RightsMissing (secret), ServerUnreachable (no way to it from here)."""
    options: Options = source.options
    user, password, prefix = login(source, purpose)
    address = _address(options, at)
    driver = at.address(address)
    kind: Kind = "mysql" if source.engine == "mysql" else "mariadb"
    name = user or getpass.getuser()
    return Target(address, driver, name, password, options.tls, kind, source.wait, prefix, at.place)


def _address(options: Options, at: Executor) -> Address:
    if options.socket:
        return Address(socket=options.socket)
    if options.host or options.port:
        return Address(host=options.host or "127.0.0.1", port=options.port or _PORT)
    found = next((path for path in _SOCKETS if at.exists(path)), "")
    return Address(socket=found) if found else Address(host="127.0.0.1", port=_PORT)


class Session:
    """One connection. Every query has a time limit of ours: a frozen server does not answer."""

    def __init__(self, connection: pymysql.Connection[Any], target: Target) -> None:
        self._connection = connection
        self._target = target
        self._wait = target.wait
        self.server = Server(target.kind, ())  # until it has said so itself
        self.given_limit = NO_ROW_LIMIT  # rows that a query of a new session gets at most, as of the tools'

    def steady(self) -> None:
        """Let no signal end a query from here on: what is being changed must not be left half known."""
        self._wait = poll

    def execute(
        self, query: str, params: Sequence[Any] | None = None, *, limit: float = QUERY_LIMIT
    ) -> list[tuple[Any, ...]]:
        """Run a query and return its rows, if it has any.

        Raises ServerUnreachable (connection lost, no answer in `limit` seconds), RightsMissing, ResguardoError,
        Interrupted (the connection is gone then).
        """
        import pymysql  # noqa: PLC0415 - drivers are imported when used

        guard = Guard(self._wait, limit, self.sever, self._target.where)
        try:
            with guard, self._connection.cursor() as cursor:
                cursor.execute(query, params)
                return list(cursor.fetchall())
        except (pymysql.MySQLError, OSError) as error:
            raise guard.reason or explained(error, self._target.where) from error

    def value(self, query: str, params: Sequence[Any] | None = None, *, limit: float = QUERY_LIMIT) -> Any:
        """Return the first column of the first row."""
        return self.execute(query, params, limit=limit)[0][0]

    def sever(self) -> None:
        """End the connection from another thread; whoever waits on it gets an error at once."""
        with contextlib.suppress(OSError, AttributeError, ValueError):
            # The driver has no public name for its socket.
            ours = socket.socket(fileno=socket.dup(self._connection._sock.fileno()))  # noqa: SLF001
            with ours:
                ours.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go without a goodbye, which a server that does not answer would hold up; safe to call again."""
        self._connection._force_close()  # noqa: SLF001 - close() may wait

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _context(target: Target) -> ssl.SSLContext | None:
    """Return how the driver protects the connection; None: not at all. Raises Precondition."""
    import ssl  # noqa: PLC0415 - start-up

    tls, mode = target.tls, target.tls.sslmode
    if mode == "disable" or (target.tools.socket and not tls.model_fields_set):
        return None
    # Not create_default_context: it reads all of the system's authorities, which no mode asks, for each connection.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # MariaDB's programs check the name with the certificate, or neither.
    context.check_hostname = mode == "verify-full" or (mode == "verify-ca" and target.kind == "mariadb")
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("verify") else ssl.CERT_NONE
    try:
        if tls.ca:
            context.load_verify_locations(tls.ca)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        files = ", ".join(repr(path) for path in (tls.ca, tls.cert, tls.key) if path)
        text = f"{target.where}: the files of tls cannot be used: {_text(error)}: {files}"
        raise Precondition(text, "correct tls in services.yml, or put the right files there, in PEM") from error
    return context


_NOT_ENCRYPTED = 2026  # what a driver says when the server does not know TLS


def _dial(target: Target, context: ssl.SSLContext | None) -> pymysql.Connection[Any]:
    import pymysql  # noqa: PLC0415 - drivers are imported when used

    try:
        return _login(target, context)
    except pymysql.MySQLError as error:
        if target.tls.sslmode != "prefer" or code_of(error) != _NOT_ENCRYPTED:
            raise
        return _login(target, None)


def _login(target: Target, context: ssl.SSLContext | None) -> pymysql.Connection[Any]:
    import pymysql  # noqa: PLC0415 - drivers are imported when used

    password = target.password.reveal() if target.password else ""
    connection = pymysql.Connection(
        user=target.user,
        password=password.encode("utf-8", "surrogateescape"),  # as text it would be latin1
        host=target.driver.host or "localhost",
        charset="utf8mb4",
        autocommit=True,
        ssl=context,
        ssl_disabled=context is None,
        program_name="resguardo",
        max_allowed_packet=1 << 30,
        defer_connect=True,
    )
    # The driver sets no limit to the server's greeting, and forgets a socket that it could not connect.
    connection._secure = bool(target.driver.socket)  # noqa: SLF001 - it knows this of sockets that it makes
    line = _line(target.driver)
    guard = Guard(poll, CONNECT_LIMIT, lambda: line.shutdown(socket.SHUT_RDWR), target.where)
    try:
        with guard:
            connection.connect(line)
    except (pymysql.MySQLError, OSError):
        line.close()
        if guard.reason is not None:
            raise guard.reason from None
        raise
    return connection


def _line(address: Address) -> socket.socket:
    """Return a connected socket. Raises OSError."""
    if address.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.settimeout(CONNECT_LIMIT)
            line.connect(address.socket)
        except BaseException:
            line.close()
            raise
    else:
        line = socket.create_connection((address.host, address.port), CONNECT_LIMIT)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.settimeout(None)
    return line


# The server's own limit holds for our first query, too.
_ALL_ROWS = f"SET @limit = @@SESSION.sql_select_limit, SESSION sql_select_limit = {NO_ROW_LIMIT}"
# Settings of ours that a server's own must not hinder; the second is MariaDB's, the third MySQL's.
_QUIET = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', lock_wait_timeout = %s"
LOCK_WAIT = 60  # seconds that a statement of ours waits for a table that others use
_NO_LIMIT: dict[Kind, str] = {
    "mariadb": "SET SESSION max_statement_time = 0",
    "mysql": "SET SESSION max_execution_time = 0",
}


def connect(target: Target) -> Session:
    """Connect. Raises ServerUnreachable, RightsMissing, Precondition (another kind of server), Interrupted."""
    import pymysql  # noqa: PLC0415 - drivers are imported when used

    target.tls.check_files(target.where)
    try:
        context = _context(target)
        connection = Beside(lambda: _dial(target, context), lambda got: got._force_close(), "mysql-connect").result(  # noqa: SLF001 - close() may wait
            target.wait
        )
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise refused(error, target) from error
    session = Session(connection, target)
    try:
        session.execute(_ALL_ROWS)
        said, limit = session.execute("SELECT VERSION(), @limit")[0]
        session.server, session.given_limit = server_of(str(said), target.where), int(limit)
        _check(session, target, encrypted=context is not None)
        session.execute(_QUIET, [LOCK_WAIT])
        session.execute(_NO_LIMIT[session.server.kind])
    except BaseException:
        session.close()
        raise
    return session


def _check(session: Session, target: Target, *, encrypted: bool) -> None:
    if session.server.kind != target.kind:
        raise Precondition(
            f"{target.where}: the server is {session.server.text}", f"set engine: {session.server.kind} in services.yml"
        )
    must = target.tls.sslmode not in {"disable", "prefer"}
    if encrypted and must and not session.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1]:
        raise ServerUnreachable(
            f"{target.where}: the server does not encrypt", "set it up for TLS, or correct tls.mode"
        )


@contextlib.contextmanager
def administering(source: Source, at: Executor) -> Iterator[Session]:
    """Connect as the restoring user for as long as the block runs, to change something: see `Session.steady`."""
    with connect(target_of(source, at, "restore")) as session:
        session.steady()
        yield session


# Where the servers' messages quote what stands in a row (both manuals' error references). A value may hold quotes, and
# the end may be cut off: what is after it in the message is recognised, else all of the rest goes.
_VALUES = re.compile(
    r"(?P<before>Duplicate entry |\bnear |[Ii]ncorrect [^']*?value:? |[Ii]nvalid [^']*?character string: "
    r"|out of range in |no partition for value |[Cc]annot convert string )"
    r"(?:\S.*?)(?=(?: for (?:key|column|function) [^ ]*(?: at row \d+)?| at line \d+| from \w+ to \w+| at row \d+)?$)"
)


def one_line(text: object) -> str:
    """Return a driver's or a program's message in our grammar: one line, no full stop, no values of rows."""
    return " ".join(_VALUES.sub(r"\g<before>'…'", " ".join(str(text).split())).split()).rstrip(".")


def code_of(error: BaseException | None) -> int:
    """Return the number of a driver's error, 0 when it has none."""
    first = error.args[0] if error is not None and error.args else 0
    return first if isinstance(first, int) else 0


def _text(error: BaseException) -> str:
    return one_line(error.args[1] if len(error.args) > 1 else error)


def refused(error: Exception, target: Target) -> ResguardoError:
    """Say why a connection could not be made."""
    code, text = code_of(error), _text(error)
    if code in _REFUSED:
        keys = f"{target.prefix}user and {target.prefix}password"
        return RightsMissing(
            f"{target.where}: user {target.user!r} is refused: {text}", f"check {keys} in services.yml"
        )
    if isinstance(error, RuntimeError):  # the driver lacks a library for this way to log in
        hint = "use TLS or the local socket, or install the Python package cryptography"
        return ServerUnreachable(f"{target.where}: {text}", hint)
    return ServerUnreachable(f"{target.where}: {text}", "start the server, or correct host, port, socket or tls")


def explained(error: Exception, where: str) -> ResguardoError:
    """Turn a driver's error into one of ours."""
    code, text = code_of(error), _text(error)
    if code in _RIGHTS:
        return RightsMissing(f"{where}: {text}", "grant the user what it lacks: see docs/databases/mariadb.md")
    if code in _LOST or code == 0:
        return ServerUnreachable(f"{where}: the connection was lost: {text}", "see the server's log")
    return ResguardoError(f"{where}: {text}", "see the server's log")
