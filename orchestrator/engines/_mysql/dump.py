"""Dump one database into a pipe, counted while it passes, and compared with what the server lists."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from orchestrator.engines._incoming import pipe
from orchestrator.engines._mysql import accounts, header, inventory
from orchestrator.engines._mysql.census import Census
from orchestrator.engines._mysql.connection import Session, Target, connect, one_line, target_of
from orchestrator.engines._mysql.inventory import Inventory, Table
from orchestrator.engines._mysql.options import Options
from orchestrator.engines._mysql.probe import look, some
from orchestrator.engines._mysql.quoting import key
from orchestrator.engines._mysql.relay import Relay
from orchestrator.engines._mysql.server import Server
from orchestrator.engines._mysql.tools import Tool, dumper
from orchestrator.model.engine import Dump, DumpEnd, Item
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Executor, Exit, Finding, Proc, Trailer, Undo

FOOTER = b"\n-- Dump completed"
_TAIL = 128  # bytes: nothing but the footer's line follows it
# Rows of these are elsewhere: the tools leave them out.
_ELSEWHERE = frozenset({"MRG_MyISAM", "MRG_MYISAM", "MERGE", "FEDERATED", "CONNECT", "SPIDER", "OQGRAPH", "Mroonga"})
_FLAGS = (
    "--single-transaction",
    "--quick",
    "--routines",
    "--triggers",
    "--events",
    "--hex-blob",
    "--default-character-set=utf8mb4",
    "--order-by-primary",
    "--skip-dump-date",
    # One row a line: an insert or a change in the middle moves nothing else, so the rest is stored already.
    "--skip-extended-insert",
    "--no-autocommit",
    # A table that takes its defaults from a sequence cannot be loaded while it alone is locked.
    "--skip-add-locks",
    # Loaded by hand into the wrong database it must fail, and not replace what is there.
    "--skip-add-drop-table",
    "--no-tablespaces",
    "--max-allowed-packet=1G",
)


def arguments(tool: Tool, server: Server, options: Options) -> list[str]:
    """Return what a dump program is told, but for the database."""
    more: list[str] = []
    if tool.kind == "mysql":
        more = ["--set-gtid-purged=OFF", "--skip-column-statistics"]
        more += ["--source-data=2"] if options.binlog else []
    else:
        more = ["--dump-history"] if tool.writes_history and server.kind == "mariadb" else []
        more += ["--master-data=2"] if options.binlog else []
        more += ["--gtid"] if options.binlog and server.kind == "mariadb" else []
    return ["--defaults-file={secret:client}", *_FLAGS, *more]


@dataclass
class DatabaseDump:
    """A dump under way; see orchestrator.model.engine.Dump."""

    fd: int
    item: Item
    target: Target
    proc: Proc
    relay: Relay
    census: Census
    before: Inventory
    as_of: datetime
    trailer: Trailer = field(default=Trailer(header.MAGIC, FOOTER, _TAIL, len(header.MAGIC)))
    _end: DumpEnd | None = None

    def finish(self) -> DumpEnd:
        """Wait for the program, and see that everything that the server lists passed."""
        if self._end is None:
            self._end = self._finish()
        return self._end

    def _finish(self) -> DumpEnd:
        what = f"database {self.item.name!r}"
        try:
            end = self.proc.wait()
        except Interrupted:
            raise
        except ResguardoError as error:  # where it ran is gone, such as a container
            return DumpEnd(error=f"{what}: {error.message}", findings=(Finding("error", error.message, error.hint),))
        self.relay.join()
        broken = self.relay.error
        if not end.ok and (broken is None or self.relay.ended):
            return DumpEnd(error=failure(end, what), findings=hints(end))
        if broken is not None or not self.relay.whole:  # a program whose output is not taken fails, too: it is not why
            reason = broken.message if broken else "nobody read it to its end"
            return DumpEnd(error=f"{what}: the dump is not understood: {reason}")
        try:
            with connect(self.target) as session:
                after = inventory.take(session, self.item.name)
        except Interrupted:
            raise
        except ResguardoError as error:
            return DumpEnd(error=f"{what}: its objects could not be listed after the dump: {error.message}")
        if fault := self._fault(after):
            text = f"{what}: {fault.message}"
            return DumpEnd(error=text, findings=(replace(fault, message=text),))
        findings = (*said(end, what), *elsewhere(self.census, after, what))
        return DumpEnd(counts=self.census.counts(), counts_exact=True, as_of=self.as_of, findings=findings)

    def _fault(self, after: Inventory) -> Finding | None:
        """Say what is wrong with a dump that ended well."""
        if names := changed(self.before, after):
            return Finding("error", f"tables were changed during the dump: {names}", _CHANGED_HINT)
        if lacking := missing(self.census, self.before, after):
            hint = "the tool left them out without a word: see that it fits the server, and the user's grants"
            return Finding("error", f"the dump lacks {lacking}", hint)
        return None


def missing(census: Census, before: Inventory, after: Inventory) -> str:
    """Say what of the objects that were there all the time is not in the dump; "" for nothing."""
    steady, ever = before.objects & after.objects, before.objects | after.objects
    for kind in sorted({kind for kind, _ in ever} | set(census.objects)):
        least, most = (sum(1 for found, _ in objects if found == kind) for objects in (steady, ever))
        if not least <= census.objects[kind] <= most:
            return f"{kind}: it holds {census.objects[kind]}, the server has {least}"
        seen = census.names.get(kind, set())
        lost = {name for found, name in steady if found == kind} - seen
        if lost and len(seen) == census.objects[kind]:
            return f"{kind}: {some(sorted(lost))}"
    wanted = [table for table in after.tables if ("tables", table.name) in steady and not _is_elsewhere(table)]
    gone = [table.name for table in wanted if key(table.name) not in census.rows]
    return f"the rows of {some(gone)}" if gone else ""


def changed(before: Inventory, after: Inventory) -> str:
    """Name the tables that were altered or changed places meanwhile; "" for none.

    A snapshot is one of rows: a table that is renamed to another's name, or loses a partition, is read without a word.
    (One that is emptied or built anew the tools refuse to read themselves, "Table definition has changed".)
    """
    made = {table.name: table.created for table in before.tables}
    names = {table.name for table in after.tables if made.get(table.name, table.created) != table.created}
    moved = set(before.numbers.values())
    for name, number in after.numbers.items():
        if before.numbers.get(name, number) != number and number in moved:
            names.add(re.split("#p#", name, flags=re.IGNORECASE)[0])
    return some(sorted(names))


def _is_elsewhere(table: Table) -> bool:
    return table.engine in _ELSEWHERE


def elsewhere(census: Census, after: Inventory, what: str) -> Iterator[Finding]:
    """Say whose rows are not in the dump."""
    for table in after.tables:
        if _is_elsewhere(table) and key(table.name) not in census.rows:
            text = f"{what}: rows of {table.name!r} are not in the dump, its engine is {table.engine}"
            yield Finding("warning", text, "back up what the table stands for")


@contextmanager
def dump(item: Item, at: Executor, undo: Undo) -> Iterator[Dump]:
    """Start the dump of an item; on leaving everything that it started is ended, also with a frozen server."""
    target = target_of(item.source, at)
    options: Options = item.source.options
    with ExitStack() as stack:
        if item.role == "globals":
            yield stack.enter_context(accounts.dumping(target))
            return
        with connect(target) as session:
            tool = dumper(at, undo, session.server, options.tools)
            head = header.read(session, item.name).text()
            before = look(session, item.name, options, tool)
            as_of = now_of(session)
            argv = [tool.path, *arguments(tool, session.server, options), "--", item.name]
        census = Census()
        read, proc, relay = _start(stack, argv, head, census, _Place(target, tool, item, at, undo))
        yield DatabaseDump(read, item, target, proc, relay, census, before, as_of)


def now_of(session: Session) -> datetime:
    """Return the server's clock; read before the snapshot is taken: the dump holds what was committed until then."""
    now: datetime = session.value("SELECT UTC_TIMESTAMP(6)")
    return now.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Place:
    """Where and for which item a program is started."""

    target: Target
    tool: Tool
    item: Item
    at: Executor
    undo: Undo


def _start(
    stack: ExitStack, argv: Sequence[str], head: bytes, census: Census, place: _Place
) -> tuple[int, Proc, Relay]:
    read, sink = pipe()
    stack.callback(os.close, read)
    source, write = pipe()
    relay = Relay(source, sink, head, census)
    stack.callback(relay.end)
    try:
        secrets = place.target.secrets(place.tool.kind)
        deadline = place.item.source.timeout
        proc = place.at.start(argv, undo=place.undo, secrets=secrets, stdout=write, deadline=deadline)
    finally:
        os.close(write)
    stack.callback(proc.stop)
    return read, proc, relay


def failure(end: Exit, what: str) -> str:
    """Say how a dump failed."""
    reason = reason_of(end)
    how = f"signal {end.signal}" if end.signal else f"exit code {end.code}"
    if end.timed_out:
        how = "took too long"
    return f"{what}: the dump failed ({how}){': ' if reason else ''}{reason}"


def reason_of(end: Exit) -> str:
    """Return the line of a program that tells its error; other lines may hold rows."""
    lines = [line for line in end.stderr_tail.splitlines() if "rror" in line or "ERROR" in line or "ouldn't" in line]
    lines.sort(key=lambda line: "Warning" in line)
    return one_line(lines[0])[:500] if lines else ""


_CHANGED_HINT = "run it again when nothing alters them"
_KNOWN = (
    ("Lost connection", "see the server's log: it was stopped, or the session was ended"),
    ("server has gone away", "see the server's log: it was stopped, or the session was ended"),
    ("execute command denied", "a view runs a function as who asks: GRANT EXECUTE ON the database, too"),
    ("denied", "grant the user what it lacks: see docs/databases/mariadb.md"),
    ("Table definition has changed", f"tables were changed during the dump: {_CHANGED_HINT}"),
    ("references invalid", "mend or drop the view: SHOW CREATE VIEW shows it"),
    ("doesn't exist", "a table was dropped or renamed during the dump: run it again"),
    ("unknown option", "the client program is too old: install a newer one, or set tools to its folder"),
    ("unknown variable", "the client program is too old: install a newer one, or set tools to its folder"),
)


def hints(end: Exit) -> tuple[Finding, ...]:
    """Give advice for well-known failures."""
    hint = next((hint for needle, hint in _KNOWN if needle in end.stderr_tail), "see the server's log")
    return (Finding("error", reason_of(end) or "the dump failed", hint),)


def said(end: Exit, what: str) -> Iterator[Finding]:
    """Turn what a successful program said on stderr into findings."""
    for line in end.stderr_tail.splitlines():
        if line.strip():
            yield Finding("warning", f"{what}: {one_line(line)[:500]}", "see docs/databases/mariadb.md")
