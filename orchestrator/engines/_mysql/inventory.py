"""What a database holds, as the server lists it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.engines._mysql.connection import Session
from orchestrator.model.errors import RightsMissing

# The server compares names here without case and trailing spaces: rows of namesakes are sorted out by us.
_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, COALESCE(DATA_LENGTH, 0), CREATE_TIME
FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s
"""
_OTHERS = (
    "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, 'triggers' FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s",
    "SELECT EVENT_SCHEMA, EVENT_NAME, 'events' FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s",
    "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s",
)
_ROUTINES = {
    "PROCEDURE": "procedures",
    "FUNCTION": "functions",
    "PACKAGE": "packages",
    "PACKAGE BODY": "package bodies",
}
_TYPES = {"VIEW": "views", "SEQUENCE": "sequences"}
_ONE_SNAPSHOT = frozenset({"InnoDB", "ROCKSDB"})
LOOK_LIMIT = 300.0  # seconds: the server may open every table


@dataclass(frozen=True)
class Table:
    """One table. type: BASE TABLE, or SYSTEM VERSIONED · bytes: about · created: or altered, or (MariaDB) renamed, when
    that came last.
    """

    name: str
    type: str
    engine: str
    bytes: int
    created: datetime | None = None

    @property
    def torn(self) -> bool:
        """Whether a dump cannot read it in the snapshot of the others."""
        return self.engine not in _ONE_SNAPSHOT


@dataclass(frozen=True)
class Inventory:
    """tables: only those that hold rows · objects: (kind, name) of everything, tables too · numbers: of InnoDB's
    tables and partitions, where the user may see them (PROCESS): they go with the rows, whatever the name.
    """

    tables: tuple[Table, ...]
    objects: frozenset[tuple[str, str]]
    numbers: Mapping[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return `#kind` → objects, only for kinds that occur."""
        kinds = [kind for kind, _ in self.objects]
        return {f"#{kind}": kinds.count(kind) for kind in sorted({*kinds})}

    def names(self, *wanted: str) -> list[str]:
        """Return the names of objects of these kinds, sorted."""
        return sorted(name for kind, name in self.objects if kind in wanted)


def take(session: Session, database: str) -> Inventory:
    """Ask the server for all objects of a database."""
    tables: list[Table] = []
    objects: set[tuple[str, str]] = set()
    for schema, name, kind, engine, size, created in session.execute(_TABLES, [database], limit=LOOK_LIMIT):
        if schema != database:
            continue
        objects.add((_TYPES.get(kind, "tables"), str(name)))
        if kind not in _TYPES:
            tables.append(Table(str(name), str(kind), str(engine), int(size), created))
    for query in _OTHERS:
        for schema, name, kind in session.execute(query, [database], limit=LOOK_LIMIT):
            if schema == database:
                objects.add((_ROUTINES.get(kind, str(kind)), str(name)))
    return Inventory(
        tuple(sorted(tables, key=lambda table: table.name)), frozenset(objects), _numbers(session, database)
    )


_NUMBERED = {"mariadb": "INNODB_SYS_TABLES", "mysql": "INNODB_TABLES"}


def _numbers(session: Session, database: str) -> dict[str, int]:
    query = f"""SELECT SUBSTRING_INDEX(NAME, '/', -1), TABLE_ID FROM information_schema.{_NUMBERED[session.server.kind]}
        WHERE SUBSTRING_INDEX(NAME, '/', 1) = %s"""  # noqa: S608 - constants
    try:
        return {str(name): int(number) for name, number in session.execute(query, [database], limit=LOOK_LIMIT)}
    except RightsMissing:
        return {}
