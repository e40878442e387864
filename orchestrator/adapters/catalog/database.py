"""One SQLite file: opened privately, migrated, shared by threads, its faults translated into our errors."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

from orchestrator.adapters.catalog.migrate import MIGRATIONS, bring_up_to_date
from orchestrator.model.errors import Busy, DataDamaged, DiskFull, Precondition, ResguardoError, RightsMissing

Values = Sequence[Any] | Mapping[str, Any]
_WAIT = 30.0  # seconds for another process's transaction; ours take milliseconds
_REBUILD = "`resguardo catalog rebuild` sets it aside and makes a new one from the repository"


class Database:
    """A connection for all threads of this process; one transaction at a time.

    WAL lets other processes read while we write. Commits are synced (the outbox promises durability).
    Raises Precondition when the file is damaged, foreign or of a newer program.
    """

    def __init__(self, path: str, migrations: str = MIGRATIONS) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        _create_private(path)
        with self._translated():
            self._connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            try:
                self._connection.execute("PRAGMA foreign_keys = ON")
                bring_up_to_date(self._connection, path, migrations, datetime.now(UTC), wait=_WAIT)
            except BaseException:
                self._connection.close()
                raise

    def rows(self, sql: str, values: Values = ()) -> list[Any]:
        """Return all rows of one query."""
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Values = ()) -> Any:
        """Return the first row, or None."""
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchone()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let several queries see one state of the catalog."""
        with self._lock, self._translated(), self._transaction("BEGIN"):
            yield

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing. Inside another one of this thread it is part of that."""
        with self._lock, self._translated(), self._transaction("BEGIN IMMEDIATE"):
            yield self._connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._depth += 1
        try:
            if self._depth == 1:
                self._connection.execute(begin)
            yield
            if self._depth == 1:
                self._connection.execute("COMMIT")
        finally:
            self._depth -= 1
            if not self._depth and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Release the file; nothing may be asked afterwards. Safe to call again."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            typed = _typed(self.path, error)
            if typed is None:
                raise
            raise typed from error


def _typed(path: str, error: sqlite3.DatabaseError) -> ResguardoError | None:
    message = f"catalog {path}: {error}"
    # Extended result codes carry the primary code in their low byte (sqlite.org/rescode.html).
    known: dict[int, ResguardoError] = {
        sqlite3.SQLITE_NOTADB: Precondition(message, _REBUILD),
        sqlite3.SQLITE_CORRUPT: Precondition(message, _REBUILD),
        sqlite3.SQLITE_CONSTRAINT: DataDamaged(message, "a manifest or record names the same thing twice"),
        sqlite3.SQLITE_BUSY: Busy(message, f"another program has held it for {_WAIT:.0f} s; end it and try again"),
        sqlite3.SQLITE_FULL: DiskFull(message, "make room on the disk of the state folder"),
        sqlite3.SQLITE_IOERR: Precondition(message, "check the disk of the state folder"),
        sqlite3.SQLITE_READONLY: RightsMissing(message, "run as the owner of the state folder"),
        sqlite3.SQLITE_CANTOPEN: RightsMissing(message, "check the owner and mode of the state folder"),
        sqlite3.SQLITE_PERM: RightsMissing(message, "check the owner and mode of the state folder"),
    }
    return known.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)


def _create_private(path: str) -> None:
    """Make the file with mode 0600 before SQLite does; its -wal and -shm take the mode over."""
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Precondition(
            f"catalog {path}: {error.strerror}", "check the owner and mode of the state folder, and its disk"
        ) from error


def set_aside(path: str, now: datetime) -> str | None:
    """Rename a catalog that cannot be used, with its -wal and -shm; return its new path, None when none is there."""
    kept = f"{path}.{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    for suffix in ("-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.rename(path + suffix, kept + suffix)
    if not os.path.exists(path):
        return None
    os.rename(path, kept)
    return kept
