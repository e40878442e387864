"""A MongoDB server as the driver reaches it, with answers that cannot be waited for in vain; and as its tools do."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

from orchestrator.engines._guard import Beside
from orchestrator.engines.mongodb.options import Options
from orchestrator.model.engine import Source
from orchestrator.model.errors import Precondition, ResguardoError, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Address, Executor
from orchestrator.model.secret import Secret
from orchestrator.model.waiting import Wait, poll

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure

Purpose = Literal["dump", "restore"]
T = TypeVar("T")
PORT = 27017
CONNECT_LIMIT = 10.0
_REACH_LIMIT = 30.0  # seconds for looking up a name and trying all of its addresses
_SEARCH = 5.0
_GOODBYE = 1.0
ANSWER_LIMIT = 60.0  # seconds for one answer to a look
_GRANT = {
    "dump": 'db.getSiblingDB("{db}").grantRolesToUser("{user}", [{{role: "backup", db: "admin"}}])',
    "restore": 'db.getSiblingDB("{db}").grantRolesToUser("{user}", [{{role: "restore", db: "admin"}}, '
    '{{role: "readAnyDatabase", db: "admin"}}])',
}
_UNAUTHORIZED, _AUTHENTICATION = 13, 18  # mongod's error codes
MISSING_COMMAND = 59
# What the driver adds to its messages: the whole answer, its settings, all that it knows of the servers.
_MORE = re.compile(r", full error: | \(configured timeouts: |, Timeout: [\d.]+s, Topology Description: ")


@dataclass(frozen=True)
class Target:
    """A server's coordinates. address: where tools find it · reached: where a driver in this process does · wait: how
    answers are waited for (see `Source`) · prefix: of the keys `user` and `password` that say who this is.
    """

    options: Options
    address: Address
    reached: Address
    user: str | None
    password: Secret | None
    purpose: Purpose
    place: str = ""
    wait: Wait = field(default=poll, repr=False, compare=False)

    @property
    def prefix(self) -> str:
        """What the keys in services.yml that name the user begin with."""
        return "restore_" if self.purpose == "restore" and self.options.restore_user else ""

    @property
    def where(self) -> str:
        """For messages."""
        at = self.address.socket or f"{self.address.host}:{self.address.port}"
        return f"mongodb at {at}{' in ' if self.place else ''}{self.place}"

    @property
    def grant(self) -> str:
        """The statement that gives the user its rights."""
        return _GRANT[self.purpose].format(db=self.options.auth_database, user=self.user or "…")


def target_of(source: Source, at: Executor, purpose: Purpose = "dump") -> Target:
    """Gather a source's coordinates. Raises RightsMissing (secret), ServerUnreachable (no way into the container)."""
    options: Options = source.options
    user, reference = options.user, options.password
    if purpose == "restore" and options.restore_user:
        user, reference = options.restore_user, options.restore_password
    password = source.resolve(reference) if reference is not None else None
    if password is not None:
        source.hide(password)
    address = _address(options, at)
    return Target(options, address, at.address(address), user, password, purpose, at.place, source.wait)


def _address(options: Options, at: Executor) -> Address:
    port = options.port or PORT
    usual = f"/tmp/mongodb-{port}.sock"  # noqa: S108 - where a server puts its socket
    path = options.socket or (usual if not options.host and at.exists(usual) else "")
    return Address(socket=path) if path else Address(options.host or "localhost", port)


class Server:
    """A client of one server. Each answer has a limit of ours.

    patience: seconds of the driver's own wait for an answer · search: of its search for the server.
    """

    def __init__(self, target: Target, patience: float = ANSWER_LIMIT, search: float = _SEARCH) -> None:
        self.target = target
        self._search = search
        self._patience = patience
        self._wait = target.wait
        self._asking: Beside[Any] | None = None
        self._folder: str | None = None
        self.client: MongoClient[dict[str, Any]] = self._made()

    def _made(self) -> MongoClient[dict[str, Any]]:
        """Return a client that has spoken to nobody yet: what fails here is one of its settings, such as a file."""
        try:
            with ExitStack() as closing:
                return self._client(closing)
        except expected_errors() as error:
            self._forget()
            if isinstance(error, OSError | ValueError | TypeError):
                text = f"{self.target.where}: {one_line(error)}"
                raise Precondition(text, "correct the source's keys in services.yml") from error
            raise explained(error, self.target) from error

    def _client(self, closing: ExitStack) -> MongoClient[dict[str, Any]]:
        from bson.codec_options import CodecOptions, DatetimeConversion  # noqa: PLC0415 - imported when used
        from pymongo import MongoClient  # noqa: PLC0415 - drivers are imported when used

        options, reached = self.target.options, self.target.reached
        given: dict[str, Any] = {}
        if self.target.user is not None:
            password = self.target.password
            given = {"username": self.target.user, "password": password.reveal() if password else ""}
            given["authSource"] = options.auth_database
        if options.replica_set:
            given["replicaSet"] = options.replica_set
        self.codec: CodecOptions[dict[str, Any]] = CodecOptions(
            tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
        )
        client: MongoClient[dict[str, Any]] = MongoClient(
            self._place(reached),
            reached.port or None,
            directConnection=not options.replica_set,
            readPreference=options.read_preference,
            appname="resguardo",
            connectTimeoutMS=int(CONNECT_LIMIT * 1000),
            serverSelectionTimeoutMS=int(self._search * 1000),
            socketTimeoutMS=int(self._patience * 1000),
            retryReads=False,
            retryWrites=False,
            connect=False,
            **given,
            **self._tls(closing),
        )
        return client

    def _place(self, reached: Address) -> str:
        """Return an address in the driver's words. It knows a socket by an URI, and only if its path ends in .sock."""
        path = reached.socket
        if not path:
            return f"[{reached.host}]" if ":" in reached.host else reached.host
        if not path.endswith(".sock"):
            self._folder = tempfile.mkdtemp(prefix="resguardo-mongodb-")
            path = os.path.join(self._folder, "server.sock")
            os.symlink(reached.socket, path)
        return f"mongodb://{quote(path, safe='')}"

    def _tls(self, closing: ExitStack) -> dict[str, Any]:
        """Return the driver's settings; it reads the files at once, and until `closing` is closed."""
        tls = self.target.options.tls
        if tls.sslmode == "disable":
            return {}
        given: dict[str, Any] = {"tls": True}
        if tls.ca:
            content_of(tls.ca)  # the driver would not say which file is missing
            given["tlsCAFile"] = tls.ca
        if tls.sslmode == "require":
            given |= {"tlsAllowInvalidCertificates": True}
        elif tls.sslmode == "verify-ca":
            given |= {"tlsAllowInvalidHostnames": True}
        if tls.cert and tls.key:  # the driver wants both in one file, which nobody else may find
            pem = memory_file(certificate(self.target.options))
            closing.callback(os.close, pem)
            given["tlsCertificateKeyFile"] = f"/proc/self/fd/{pem}"
        return given

    def ask(self, question: Callable[[], T], limit: float = ANSWER_LIMIT) -> T:
        """Return what `question` returns, which uses `client`.

        Raises ServerUnreachable (gone, no answer in `limit` seconds), RightsMissing, ResguardoError, Interrupted. After
        those that did not wait for the answer see `settle`.
        """
        self._asking = asking = Beside(question, lambda _answer: None, "mongodb-ask")
        try:
            return asking.result(_limited(self.target, self._wait, limit))
        except expected_errors() as error:
            raise explained(error, self.target) from error

    def command(self, database: str, command: dict[str, Any], limit: float = ANSWER_LIMIT) -> dict[str, Any]:
        """Run a command. Raises as `ask`."""
        return self.ask(lambda: self.client[database].command(command, codec_options=self.codec), limit)

    def listed(self, database: str, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Run a command that answers by a cursor, and return all of it. Raises as `ask`."""

        def question() -> list[dict[str, Any]]:
            there = self.client.get_database(database, codec_options=self.codec)  # for later batches, too
            with there.cursor_command(command, codec_options=self.codec) as cursor:
                return list(cursor)

        return self.ask(question)

    def settle(self, limit: float) -> None:
        """Wait for the answer to a question that was given up: it may still change something."""
        if self._asking is not None and self._asking.is_alive():
            self._asking.join(limit)

    def steady(self) -> None:
        """Let no signal end a question from here on."""
        self._wait = poll

    def close(self) -> None:
        """End the connections. The driver says goodbye to the server: one that is gone is not waited for."""
        closing = threading.Thread(target=self._close, name="mongodb-close", daemon=True)
        closing.start()
        closing.join(_GOODBYE)

    def _close(self) -> None:
        self.client.close()
        self._forget()

    def _forget(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def content_of(path: str) -> bytes:
    """Return what a file of `tls` holds. Raises Precondition."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Precondition(f"{path}: cannot be read: {error.strerror}", "correct tls") from error


def certificate(options: Options) -> bytes:
    """Return our certificate and its key, as one file. Raises Precondition."""
    return b"\n".join(content_of(path or "") for path in (options.tls.cert, options.tls.key))


def memory_file(content: bytes) -> int:
    """Return a descriptor of a file that only exists in memory, at its beginning; the caller closes it."""
    fd = os.memfd_create("resguardo-mongodb", os.MFD_CLOEXEC)
    with open(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _limited(target: Target, wait: Wait, limit: float) -> Wait:
    """Return a way to wait as `wait` does, for `limit` seconds. Raises ServerUnreachable after those."""

    def limited(fds: Iterable[int], _seconds: float | None) -> set[int]:
        ready = wait(fds, limit)
        if not ready:
            text = f"{target.where}: no answer within {limit:g} s"
            raise ServerUnreachable(text, "see what the server is waiting for")
        return ready

    return limited


@contextlib.contextmanager
def connect(target: Target, patience: float = ANSWER_LIMIT) -> Iterator[Server]:
    """Connect and log in. Raises ServerUnreachable, RightsMissing, Precondition (what is configured), Interrupted."""
    _knock(target)
    with Server(target, patience) as server:
        server.command("admin", {"ping": 1}, CONNECT_LIMIT + 5)
        yield server


def _knock(target: Target) -> None:
    """See that somebody listens: the driver would try until its limit, and say less."""
    trying = Beside(lambda: _line(target.reached), socket.socket.close, "mongodb-knock")
    try:
        trying.result(_limited(target, target.wait, _REACH_LIMIT)).close()
    except (OSError, ValueError, ServerUnreachable) as error:  # ValueError: a name that cannot be one
        if target.options.replica_set:
            return  # another member may answer
        if isinstance(error, ServerUnreachable):
            raise
        text = f"{target.where}: {str(getattr(error, 'strerror', '') or error).lower()}"
        raise ServerUnreachable(text, "start the server, or correct host, port or socket") from error


def _line(reached: Address) -> socket.socket:
    """Return a connected socket. Raises OSError, ValueError."""
    if not reached.socket:
        return socket.create_connection((reached.host, reached.port), CONNECT_LIMIT)
    line = socket.socket(socket.AF_UNIX)
    try:
        line.settimeout(CONNECT_LIMIT)
        line.connect(reached.socket)
    except BaseException:
        line.close()
        raise
    return line


def driver_errors() -> tuple[type[Exception], ...]:
    """What the driver raises."""
    from bson.errors import BSONError  # noqa: PLC0415 - drivers are imported when used
    from pymongo.errors import PyMongoError  # noqa: PLC0415

    return PyMongoError, BSONError


def expected_errors() -> tuple[type[Exception], ...]:
    """What a question to a server may raise."""
    return (ResguardoError, OSError, ValueError, TypeError, *driver_errors())


def code_of(error: BaseException | None) -> int | None:
    """Return mongod's code of a driver's error, or of one of ours that was made of it."""
    while error is not None:
        code = getattr(error, "code", None)
        if isinstance(code, int):
            return code
        error = error.__cause__
    return None


def one_line(error: object) -> str:
    """Return a message in our grammar: one line, without the driver's copy of the whole answer, no full stop."""
    return " ".join(_MORE.split(str(error), maxsplit=1)[0].split()).rstrip(".")


def explained(error: Exception, target: Target) -> ResguardoError:
    """Turn a driver's error into one of ours."""
    from pymongo.errors import (  # noqa: PLC0415
        ConfigurationError,
        ConnectionFailure,
        OperationFailure,
        ServerSelectionTimeoutError,
    )

    if isinstance(error, ResguardoError):
        return error
    text = one_line(error)
    if isinstance(error, OperationFailure):
        return _refused(error, target, text[:1].lower() + text[1:])
    if isinstance(error, ConfigurationError):
        return Precondition(f"{target.where}: {text}", "correct the source's keys in services.yml")
    if isinstance(error, ServerSelectionTimeoutError):
        return _none_found(target, text)
    if isinstance(error, ConnectionFailure | OSError):
        return ServerUnreachable(f"{target.where}: the connection was lost: {text}", "see the server's log")
    return ResguardoError(f"{target.where}: {text}", "see the server's log")


def _none_found(target: Target, text: str) -> ResguardoError:
    """Say why the driver found nobody to speak to."""
    name = target.options.replica_set
    if name and "replica set" in text:
        text = f"{target.where}: no member of the replica set {name!r} was found there"
        return ServerUnreachable(text, "correct replica_set, or leave it out to speak to this server alone")
    if text.startswith("Got response"):
        text = f"{target.where}: does not speak MongoDB's protocol"
        return ServerUnreachable(text, "correct host and port: another kind of server listens there")
    hint = "check that this is MongoDB's port, and `tls`; see the server's log"
    return ServerUnreachable(f"{target.where}: the connection was lost: {text}", hint)


def _refused(error: OperationFailure, target: Target, text: str) -> ResguardoError:
    prefix = target.prefix
    if error.code == _AUTHENTICATION:
        said = f"check {prefix}user, {prefix}password and auth_database"
        return RightsMissing(f"{target.where}: user {target.user!r} is refused: {text}", said)
    if error.code == _UNAUTHORIZED:
        hint = target.grant if target.user else f"set {prefix}user and {prefix}password"
        return RightsMissing(f"{target.where}: {text}", hint)
    return ResguardoError(f"{target.where}: {text}", "see the server's log")
