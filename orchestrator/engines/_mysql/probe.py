"""Look at a server: its databases, their sizes, and whether our user may read all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engines._databases import ALL
from orchestrator.engines._mysql import header, inventory, rights, settings
from orchestrator.engines._mysql.connection import Session, connect, target_of
from orchestrator.engines._mysql.grants import Grants, grants_of
from orchestrator.engines._mysql.inventory import Inventory
from orchestrator.engines._mysql.options import Options
from orchestrator.engines._mysql.quoting import ident
from orchestrator.engines._mysql.server import OWN
from orchestrator.engines._mysql.tools import Tool, dumper
from orchestrator.model.engine import Facts, Item, Source
from orchestrator.model.errors import Precondition, ToolMissing
from orchestrator.model.execution import Executor, Finding, Undo

GLOBALS_ITEM = "globals"
_SMALL = 65536  # bytes of an empty dump, generously
_FEW = 5  # names in one message


def probe(source: Source, at: Executor, undo: Undo) -> Facts:
    """See orchestrator.model.engine.Engine."""
    options: Options = source.options
    with connect(target_of(source, at)) as session:
        tool = dumper(at, undo, session.server, options.tools)
        grants = grants_of(session)
        names = _names(session, options, grants)
        if options.binlog:
            _look_at_binlog(session, grants)
        found = {name: look(session, name, options, tool, grants) for name in names}
        findings = [
            *tool.findings(session.server),
            *(finding for name in names for finding in _of_tables(name, found[name], tool)),
            *(finding for name in names for finding in _of_floats(session, name)),
            *settings.of_init_connect(session, grants),
            *rights.of_restoring(grants, options),
        ]
        accounts = options.globals and rights.reads_accounts(grants)
    if options.globals and not accounts:
        text = f"users and grants are not in the backup: {grants.user} may not read them"
        findings.append(Finding("warning", text, rights.accounts_hint(grants)))
    items = [Item(source, name, "sql", _size(found[name])) for name in names]
    if accounts:
        items.insert(0, Item(source, globals_name(names), "sql", _SMALL, role="globals"))
    return Facts(tuple(items), session.server.text, tool.text, tuple(findings))


def _names(session: Session, options: Options, grants: Grants) -> list[str]:
    if options.database != ALL:
        if not header.exists(session, options.database):
            text = f"there is no database {options.database!r}, or {grants.user} may not see it"
            raise Precondition(text, f"{rights.first_grant(grants, options)}; or correct database, or create it")
        return [options.database]
    names = sorted(str(name) for (name,) in session.execute("SHOW DATABASES"))
    names = [name for name in names if name.lower() not in OWN and not name.startswith("#mysql50#")]
    options.assert_matched(names)
    if not names:
        text = f"the server shows no database to {grants.user}"
        raise Precondition(text, f"{rights.first_grant(grants, options)}; or disable the source")
    wanted = [name for name in names if options.wants(name)]
    if not wanted:
        text = f"none of {len(names)} databases is left to take"
        raise Precondition(text, "correct include and exclude, or disable the source")
    return wanted


def look(session: Session, name: str, options: Options, tool: Tool, grants: Grants | None = None) -> Inventory:
    """List a database. Raises RightsMissing when a dump of it would lack something without a word, ToolMissing when it
    could not be loaded again.
    """
    settings.refuse_partial(session)
    found = inventory.take(session, name)
    routines = len(found.names("procedures", "functions", "packages", "package bodies"))
    held = grants or grants_of(session)
    rights.refuse_lacking(held, session.server, name, routines, options)
    rights.refuse_unseen_views(session, held, name, found.names("views"), options)
    if tool.kind != session.server.kind:
        _refuse_generated(session, name, tool)
    _refuse_endless(session, name, found)
    return found


def _refuse_endless(session: Session, name: str, found: Inventory) -> None:
    """The tools look for a delimiter that an event does not hold: with `;;` in one they never end, nor say anything."""
    for event in found.names("events"):
        if b";;" in _bytes(session.execute(f"SHOW CREATE EVENT {ident(name, event)}")[0][3]):
            raise Precondition(
                f"database {name!r}: event {event!r} holds ';;': the tools that dump never come to an end with it",
                "write the event without ';;', also in its comments and texts: ALTER EVENT",
            )


def _bytes(text: str | bytes | None) -> bytes:
    return text if isinstance(text, bytes) else (text or "").encode("utf-8", "surrogateescape")


_GENERATED = """SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = %s AND GENERATION_EXPRESSION <> '' ORDER BY 2, 3"""


def _refuse_generated(session: Session, name: str, tool: Tool) -> None:
    """mariadb-dump writes values of generated columns, which MariaDB takes and MySQL refuses (error 3105)."""
    for schema, table, column in session.execute(_GENERATED, [name]):
        if schema == name:
            raise ToolMissing(
                f"database {name!r}: what {tool.text} writes of the generated column {table}.{column} cannot be loaded "
                f"into {session.server.text}",
                "install mysql-client, set tools to its folder, or name the server's container",
            )


_FLOATS = """SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME, EXISTS (SELECT 1 FROM information_schema.STATISTICS s
    WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.COLUMN_NAME = c.COLUMN_NAME
    AND s.NON_UNIQUE = 0)
FROM information_schema.COLUMNS c JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)
WHERE c.TABLE_SCHEMA = %s AND c.DATA_TYPE = 'float' AND t.TABLE_TYPE <> 'VIEW' ORDER BY 2, 3"""


def _of_floats(session: Session, name: str) -> Iterator[Finding]:
    """Both servers write FLOAT with 6 digits, whoever asks; it has up to 9."""
    rows = [row for row in session.execute(_FLOATS, [name], limit=inventory.LOOK_LIMIT) if row[0] == name]
    keys = [f"{table}.{column}" for _, table, column, unique in rows if unique]
    if rest := [f"{table}.{column}" for _, table, column, unique in rows if not unique]:
        text = f"database {name!r}: {some(rest)} (FLOAT) come back with 6 digits"
        yield Finding("warning", text, "make them DOUBLE where more digits matter")
    if keys:
        text = f"database {name!r}: {some(keys)} (FLOAT) come back with 6 digits, and are part of a unique key"
        hint = "values that differ in later digits alone cannot be restored: make them DOUBLE or DECIMAL"
        yield Finding("warning", text, hint)


def _look_at_binlog(session: Session, grants: Grants) -> None:
    if not int(session.value("SELECT @@log_bin")):
        raise Precondition("binlog: the server writes no binary log", "switch it on (log_bin), or leave out binlog")
    rights.refuse_binlog(grants, session.server)


def _of_tables(name: str, found: Inventory, tool: Tool) -> Iterator[Finding]:
    torn = [table for table in found.tables if table.torn]
    if torn:
        kinds = ", ".join(sorted({table.engine for table in torn}))
        text = f"database {name!r}: {some([table.name for table in torn])} ({kinds}) cannot be read in one snapshot"
        hint = "what is written to them during the dump may be in it by half: ALTER TABLE … ENGINE = InnoDB"
        yield Finding("warning", text, hint)
    if not tool.writes_history:
        past = [table.name for table in found.tables if table.type == "SYSTEM VERSIONED"]
        if past:
            text = f"database {name!r}: {tool.text} leaves out the history of {some(past)}"
            yield Finding("warning", text, "install mariadb-client 10.11 or newer, or set tools to its folder")


def some(names: Sequence[str]) -> str:
    """Return a list of names for a message, not too long."""
    few = ", ".join(map(repr, names[:_FEW]))
    return few + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _size(found: Inventory) -> int:
    return _SMALL + sum(table.bytes for table in found.tables)


def globals_name(databases: Sequence[str]) -> str:
    """Return the item name of the globals: not that of a database, which may bear any name."""
    name = GLOBALS_ITEM
    while name in databases:
        name += "+"
    return name
