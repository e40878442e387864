"""Restore a database under a new name: all of it, or nothing is left."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from orchestrator.engines._incoming import Incoming
from orchestrator.engines._mysql import header, names
from orchestrator.engines._mysql.connection import NAME_LETTERS, Session, Target, code_of, connect, one_line, target_of
from orchestrator.engines._mysql.dump import FOOTER, reason_of
from orchestrator.engines._mysql.header import Header
from orchestrator.engines._mysql.options import Options
from orchestrator.engines._mysql.quoting import ident
from orchestrator.engines._mysql.rewrite import Rewriter
from orchestrator.engines._mysql.script import NotUnderstoodError
from orchestrator.engines._mysql.tools import Tool, loader
from orchestrator.model.engine import Data, Item, Restored
from orchestrator.model.errors import DataDamaged, Interrupted, ResguardoError, RestoreFailed, ServerUnreachable
from orchestrator.model.execution import Executor, Exit, Finding, Undo
from orchestrator.model.waiting import poll

UNFINISHED = "resguardo: being restored, not complete"  # a table, until the end: so a killed restore is recognised
_DROP_LIMIT = 600.0  # seconds
_EXISTS = 1007  # both manuals' error references: ER_DB_CREATE_EXISTS


def restore(item: Item, data: Data, to: str, at: Executor, undo: Undo) -> Restored:
    """See orchestrator.model.engine.Engine. The source's restore_user is used where it is set."""
    options: Options = item.source.options
    target = target_of(item.source, at, "restore")
    check_name(to)
    with connect(target) as session:
        if header.exists(session, to):
            raise _taken(session, to)
        tool = loader(at, undo, session.server, options.tools)
        session.steady()
        with Incoming(data) as incoming:
            head = incoming.head(header.complete, header.LIMIT)
            found = header.parse(head)
            if found is None:
                raise RestoreFailed("the data does not begin as a dump of ours does", "restore another point")
            _create(session, to, found)
            rewriter = Rewriter(item.name, to)
            try:
                session.execute(f"CREATE TABLE {ident(to, UNFINISHED)} (id int PRIMARY KEY)")
                _Loading(item, target, to, tool, incoming, at, undo).load(head, rewriter)
                session.execute(f"DROP TABLE {ident(to, UNFINISHED)}")
                notes = names.look(session, item.name, to)
            except (ResguardoError, OSError) as error:
                raise _cleaned(error, target, to) from error
    return Restored(to, tuple(notes), beside=tuple(_of_events(rewriter, to)))


def check_name(name: str) -> None:
    """Refuse what cannot name a database. Raises RestoreFailed."""
    if not name or "\0" in name or name.endswith(" ") or len(name) > NAME_LETTERS or max(map(ord, name)) > 0xFFFF:
        raise RestoreFailed(
            f"{name!r} cannot name a database", f"choose 1 to {NAME_LETTERS} letters, no space at the end"
        )


def _taken(session: Session, name: str) -> RestoreFailed:
    if unfinished(session, name):
        text = f"database {name!r} exists already: a restore that is under way or was killed made it"
        return RestoreFailed(text, f"when no restore is under way: DROP DATABASE {ident(name)}")
    return RestoreFailed(f"database {name!r} exists already", "choose another name, or drop it yourself")


def unfinished(session: Session, name: str) -> bool:
    """Whether a database's restore did not come to its end."""
    query = "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    return (name,) in session.execute(query, [name, UNFINISHED])


def _create(session: Session, to: str, found: Header) -> None:
    """Create the database, empty: never one that is there, not even since we looked. Raises RestoreFailed."""
    clauses = found.clauses() if header.has_comments(session) else _bare(found)
    try:
        session.execute(f"CREATE DATABASE {ident(to)}{clauses}")  # no IF NOT EXISTS: what we drop must be ours
    except ServerUnreachable as error:
        text = f"database {to!r} cannot be created: {error.message}; whether it exists now is not known"
        raise RestoreFailed(text, f"if it does and is empty: DROP DATABASE {ident(to)}") from error
    except ResguardoError as error:
        if code_of(error.__cause__) == _EXISTS:
            raise _taken(session, to) from error
        text = f"database {to!r} cannot be created: {error.message}"
        raise RestoreFailed(text, "the user needs CREATE and all rights in it: set restore_user") from error


def _bare(found: Header) -> str:
    return replace(found, comment=None).clauses()


@dataclass(frozen=True)
class _Loading:
    """One client program that loads a dump into the new database."""

    item: Item
    target: Target
    to: str
    tool: Tool
    incoming: Incoming
    at: Executor
    undo: Undo

    def load(self, head: bytes, rewriter: Rewriter) -> None:
        """Load everything. Raises RestoreFailed, DataDamaged."""
        secrets = self.target.secrets(self.tool.kind)
        deadline = self.item.source.timeout
        stdin = self.incoming.pour(head, FOOTER, rewriter)
        try:
            proc = self.at.start(self._argv(), undo=self.undo, secrets=secrets, stdin=stdin, deadline=deadline)
        finally:
            os.close(stdin)
        try:
            self.incoming.consumer.attach(proc)
            end = proc.wait()
        finally:
            proc.stop()
        self._judge(end)

    def _argv(self) -> list[str]:
        options = ["--batch", "--default-character-set=utf8mb4", "--max-allowed-packet=1G", "--skip-reconnect"]
        # The client's own commands (a shell, another file) are off: a dump's text must not reach them.
        options += ["--binary-mode", "--local-infile=0", "--comments"]  # comments: also those in bodies
        return [self.tool.path, "--defaults-file={secret:client}", *options, f"--database={self.to}"]

    def _judge(self, end: Exit) -> None:
        if end.ok and self.incoming.whole():
            return
        if self.incoming.consumer.refused:
            self.incoming.check()
        raise _load_failed(end, self.to)


_KNOWN = (
    ("SUPER", "the user needs SUPER, SET USER (MariaDB) or SET_ANY_DEFINER (MySQL): set restore_user"),
    ("SET USER", "the user needs SET USER: set restore_user"),
    ("denied", "restore as a user with all rights: set restore_user"),
    ("max_allowed_packet", "raise max_allowed_packet on the server"),
    ("Unknown collation", "the server is older than the one that was dumped: restore to one of its version"),
    ("Unknown storage engine", "install the storage engine on the server"),
)


def _load_failed(end: Exit, to: str) -> RestoreFailed:
    lines = [line for line in end.stderr_tail.splitlines() if line.startswith("ERROR")]
    reason = (one_line(lines[0])[:500] if lines else reason_of(end)) or "the client ended before the data did"
    how = "took too long" if end.timed_out else f"exit code {end.code}"
    hint = next((hint for needle, hint in _KNOWN if needle in reason), "see the server's log")
    return RestoreFailed(f"loading into {to!r} failed ({how}): {reason}", hint)


def _of_events(rewriter: Rewriter, to: str) -> list[Finding]:
    notes = []
    if rewriter.enabled:
        some = ", ".join(map(repr, rewriter.enabled[:5])) + (" …" if len(rewriter.enabled) > 5 else "")
        several = len(rewriter.enabled) > 1
        count = f"{len(rewriter.enabled)} events were" if several else "1 event was"
        text = f"{to!r}: {count} enabled and came back disabled: {some}"
        each = ", and so on" if several else ""
        hint = f"once the copy is what is used: ALTER EVENT {ident(to, rewriter.enabled[0])} ENABLE{each}"
        notes.append(Finding("warning", text, hint))
    if rewriter.kept:
        text = f"{to!r}: the time of {', '.join(map(repr, rewriter.kept[:5]))} is over: kept, disabled, PRESERVE"
        notes.append(Finding("info", text, "the server would have dropped what has no time left"))
    return notes


def _cleaned(error: ResguardoError | OSError, target: Target, to: str) -> ResguardoError:
    """Drop the half-made database, which is ours; say so when that fails."""
    reason, hint = (error.message, error.hint) if isinstance(error, ResguardoError) else (one_line(error), None)
    try:
        with connect(replace(target, wait=poll)) as session:
            drop(session, to)
    except ResguardoError as left:
        text = f"{reason}; the half-made database {to!r} is still there: {left.message}"
        return RestoreFailed(text, f"DROP DATABASE {ident(to)}")
    if isinstance(error, (DataDamaged, Interrupted, RestoreFailed)):
        return error
    if isinstance(error, NotUnderstoodError):
        return RestoreFailed(f"restoring into {to!r} was refused: {reason}", hint or "load it by hand")
    return RestoreFailed(f"restoring into {to!r} failed: {reason}", hint)


def drop(session: Session, name: str) -> None:
    """End its sessions (our killed client's may linger) and drop a database that this restore made."""
    for number, where in session.execute("SELECT ID, DB FROM information_schema.PROCESSLIST"):
        if where == name:
            try:
                session.execute(f"KILL {int(number)}")
            except ResguardoError:
                continue  # it has ended by itself
    session.execute(f"DROP DATABASE {ident(name)}", limit=_DROP_LIMIT)
