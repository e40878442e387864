"""Check a restored database: what it holds, and that its tables are sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.engines._common import compare
from orchestrator.engines._mysql import header, inventory
from orchestrator.engines._mysql.connection import Session, connect, target_of
from orchestrator.engines._mysql.inventory import Inventory, Table
from orchestrator.engines._mysql.quoting import ident, key
from orchestrator.engines._mysql.restore import unfinished
from orchestrator.model.engine import Item
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Executor, Finding

MOST = 20  # findings of one kind; more help nobody
_AT_ONCE = 25  # tables in one statement


def verify(item: Item, to: str, expected: Mapping[str, int], at: Executor) -> list[Finding]:
    """See orchestrator.model.engine.Engine; nothing is changed."""
    limit = item.source.timeout
    try:
        with connect(target_of(item.source, at, "restore")) as session:
            if not header.exists(session, to):
                return [Finding("error", f"there is no database {to!r}", "restore it first")]
            found = inventory.take(session, to)
            return [
                *_unfinished(session, to),
                *_compare(session, to, found, expected, limit),
                *_check(session, to, found, limit),
            ]
    except Interrupted:
        raise
    except ResguardoError as error:
        return [Finding("error", f"database {to!r} cannot be checked: {error.message}", error.hint)]


def _unfinished(session: Session, to: str) -> list[Finding]:
    if not unfinished(session, to):
        return []
    return [
        Finding("error", f"the restore of {to!r} did not come to its end", f"DROP DATABASE {ident(to)}, restore again")
    ]


def _compare(
    session: Session, to: str, found: Inventory, expected: Mapping[str, int], limit: float
) -> Sequence[Finding]:
    if not expected:
        return [Finding("info", f"no counts were stored for {to!r}: its rows are not compared")]
    wanted = [table for table in found.tables if key(table.name) in expected]
    return compare(found.counts() | rows(session, to, wanted, limit), expected, to)[:MOST]


def rows(session: Session, database: str, tables: Sequence[Table], limit: float) -> dict[str, int]:
    """Return table → exact number of rows, past ones of system-versioned tables included."""
    counts: dict[str, int] = {}
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    for some in _batches(tables):
        query = " UNION ALL ".join(_counting(number, database, table) for number, table in enumerate(some))
        counts |= {key(some[number].name): int(count) for number, count in session.execute(query, limit=limit)}
    session.execute("COMMIT")
    return counts


def _counting(number: int, database: str, table: Table) -> str:
    past = " FOR SYSTEM_TIME ALL" if table.type == "SYSTEM VERSIONED" else ""
    return f"SELECT {number}, COUNT(*) FROM {ident(database, table.name)}{past}"  # noqa: S608 - quoted


def _batches(tables: Sequence[Table]) -> Iterator[Sequence[Table]]:
    return (tables[begin : begin + _AT_ONCE] for begin in range(0, len(tables), _AT_ONCE))


def _check(session: Session, to: str, found: Inventory, limit: float) -> list[Finding]:
    """Let the server check every table and view, as mariadb-check does."""
    names = [table.name for table in found.tables] + found.names("views")
    findings: list[Finding] = []
    for begin in range(0, len(names), _AT_ONCE):
        some = ", ".join(ident(to, name) for name in names[begin : begin + _AT_ONCE])
        for table, _, kind, text in session.execute(f"CHECK TABLE {some} EXTENDED", limit=limit):
            level = str(kind).lower()
            if level == "error" or (level == "status" and text not in {"OK", "Table is already up to date"}):
                findings.append(Finding("error", f"{to!r}: {table}: {text}", "restore another point, or mend it"))
            elif level == "warning":
                findings.append(Finding("warning", f"{to!r}: {table}: {text}"))
    return findings[:MOST]
