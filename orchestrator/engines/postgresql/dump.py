"""Dump one database, or the globals, into a pipe; count inside the dump's own snapshot meanwhile."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from orchestrator.engines._incoming import kept, pipe
from orchestrator.engines.postgresql import configuration, counts, locks, properties, roles
from orchestrator.engines.postgresql.connection import Session, connect, last_words, one_line
from orchestrator.engines.postgresql.options import Options
from orchestrator.engines.postgresql.restore import FOOTER
from orchestrator.engines.postgresql.selection import Selection, select
from orchestrator.engines.postgresql.target import Target, target_of
from orchestrator.engines.postgresql.tools import Tools, choose
from orchestrator.engines.postgresql.upkeep import upkeep
from orchestrator.model.engine import Dump, DumpEnd, Item
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Executor, Exit, Finding, Proc, Trailer, Undo

GLOBALS_MAGIC = b"--\n-- PostgreSQL database cluster dump"
GLOBALS_FOOTER = b"-- PostgreSQL database cluster dump complete"


class Holder:
    """The session whose snapshot the dump uses. It counts in a thread of its own while the dump runs."""

    def __init__(self, session: Session, database: str, options: Options, limit: float) -> None:
        self._session = session
        self._options = options
        self._until = monotonic() + limit
        session.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # The snapshot is taken by the first query after BEGIN, so that it holds whatever was committed until BEGIN.
        began, snapshot = session.execute("SELECT transaction_timestamp(), pg_export_snapshot()")[0]
        self.as_of: datetime = began.astimezone(UTC)
        self.snapshot = str(snapshot)
        self.properties = properties.read(session)
        self.selection: Selection = select(session, database, options)
        self._counts: dict[str, int] = {}
        self._error: ResguardoError | None = None
        self._thread = threading.Thread(target=self._count, name="postgresql-count", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def _count(self) -> None:
        try:
            found = counts.inventory(self._session)
            if not self.selection.large:
                found.pop(counts.LARGE, None)
            if self._options.counts == "exact":
                locks.limit(self._session, self._options.lock_timeout)
                limit = max(1.0, self._until - monotonic())
                found |= counts.rows(self._session, limit, self.selection.without)
            self._counts = found
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks: without it nothing is vouched
            self._error = kept(error, "the count")

    def finish(self) -> tuple[dict[str, int], ResguardoError | None]:
        """Wait for the counts, and see that the session outlived the dump; with a dead one nothing is vouched for."""
        self._thread.join(max(1.0, self._until - monotonic()))
        if self._thread.is_alive():
            self.end()
            return {}, ResguardoError("counting rows took longer than the source's timeout")
        if self._error is None:
            try:
                self._session.execute("COMMIT", limit=10.0)
            except Interrupted:
                raise
            except ResguardoError as error:
                return {}, error
        if isinstance(self._error, Interrupted):
            raise self._error
        return self._counts, self._error

    def end(self) -> None:
        """Give up counting at once, also when the server does not answer."""
        if self._thread.is_alive():
            self._session.cancel()
            self._session.sever()
            self._thread.join()
        self._session.close()


@dataclass
class PostgresDump:
    """A dump under way; see orchestrator.model.engine.Dump."""

    fd: int
    trailer: Trailer
    what: str
    proc: Proc
    holder: Holder | None
    findings: tuple[Finding, ...] = ()
    fixed: dict[str, int] | None = None
    exact: bool = True
    advice: Callable[[], str] = lambda: locks.RAISE
    _end: DumpEnd | None = None

    def finish(self) -> DumpEnd:
        """Wait for pg_dump and the counts."""
        if self._end is None:
            self._end = self._finish()
        return self._end

    def _finish(self) -> DumpEnd:
        try:
            end = self.proc.wait()
        except Interrupted:
            raise
        except ResguardoError as error:  # the container in which it ran is gone
            why = Finding("error", error.message, error.hint)
            return DumpEnd(error=f"{self.what}: the dump failed: {error.message}", findings=(why, *self.findings))
        findings = (*self.findings, *said(end, self.what))
        if not end.ok:
            return DumpEnd(error=failure(end, self.what), findings=(*hints(end, self.advice), *findings))
        if self.holder is None:
            return DumpEnd(counts=self.fixed or {}, counts_exact=True, findings=findings)
        found, wrong = self.holder.finish()
        if wrong is not None:
            return DumpEnd(error=f"{self.what}: counting its rows failed: {wrong.message}", findings=findings)
        return DumpEnd(counts=found, counts_exact=self.exact, as_of=self.holder.as_of, findings=findings)


@contextmanager
def dump(item: Item, at: Executor, undo: Undo) -> Iterator[Dump]:
    """Start the dump of an item; on leaving everything that it started is ended, also with a frozen server."""
    target = target_of(item.source, at)
    options: Options = item.source.options
    with ExitStack() as stack:
        if item.role == "globals":
            yield _dump_globals(stack, target, item, at, undo)
            return
        session = connect(target, item.name)
        stack.callback(session.close)
        tools = choose(at, undo, session.version, options.tools)
        kept = upkeep(session, item.name, options)
        holder = Holder(session, item.name, options, item.source.timeout)
        stack.callback(holder.end)
        argv = [tools.path("pg_dump"), f"--snapshot={holder.snapshot}", *_arguments(options, tools, item)]
        argv += holder.selection.arguments(options.content)
        plain = options.format == "plain"
        head = holder.properties.header() if plain else b""
        fd, proc = _start(stack, [*argv, "--dbname", target.conninfo(item.name)], head, _Place(target, item, at, undo))
        holder.start()
        # A custom dump has no mark at its end: pg_dump's exit code alone tells that it is whole.
        trailer = (
            Trailer(properties.MAGIC, FOOTER, min_bytes=len(head) + 1) if plain else Trailer(b"PGDMP", min_bytes=64)
        )
        yield PostgresDump(
            fd,
            trailer,
            f"database {item.name!r}",
            proc,
            holder,
            (*kept, *_said_of_header(holder, item)),
            exact=options.counts == "exact",
            advice=lambda: locks.advice(target, item.name),
        )


def _said_of_header(holder: Holder, item: Item) -> tuple[Finding, ...]:
    if holder.properties.fits:
        return ()
    text = f"grants and settings of database {item.name!r} itself are too long to be stored"
    return (Finding("warning", text, "note them elsewhere: \\drds and \\l in psql show them"),)


def _arguments(options: Options, tools: Tools, item: Item) -> list[str]:
    arguments = ["--no-password", f"--lock-wait-timeout={int(options.lock_timeout * 1000)}"]
    if options.format == "custom":
        return [*arguments, "--format=custom", "--compress=0"]
    return [*arguments, "--format=plain", *restrict_key(tools, item)]


def restrict_key(tools: Tools, item: Item) -> list[str]:
    r"""Return a `\restrict` key that stays the same, for deduplication, and that a server cannot guess.

    The key keeps what a server puts into a dump from leaving psql's restricted mode (CVE-2025-8714). It is made from
    the machine's secret ID; where there is none pg_dump takes a random one.
    """
    try:
        with open("/etc/machine-id", "rb") as file:
            machine = file.read().strip()
    except OSError:
        machine = b""
    if not tools.restricts or not machine:
        return []
    text = f"resguardo postgresql {item.source.id} {item.role} {item.name}".encode("utf-8", "surrogateescape")
    return [f"--restrict-key={hmac.new(machine, text, hashlib.sha256).hexdigest()}"]


@dataclass(frozen=True)
class _Place:
    """Where and for which item a program is started."""

    target: Target
    item: Item
    at: Executor
    undo: Undo


def _start(stack: ExitStack, argv: Sequence[str], head: bytes, place: _Place) -> tuple[int, Proc]:
    env, secrets = place.target.environment()
    deadline = place.item.source.timeout
    read, write = pipe()
    closing = stack.enter_context(ExitStack())
    closing.callback(os.close, read)
    try:
        os.write(write, head)  # fits into any pipe: nobody reads yet
        proc = place.at.start(argv, undo=place.undo, env=env, secrets=secrets, stdout=write, deadline=deadline)
    finally:
        os.close(write)
    closing.callback(proc.stop)
    return read, proc


def _dump_globals(stack: ExitStack, target: Target, item: Item, at: Executor, undo: Undo) -> Dump:
    options: Options = item.source.options
    if item.extension == configuration.EXTENSION:
        with connect(target, options.maintenance) as session:
            return configuration.dump(stack, session)
    database = options.maintenance
    with connect(target, database) as session:
        tools = choose(at, undo, session.version, options.tools)
        passwords = bool(session.value("SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')"))
        known = roles.counts(session)
    argv = [tools.path("pg_dumpall"), "--globals-only", "--no-password", *restrict_key(tools, item)]
    argv += [] if passwords else ["--no-role-passwords"]
    fd, proc = _start(stack, [*argv, "--dbname", target.conninfo(database)], b"", _Place(target, item, at, undo))
    text = "the passwords of roles are not in the backup: the role may not read pg_authid"
    findings = () if passwords else (Finding("warning", text, "back up as a superuser, or note them elsewhere"),)
    return PostgresDump(fd, Trailer(GLOBALS_MAGIC, GLOBALS_FOOTER), "globals", proc, None, findings, known)


def failure(end: Exit, what: str) -> str:
    """Say how a dump failed."""
    lines = [line for line in end.stderr_tail.splitlines() if "error:" in line or "ERROR:" in line]
    reason = one_line(lines[0]) if lines else last_words(end.stderr_tail)
    how = f"signal {end.signal}" if end.signal else f"exit code {end.code}"
    if end.timed_out:
        how = "took too long"
    return f"{what}: the dump failed ({how}){': ' if reason else ''}{reason}"


def hints(end: Exit, lock: Callable[[], str]) -> tuple[Finding, ...]:
    """Give advice for well-known failures."""
    known = (
        ("permission denied", "grant the role what it lacks: see docs/databases/postgresql.md"),
        ("row-level security", "ALTER ROLE … BYPASSRLS, or back up as a superuser"),
        ("statement timeout", ""),  # what pg_dump says when it did not get a lock in time
        ("server closed the connection", "see the server's log: it was stopped, or a backend was ended"),
        ("terminating connection", "see the server's log: it was stopped, or a backend was ended"),
    )
    hint = next((hint for needle, hint in known if needle in end.stderr_tail), "see the server's log")
    hint = hint or f"a lock was not had in time: {lock()}"
    return (Finding("error", last_words(end.stderr_tail) or "the dump failed", hint),)


def said(end: Exit, what: str) -> list[Finding]:
    """Turn what a successful client program said on stderr into findings."""
    if not end.ok:
        return []
    lines = [one_line(line) for line in end.stderr_tail.splitlines() if line.strip()]
    return [Finding("warning", f"{what}: {line}", "see docs/databases/postgresql.md") for line in lines]
