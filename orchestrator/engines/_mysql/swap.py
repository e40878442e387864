"""Put a restored database in the original's place, where that can be done in one step.

Neither server can rename a database. One RENAME TABLE of all tables of both databases is one step: all of it happens or
nothing, also when the server dies (MariaDB 10.6, MySQL 8.0 and newer). It moves tables and sequences only. Views,
routines and events stay in the database whose name they bear, and find the new tables there: that is right when they
are the same in both, and refused otherwise. What cannot be moved or would point at the wrong tables afterwards
(triggers, defaults from a sequence, foreign keys of other databases) refuses the swap before anything is restored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

from orchestrator.engines._mysql import header, inventory
from orchestrator.engines._mysql.connection import Session, administering
from orchestrator.engines._mysql.inventory import Inventory
from orchestrator.engines._mysql.quoting import IDENT, ident
from orchestrator.engines._mysql.restore import check_name, unfinished
from orchestrator.model.engine import Item, Kept, Original
from orchestrator.model.errors import ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, Finding

_LIMIT = 300.0  # seconds: running statements of others are waited for
_BY_HAND = "restore it with --as NAME and let what uses it use that: docs/databases/mariadb.md"
_ATOMIC = {"mariadb": (10, 6), "mysql": (8, 0)}
_BODIES = ("views", "procedures", "functions", "packages", "package bodies", "events")
_DEFAULTS = """SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = %s AND COLUMN_DEFAULT LIKE '%%nextval(%%' ORDER BY 2"""
_FOREIGN = """SELECT CONSTRAINT_SCHEMA, TABLE_NAME, REFERENCED_TABLE_SCHEMA FROM information_schema.KEY_COLUMN_USAGE
WHERE REFERENCED_TABLE_SCHEMA = %s"""
_SESSIONS = "SELECT ID, DB FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"


def original(item: Item, at: Executor) -> Original:
    """Whether the database is there, and whether it can be swapped. A server that does not answer tells nothing."""
    try:
        with administering(item.source, at) as session:
            if not header.exists(session, item.name):
                return Original(there=False)
            found = inventory.take(session, item.name)
            blocks = list(obstacles(session, item.name, found))
            users = [where for _, where in session.execute(_SESSIONS) if where == item.name]
    except ResguardoError as error:
        text = f"database {item.name!r} cannot be looked at: {error.message}"
        return Original(findings=(Finding("warning", text, error.hint),))
    notes = [Finding("error", f"database {item.name!r}: {block}", _BY_HAND) for block in blocks]
    if users:
        text = f"database {item.name!r}: {len(users)} sessions use it: what they do meanwhile is in either of the two"
        notes.append(Finding("warning", text, "stop what uses it first"))
    if not blocks and found.names(*_BODIES):
        text = f"database {item.name!r} has views, routines or events: it is swapped only if they are the same as then"
        notes.append(Finding("info", text, _BY_HAND))
    return Original(there=True, findings=tuple(notes))


def obstacles(session: Session, database: str, found: Inventory) -> Iterator[str]:
    """Say what keeps the tables of a database from being moved in one step."""
    server = session.server
    if server.version < _ATOMIC[server.kind]:
        yield f"{server.text} does not rename several tables in one step"
    if triggers := found.names("triggers"):
        yield f"tables with triggers cannot be moved to another database ({triggers[0]!r}, {len(triggers)} in all)"
    defaults = [table for schema, table in session.execute(_DEFAULTS, [database], limit=_LIMIT) if schema == database]
    if defaults:
        yield f"defaults of table {defaults[0]!r} name a sequence with its database"
    for schema, table, referenced in session.execute(_FOREIGN, [database], limit=_LIMIT):
        if referenced == database and schema != database:
            yield f"a foreign key of {schema}.{table} points into it"
            return


def swap(item: Item, to: str, kept: str, at: Executor) -> Kept:
    """Move the original's tables to the new database `kept` and those of `to` to the original, in one statement.

    Raises RestoreFailed; then nothing has changed, or the message says that this is not known.
    """
    check_name(kept)
    with administering(item.source, at) as session:
        if not header.exists(session, to):
            raise RestoreFailed(f"there is no database {to!r} to put in place", "restore it first")
        if header.exists(session, kept):
            raise RestoreFailed(f"database {kept!r} exists already", "choose another name to keep the original under")
        if unfinished(session, to):
            raise RestoreFailed(f"the restore of {to!r} did not come to its end", "restore it again")
        there = header.exists(session, item.name)
        new = inventory.take(session, to)
        old = inventory.take(session, item.name) if there else Inventory((), frozenset())
        _refuse(session, item.name, to, old, new, there=there)
        return _move(session, item, to, kept, (old, new), there=there)


def _refuse(session: Session, name: str, to: str, old: Inventory, new: Inventory, *, there: bool) -> None:
    for database, found in ((name, old), (to, new)):
        for block in obstacles(session, database, found):
            raise RestoreFailed(f"{to!r} cannot take the place of {name!r}: {database!r}: {block}", _BY_HAND)
    different = _different(session, name, to, old, new) if there else next(iter(new.names(*_BODIES)), "")
    if different:
        text = f"{to!r} cannot take the place of {name!r}, nothing was changed: {different} is not the same in both"
        raise RestoreFailed(text, _BY_HAND)


def _different(session: Session, name: str, to: str, old: Inventory, new: Inventory) -> str:
    """Return a view, routine or event that is not the same in both databases, "" when all are."""
    for kind in _BODIES:
        if old.names(kind) != new.names(kind):
            return f"the list of {kind}"
        for one in old.names(kind):
            if _body(session, kind, name, one, name) != _body(session, kind, to, one, name):
                return f"{kind.removesuffix('s')} {one!r}"
    return ""


_SHOW: dict[str, tuple[str, int]] = {
    "views": ("VIEW", 1),
    "procedures": ("PROCEDURE", 2),
    "functions": ("FUNCTION", 2),
    "packages": ("PACKAGE", 2),
    "package bodies": ("PACKAGE BODY", 2),
    "events": ("EVENT", 3),
}
_STATE = re.compile(r" (?:NOT )?PRESERVE (?:ENABLE|DISABLE)\b")


def _body(session: Session, kind: str, database: str, name: str, known_as: str) -> str:
    """Return how an object would be made again, as if its database were called `known_as`."""
    word, column = _SHOW[kind]
    session.execute(f"USE {ident(database)}")  # names in it are then written without the database where they can be
    text = str(session.execute(f"SHOW CREATE {word} {ident(database, name)}")[0][column])
    calls = re.escape(ident(database)) + rf"(?=\.{IDENT.decode()})"
    text = re.sub(calls, lambda _match: ident(known_as), text)
    return _STATE.sub(" PRESERVE", text, count=1) if kind == "events" else text


def _move(session: Session, item: Item, to: str, kept: str, both: tuple[Inventory, Inventory], *, there: bool) -> Kept:
    old, new = both
    shape_new, shape_old = header.read(session, to), header.read(session, item.name) if there else None
    made = kept if there else item.name
    session.execute("USE information_schema")
    session.execute(f"CREATE DATABASE {ident(made)}{(shape_old or shape_new).clauses()}")
    moves = [*_moves(old, item.name, kept), *_moves(new, to, item.name)]
    try:
        if moves:
            session.execute(f"RENAME TABLE {', '.join(moves)}", limit=_LIMIT)
    except ResguardoError as error:
        raise _failed(session, item, to, made, error) from error
    notes = list(_afterwards(session, item.name, to, shape_new.clauses() if there else ""))
    if there and old.names(*_BODIES):
        text = f"views, routines and events stayed in {item.name!r}: {kept!r} holds the tables alone"
        notes.append(Finding("info", text, "they were the same in both"))
    return Kept(kept if there else None, tuple(notes))


def _moves(found: Inventory, source: str, target: str) -> Iterator[str]:
    for name in found.names("tables", "sequences"):
        yield f"{ident(source, name)} TO {ident(target, name)}"


def _failed(session: Session, item: Item, to: str, made: str, error: ResguardoError) -> RestoreFailed:
    """Say that nothing was changed, if the server can be asked; the database that was made is empty then."""
    try:
        empty = not inventory.take(session, made).objects
    except ResguardoError as blind:
        return RestoreFailed(
            f"whether {to!r} took the place of {item.name!r} is not known: {error.message}; then: {blind.message}",
            f"it did if {to!r} holds no tables any more; else DROP DATABASE {ident(made)}, which is empty",
        )
    if empty:
        with suppress(ResguardoError):
            session.execute(f"DROP DATABASE {ident(made)}")
    return RestoreFailed(
        f"{to!r} could not take the place of {item.name!r}, nothing was changed: {error.message}",
        "end the sessions that use it; the user needs ALTER, DROP, CREATE and INSERT on all three databases",
    )


def _afterwards(session: Session, name: str, to: str, shape: str) -> Iterator[Finding]:
    """Give the database the default character set of then; drop what is left of the copy, which holds no table."""
    steps: list[tuple[str, Callable[[], object]]] = [
        (f"DROP DATABASE {ident(to)}", lambda: _drop_shell(session, to)),
    ]
    if shape:
        change = f"ALTER DATABASE {ident(name)}{shape}"
        steps.insert(0, (change, lambda: session.execute(change)))
    for statement, work in steps:
        try:
            work()
        except ResguardoError as error:
            yield Finding("warning", f"swapped, but one step was left: {error.message}", f"run it: {statement}")


def _drop_shell(session: Session, to: str) -> None:
    if inventory.take(session, to).names("tables", "sequences"):
        raise RestoreFailed(f"{to!r} still holds tables", "look at it before you drop it")
    session.execute(f"DROP DATABASE {ident(to)}", limit=_LIMIT)
