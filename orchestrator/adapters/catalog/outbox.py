"""The outbox: notifications that are promised and not yet delivered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.adapters.catalog.codec import bind, instant, micros, text
from orchestrator.adapters.catalog.database import Database
from orchestrator.model.ports import OutboxEntry


class Outbox:
    """Entries stay until they are delivered; their numbers are never used again."""

    _db: Database

    def queue(self, channel: str, title: str, body: str, severity: str, created: datetime) -> int:
        """Put a notification into the outbox, durably, before any try to send it; return its number."""
        with self._db.writing() as connection:
            number = connection.execute(
                "INSERT INTO outbox (channel, title, body, severity, created) VALUES (?, ?, ?, ?, ?)",
                (channel, bind(title), bind(body), severity, micros(created)),
            ).lastrowid
        return int(number or 0)

    def outbox(self) -> Sequence[OutboxEntry]:
        """What waits, oldest first."""
        rows = self._db.rows(
            "SELECT id, channel, title, body, severity, created, tries, last_error FROM outbox ORDER BY id"
        )
        return [
            OutboxEntry(number, channel, text(title), text(body), severity, instant(created), tries, text(error))
            for number, channel, title, body, severity, created, tries, error in rows
        ]

    def delivered(self, entry: int) -> None:
        """Remove a delivered entry."""
        with self._db.writing() as connection:
            connection.execute("DELETE FROM outbox WHERE id = ?", (entry,))

    def undelivered(self, entry: int, error: str) -> None:
        """Count a failed try."""
        with self._db.writing() as connection:
            connection.execute("UPDATE outbox SET tries = tries + 1, last_error = ? WHERE id = ?", (bind(error), entry))
