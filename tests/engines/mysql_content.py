"""Everything that a MariaDB or MySQL database holds, by value and type, read by a driver and not by the tools."""

from __future__ import annotations

import re
from typing import Any

from tests.engines.servers.mariadb import MariadbServer, ident


def content(server: MariadbServer, database: str) -> dict[str, Any]:
    """Definitions, rows (hidden and past ones, too), bodies with their modes, and the database itself.

    The database's own name in definitions is replaced; whether an event is enabled is left out: a copy's are not.
    """
    quoted = literal(database)
    found: dict[str, Any] = {"itself": _itself(server, database)}
    query = f"SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {quoted} ORDER BY 1"
    for name, kind in server.sql(query):
        shown = server.sql(f"SHOW CREATE TABLE {ident(database, name)}", database=database)[0]
        found[f"{kind} {name}"] = _neutral([str(value) for value in shown[1:]], database)
        if kind not in {"VIEW", "SEQUENCE"}:
            found[f"rows {name}"] = rows(server, database, name, past=kind == "SYSTEM VERSIONED")
        elif kind == "SEQUENCE":
            found[f"rows {name}"] = server.sql(f"SELECT * FROM {ident(database, name)}")
    for kind, column, query in (
        ("TRIGGER", 2, f"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {quoted}"),
        ("EVENT", 3, f"SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {quoted}"),
    ):
        for (name,) in server.sql(query):
            shown = server.sql(f"SHOW CREATE {kind} {ident(database, name)}", database=database)[0]
            told = [str(value) for place, value in enumerate(shown) if not (kind == "TRIGGER" and place == 6)]
            told[column] = re.sub(r" (ENABLE|DISABLE)\b", "", told[column], count=1)
            found[f"{kind} {name}"] = _neutral(told, database)
    query = f"SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {quoted}"
    for name, kind in server.sql(query):
        shown = server.sql(f"SHOW CREATE {kind} {ident(database, name)}", database=database)[0]
        found[f"{kind} {name}"] = _neutral([str(value) for value in shown], database)
    return found


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _itself(server: MariadbServer, database: str) -> Any:
    query = f"SELECT * FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {literal(database)}"
    return server.sql(query)[0][2:]


def _neutral(texts: list[str], database: str) -> list[str]:
    own = re.compile(r"('(?:[^'\\]|\\.)*')|" + re.escape(ident(database)) + r"\.")
    found = [own.sub(lambda match: match[1] or "`?`.", text) for text in texts]
    # MySQL remembers whether a column's character set was given or came from its collation: it is the same one.
    return [re.sub(r"CHARACTER SET (\w+) (?=COLLATE \1_)", "", text) for text in found]


def rows(server: MariadbServer, database: str, table: str, *, past: bool) -> list[str]:
    """All rows as texts that tell types apart, in a fixed order."""
    query = f"""SELECT COLUMN_NAME FROM information_schema.COLUMNS
        WHERE TABLE_SCHEMA = {literal(database)} AND TABLE_NAME = {literal(table)} ORDER BY ORDINAL_POSITION"""
    columns = [ident(name) for (name,) in server.sql(query)]
    columns += ["row_start", "row_end"] if past else []
    history = " FOR SYSTEM_TIME ALL" if past else ""
    # A value's bytes in the connection's character set, and what the driver makes of its type.
    listed = ", ".join(f"{column}, HEX({column})" for column in columns)
    return sorted(map(repr, server.sql(f"SELECT {listed} FROM {ident(database, table)}{history}")))
