"""Numbered migrations: `NNNN.sql`, each in one transaction, noted in the table `migration`."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime

from orchestrator import __version__
from orchestrator.adapters.catalog.codec import micros
from orchestrator.model.errors import Precondition

MIGRATIONS = os.path.join(os.path.dirname(__file__), "migrations")
# "RSGD": says that a SQLite file is a catalog of ours (sqlite.org/pragma.html#pragma_application_id).
_APPLICATION = 0x52534744


def bring_up_to_date(connection: sqlite3.Connection, path: str, folder: str, now: datetime, *, wait: float) -> None:
    """Apply what is missing; several processes may try at once, one does it.

    Raises Precondition when the file is another program's or was written by a newer version of this one.
    """
    known = sorted(name for name in os.listdir(folder) if name.endswith(".sql"))
    newest = int(known[-1].removesuffix(".sql"))
    version = _version(connection, path)
    if version > newest:
        raise Precondition(
            f"catalog {path}: its version is {version}, this program knows up to {newest}",
            "use the newer resguardo that wrote it, or move it away and run `resguardo catalog rebuild`",
        )
    if version == 0:
        _use_wal(connection, time.monotonic() + wait)
    for name in known[version:]:
        _apply(connection, path, os.path.join(folder, name), int(name.removesuffix(".sql")), now)


def _version(connection: sqlite3.Connection, path: str) -> int:
    """Return the last migration applied; 0 for a new, empty file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == _APPLICATION:
        return _last_migration(connection, path)
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application or objects:
        raise Precondition(
            f"catalog {path}: this is a database of another program",
            "move it away and run `resguardo catalog rebuild`",
        )
    return 0


def _last_migration(connection: sqlite3.Connection, path: str) -> int:
    try:
        (version,) = connection.execute("SELECT max(version) FROM migration").fetchone()
        return int(version)
    except (sqlite3.OperationalError, TypeError) as error:
        raise Precondition(
            f"catalog {path}: its table migration is missing or empty",
            "`resguardo catalog rebuild` sets it aside and makes a new one from the repository",
        ) from error


def _use_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Turn the write-ahead log on; this one statement ignores the busy timeout, so it waits here."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _apply(connection: sqlite3.Connection, path: str, file: str, number: int, now: datetime) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection, path) < number:
            _execute(connection, file, number, now)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _execute(connection: sqlite3.Connection, file: str, number: int, now: datetime) -> None:
    if number == 1:
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(
            "CREATE TABLE migration (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL, program TEXT NOT NULL)"
        )
    for statement in _statements(file):
        connection.execute(statement)
    connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (number, micros(now), __version__))


def _statements(file: str) -> Iterator[str]:
    """Yield a file's statements one by one: `executescript` would commit before the first."""
    with open(file, encoding="utf-8") as lines:
        statement = ""
        for line in lines:
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""
