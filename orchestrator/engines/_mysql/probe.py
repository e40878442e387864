"""Look at a server: its databases, their sizes, and whether our user may read all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engines._mysql import header, inventory, rights
from orchestrator.engines._mysql.connection import Session, connect, target_of
from orchestrator.engines._mysql.grants import Grants, grants_of
from orchestrator.engines._mysql.inventory import Inventory
from orchestrator.engines._mysql.options import ALL, Options
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
    if unmatched := options.unmatched(names):
        raise Precondition(f"include: no database matches {unmatched[0]!r}", "correct include, or create the database")
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
    found = inventory.take(session, name)
    routines = len(found.names("procedures", "functions", "packages", "package bodies"))
    held = grants or grants_of(session)
    rights.refuse_lacking(held, session.server, name, routines, options)
    rights.refuse_unseen_views(session, held, name, found.names("views"), options)
    if tool.kind != session.server.kind:
        _refuse_generated(session, name, tool)
    return found


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


def _look_at_binlog(session: Session, grants: Grants) -> None:
    if not int(session.value("SELECT @@log_bin")):
        raise Precondition("binlog: the server writes no binary log", "switch it on (log_bin), or leave out binlog")
    rights.refuse_binlog(grants, session.server)


def _of_tables(name: str, found: Inventory, tool: Tool) -> Iterator[Finding]:
    torn = [table for table in found.tables if table.torn]
    if torn:
        kinds = ", ".join(sorted({table.engine for table in torn}))
        text = f"database {name!r}: {_some([table.name for table in torn])} ({kinds}) cannot be read in one snapshot"
        hint = "what is written to them during the dump may be in it by half: ALTER TABLE … ENGINE = InnoDB"
        yield Finding("warning", text, hint)
    if not tool.writes_history:
        past = [table.name for table in found.tables if table.type == "SYSTEM VERSIONED"]
        if past:
            text = f"database {name!r}: {tool.text} leaves out the history of {_some(past)}"
            yield Finding("warning", text, "install mariadb-client 10.11 or newer, or set tools to its folder")


def _some(names: Sequence[str]) -> str:
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
