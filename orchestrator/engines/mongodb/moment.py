"""Of which moment a dump is: a transaction's snapshot, or what the oplog tells of the time that it took."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.engines.mongodb.catalogue import Described
from orchestrator.engines.mongodb.connection import Server, code_of
from orchestrator.engines.mongodb.reading import raw
from orchestrator.model.errors import Interrupted, Precondition, ResguardoError, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Finding

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession

_LIFETIME = 60  # seconds, transactionLifetimeLimitSeconds when a server does not tell it
_PACE = 2 << 20  # bytes a second that a dump surely makes: it waits for the repository, which may be far away
# mongod's codes for what cannot be had inside a transaction, in this order: illegal operation, command not supported,
# invalid options, no snapshot, not inside a transaction, not at this level, not implemented
_REFUSED = {20, 115, 72, 246, 263, 50768, 238}
# what it says to one whose transaction it ended: no such transaction, it lasted too long, its snapshot is gone
ENDED = {251, 290, 246, 239}
_ALONE = "only a replica set has transactions; one member is enough for one"


def clock(server: Server) -> datetime:
    """Return the server's own time."""
    told = server.command("admin", {"hello": 1}).get("localTime")
    return told.astimezone(UTC) if isinstance(told, datetime) else datetime.now(UTC)


def lifetime(server: Server) -> float:
    """Return how many seconds a transaction may last."""
    try:
        told = server.command("admin", {"getParameter": 1, "transactionLifetimeLimitSeconds": 1})
    except (Interrupted, ServerUnreachable):
        raise
    except ResguardoError:
        return _LIFETIME
    return float(told.get("transactionLifetimeLimitSeconds", _LIFETIME))


def size_of(server: Server, database: str) -> int | None:
    """Return the bytes of a database's documents, None where the server does not tell."""
    try:
        told = server.command(database, {"dbStats": 1}).get("dataSize")
    except (Interrupted, ServerUnreachable):
        raise
    except ResguardoError:
        return None
    return int(told) if told is not None else None


def why_not(server: Server, database: str, hello: dict[str, Any], *, must: bool) -> Finding | None:
    """Say why a database is not dumped inside one transaction, None where that can be tried. must: however large."""
    if hello.get("msg") == "isdbgrid":
        text = "a sharded cluster: each collection is of its own moment"
        return Finding("warning", text, "stop the balancer while it is dumped")
    if not hello.get("setName"):
        return Finding("info", "no replica set: each collection is of its own moment", _ALONE)
    if not hello.get("isWritablePrimary", hello.get("ismaster", True)):
        text = "no primary is asked: each collection is of its own moment"
        return Finding("info", text, "give replica_set, so that the primary is found, or the primary's own address")
    seconds, size = lifetime(server), size_of(server, database)
    if not must and size is not None and size > seconds * _PACE:
        text = f"database {database!r} is too large for a transaction of {seconds:g} s"
        hint = "set consistency to snapshot where the repository is fast, or raise transactionLifetimeLimitSeconds"
        return Finding("info", f"{text}: each collection is of its own moment", hint)
    return None


def begin(server: Server, found: list[Described]) -> ClientSession:
    """Begin a transaction whose snapshot is taken when this returns, and which has read from every collection.

    Raises Precondition where the server has none, and as `Server.ask`.
    """
    from pymongo import ReadPreference  # noqa: PLC0415 - drivers are imported when used
    from pymongo.read_concern import ReadConcern  # noqa: PLC0415

    session = server.client.start_session()

    def question() -> None:
        session.start_transaction(ReadConcern("snapshot"), read_preference=ReadPreference.PRIMARY)
        for each in found:
            if each.body is not None:
                list(raw(server, each.body, session, limit=1))

    try:
        server.ask(question)
    except ResguardoError as error:
        if code_of(error) in _REFUSED:
            raise Precondition(f"the server has no snapshot for us: {error.message}", _ALONE) from error
        raise
    return session


class Oplog:
    """What the oplog tells of the time between two moments. Without rights on it, or without one, nothing is known."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = self._newest()

    def _newest(self) -> Any:
        client = self._server.client

        def question() -> Any:
            return client.local["oplog.rs"].find_one({}, ["ts"], sort=[("$natural", -1)])

        try:
            newest = self._server.ask(question)
        except (RightsMissing, ServerUnreachable):
            return None
        return newest and newest.get("ts")

    def renames(self, database: str) -> list[str]:
        """Return the names that collections were given since, as far as that is known."""
        if self._before is None:
            return []
        command = {"find": "oplog.rs", "projection": {"o.to": 1}}
        command["filter"] = {"ts": {"$gt": self._before}, "ns": f"{database}.$cmd", "o.to": {"$exists": True}}
        try:
            told = self._server.listed("local", command)
        except (RightsMissing, ServerUnreachable):
            return []
        return [str(each["o"]["to"]).partition(".")[2] for each in told]

    def written(self, database: str) -> bool | None:
        """Whether the database was written to since; None where that is not known."""
        if self._before is None:
            return None
        ours = {"ns": {"$regex": f"^{re.escape(database)}\\."}}
        several = {"ns": "admin.$cmd"}  # a transaction's writes lie inside one entry
        query = {"ts": {"$gt": self._before}, "$or": [ours, several]}
        client = self._server.client
        try:
            return self._server.ask(lambda: client.local["oplog.rs"].find_one(query, ["ts"])) is not None
        except (RightsMissing, ServerUnreachable):
            return None
