"""Dump one database into an archive, by mongodump or by the driver, and say of which moment it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.engines._incoming import pipe
from orchestrator.engines.mongodb import moment, mongodump, people, whole
from orchestrator.engines.mongodb.archive import MAGIC, TERM, block, end, prelude
from orchestrator.engines.mongodb.catalogue import Described, absent, describe, exists, renamed
from orchestrator.engines.mongodb.connection import Server, Target, code_of, connect, explained, one_line, target_of
from orchestrator.engines.mongodb.crc64 import crc64
from orchestrator.engines.mongodb.options import Options
from orchestrator.engines.mongodb.producing import Production, Sink
from orchestrator.engines.mongodb.reading import raw
from orchestrator.model.engine import Dump, DumpEnd, Item
from orchestrator.model.errors import DumpFailed, Interrupted, Precondition, ResguardoError
from orchestrator.model.execution import Executor, Finding, Trailer, Undo

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession

_BLOCK = 1 << 18
_AGAIN = 3  # times that a transaction is begun while others change collections
_PATIENCE = 300.0  # seconds for a batch of documents
_SEARCH = 3.0  # seconds to find a server that answered just now
TOOL_VERSION = "resguardo"


@dataclass
class MongoDump:
    """A dump under way; see orchestrator.model.engine.Dump.

    moment: asked at the end: whether the dump is of one moment, and what to say of that. Raises DumpFailed.
    """

    fd: int
    trailer: Trailer
    item: Item
    production: Production
    as_of: datetime
    moment: Callable[[], tuple[bool, Sequence[Finding]]]
    _end: DumpEnd | None = None

    def finish(self) -> DumpEnd:
        """Wait for the producing thread's verdict."""
        if self._end is None:
            self._end = self._finish()
        return self._end

    def _finish(self) -> DumpEnd:
        what = f"database {self.item.name!r}"
        source, production = self.item.source, self.production
        if not production.wait(source.wait, source.timeout):
            return DumpEnd(error=f"{what}: the dump took longer than {source.timeout:g} s")
        if production.error:
            hint = Finding("error", production.error, production.hint or "see the server's log")
            return DumpEnd(error=f"{what}: {production.error}", findings=(hint,))
        try:
            exact, findings = self.moment()
        except Interrupted:
            raise
        except ResguardoError as error:
            return DumpEnd(error=f"{what}: {error.message}", findings=(Finding("error", error.message, error.hint),))
        return DumpEnd(counts=production.counts, counts_exact=exact, as_of=self.as_of, findings=tuple(findings))


@contextmanager
def dump(item: Item, at: Executor, undo: Undo) -> Iterator[Dump]:
    """Start the dump of an item; on leaving everything that it started is ended, also with a frozen server."""
    target = target_of(item.source, at)
    with ExitStack() as stack:
        if item.role == "globals":
            yield people.dump(stack, target)
            return
        server = stack.enter_context(connect(target))
        if not exists(server, item.name):
            raise absent(server, item.name)
        path = mongodump.find(item.source.options, at) if item.name != "admin" else None
        if path is None:
            yield _by_driver(stack, item, target, server)
        else:
            yield _by_mongodump(stack, item, _Program(path, target, at, undo), server)


def _trailer() -> Trailer:
    # An archive has no mark at its end: the producer's own verdict tells that it is whole.
    return Trailer(MAGIC, TERM, tail=len(TERM), min_bytes=64)


@dataclass(frozen=True)
class _Program:
    """mongodump and where it runs."""

    path: str
    target: Target
    at: Executor
    undo: Undo


def _by_mongodump(stack: ExitStack, item: Item, program: _Program, server: Server) -> Dump:
    as_of, oplog, before = moment.clock(server), moment.Oplog(server), whole.expected(server, item.name)
    given, secrets = mongodump.arguments(program.target, item.name)
    read, write = pipe()
    after = ExitStack()
    after.callback(os.close, read)
    try:
        proc = program.at.start(
            [program.path, *given],
            undo=program.undo,
            secrets=secrets,
            stdout=write,
            deadline=item.source.timeout,
        )
    except BaseException:
        after.close()
        raise
    finally:
        os.close(write)

    def produce(sink: Sink) -> None:
        while data := os.read(read, _BLOCK):
            sink.write(data)
        ended = proc.wait()
        if not ended.ok:
            raise DumpFailed(mongodump.failure(ended), "see docs/databases/mongodb.md")

    production = Production(produce, after)
    stack.callback(production.close)
    stack.callback(proc.stop)

    def judged() -> tuple[bool, Sequence[Finding]]:
        exact, findings = _quiet(server, oplog, before.found)
        return exact, (*findings, *whole.assert_whole(server, oplog, before, production))

    production.start()
    return MongoDump(production.sink.fd, _trailer(), item, production, as_of, judged)


def _quiet(server: Server, oplog: moment.Oplog, found: Sequence[Described]) -> tuple[bool, Sequence[Finding]]:
    """Whether nobody wrote during a dump that has no snapshot: then it is of one moment all the same.

    Raises DumpFailed when a collection was renamed meanwhile, and may be missing.
    """
    database = found[0].entry.db if found else ""
    known = {each.entry.collection for each in found}
    new = {*oplog.renames(database), *renamed(found, describe(server, database) if found else ())}
    if names := sorted(new - known):
        raise DumpFailed(f"collections were renamed during the dump, such as {names[0]!r}", "dump it again")
    written = oplog.written(database)
    if written is False:
        return True, ()
    if written is None:
        text = f"database {database!r}: each collection is of its own moment; whether that matters is not known"
        return False, (Finding("info", text, "a replica set, and the right to read its oplog, would tell"),)
    text = f"database {database!r} was written to during its dump: each collection is of its own moment"
    return False, (Finding("warning", text, "set consistency to snapshot, or dump when nobody writes"),)


def _by_driver(stack: ExitStack, item: Item, target: Target, looking: Server) -> Dump:
    after = ExitStack()
    try:
        server = after.enter_context(Server(target, _PATIENCE, _SEARCH))
        version = str(looking.command("admin", {"buildInfo": 1}).get("version", ""))
        as_of, oplog = moment.clock(looking), moment.Oplog(looking)
        found, session, said = _begun(server, item)
        if session is not None:
            after.callback(session.end_session)
    except BaseException:
        after.close()
        raise

    def produce(sink: Sink) -> None:
        _read(sink, server, found, session, version)

    def judged() -> tuple[bool, Sequence[Finding]]:
        if session is not None:
            return True, ()
        exact, told = _quiet(looking, oplog, found)
        return exact, () if exact else (*said, *told)

    production = Production(produce, after)
    stack.callback(production.close)
    production.start()
    return MongoDump(production.sink.fd, _trailer(), item, production, as_of, judged)


def _begun(server: Server, item: Item) -> tuple[list[Described], ClientSession | None, Sequence[Finding]]:
    """Return what is to be dumped, and the transaction to read it in, or why there is none. Raises Precondition."""
    options: Options = item.source.options
    if options.consistency == "collection":
        return describe(server, item.name), None, ()
    must = options.consistency == "snapshot"
    why = moment.why_not(server, item.name, server.command("admin", {"hello": 1}), must=must)
    for _ in range(_AGAIN if why is None else 0):
        found = describe(server, item.name)
        try:
            session = moment.begin(server, found)
        except Precondition as error:
            if type(error) is not Precondition:
                raise
            why = Finding("info", error.message, error.hint)
            break
        if describe(server, item.name) == found:  # else a collection may be missing in what is to be dumped
            return found, session, ()
        session.end_session()
    if must:
        text = why.message if why else f"database {item.name!r}: others are changing its collections"
        raise Precondition(f"no snapshot can be had: {text}", why.hint if why else "try again later")
    return describe(server, item.name), None, (why,) if why else ()


def _read(sink: Sink, server: Server, found: Sequence[Described], session: ClientSession | None, version: str) -> None:
    """Write the archive. Raises DumpFailed, and what the server's errors are explained as."""
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - drivers are imported when used

    sink.write(prelude([each.entry for each in found], version, TOOL_VERSION))
    try:
        for each in found:
            _collection(sink, server, each, session)
        if session is not None:
            session.commit_transaction()
    except PyMongoError as error:
        if session is not None and code_of(error) in moment.ENDED:
            text = f"the server ended the transaction that was read: {one_line(error)}"
            raise DumpFailed(text, "raise transactionLifetimeLimitSeconds, or set consistency to collection") from error
        raise explained(error, server.target) from error


def _collection(sink: Sink, server: Server, each: Described, session: ClientSession | None) -> None:
    if each.body is None:
        sink.write(end(each.entry.namespace, 0))
        return
    crc, begun = 0, False
    for data in raw(server, each.body, session):
        if data and not begun:
            sink.write(block(each.body))
            begun = True
        crc = crc64(data, crc)
        sink.write(data)
    if begun:
        sink.write(TERM)
    sink.write(end(each.body, crc))
