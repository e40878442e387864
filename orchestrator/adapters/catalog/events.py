"""Events, checks and small values."""

from __future__ import annotations

import sqlite3
from typing import Any

from orchestrator.adapters.catalog.codec import (
    bind,
    bind_or_none,
    instant,
    micros,
    pack_list,
    text,
    text_or_none,
    unpack_list,
)
from orchestrator.adapters.catalog.database import Database
from orchestrator.model.ports import CheckRecord
from orchestrator.model.record import Event


class Events:
    """What happened, what checks said, and what must be remembered from run to run."""

    _db: Database

    def add_event(self, event: Event) -> None:
        """Append one event; the same one again changes nothing."""
        with self._db.writing() as connection:
            insert_event(connection, event)

    def events(self, *, limit: int = 50, name: str | None = None) -> list[Event]:
        """Newest first; `name` may be `noun.*`."""
        rows = self._db.rows(
            "SELECT time, name, severity, message, run, service, source, repository, hint FROM event"
            " WHERE (:name IS NULL OR name GLOB :name) ORDER BY time DESC, id DESC LIMIT :limit",
            {"name": name, "limit": limit},
        )
        return [event_of(row) for row in rows]

    def add_check(self, check: CheckRecord) -> None:
        """Store a check."""
        with self._db.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO check_result (time, repository, subject, data, errors, seconds)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    micros(check.time),
                    check.repository,
                    check.subject,
                    check.data,
                    pack_list(check.errors),
                    check.seconds,
                ),
            )

    def last_check(self, repository: str) -> CheckRecord | None:
        """The newest check of a repository as a whole, or None."""
        row = self._db.row(
            "SELECT time, data, errors, seconds FROM check_result WHERE repository = ? AND subject = ''"
            " ORDER BY time DESC LIMIT 1",
            (repository,),
        )
        if row is None:
            return None
        time, data, errors, seconds = row
        return CheckRecord(instant(time), repository, "", data, unpack_list(errors), seconds)

    def get(self, key: str) -> str | None:
        """A small durable value (last retention, last policy digest and rules …)."""
        row = self._db.row("SELECT value FROM value WHERE key = ?", (key,))
        return None if row is None else text(row[0])

    def put(self, key: str, value: str) -> None:
        """Store a small durable value."""
        with self._db.writing() as connection:
            connection.execute(
                "INSERT INTO value (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, bind(value)),
            )


def insert_event(connection: sqlite3.Connection, event: Event) -> None:
    """Insert an event unless the very same one is there."""
    connection.execute(
        "INSERT OR IGNORE INTO event (time, name, severity, message, run, service, source, repository, hint)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            micros(event.time),
            event.name,
            event.severity,
            bind(event.message),
            event.run,
            event.service,
            event.source,
            event.repository,
            bind_or_none(event.hint),
        ),
    )


def event_of(row: Any) -> Event:
    """Build an event from its columns in insert order."""
    time, name, severity, message, run, service, source, repository, hint = row
    return Event(instant(time), name, severity, text(message), run, service, source, repository, text_or_none(hint))
