"""Runs: begun, ended or found dead, with their services, sources, repositories and what retention removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from orchestrator.adapters.catalog.codec import instant, micros
from orchestrator.adapters.catalog.database import Database
from orchestrator.adapters.catalog.events import insert_event
from orchestrator.adapters.catalog.run_rows import DETAILS, insert_parts, insert_run, run_of
from orchestrator.model.errors import EXIT_FAILED
from orchestrator.model.ports import SourceHistory
from orchestrator.model.record import RunRecord

_HISTORY = 10  # runs whose median is taken: one odd night does not move it, a change of habits does within days


class Runs:
    """Everything about runs."""

    _db: Database

    def begin(self, run: str, command: str, started: datetime) -> None:
        """Note that a run has begun (it is "dead" if it never ends)."""
        with self._db.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO run (name, command, started) VALUES (?, ?, ?)", (run, command, micros(started))
            )

    def record(self, record: RunRecord) -> None:
        """Store how a run ended, its sources and events; the same run again replaces what was stored."""
        with self._db.writing() as connection:
            number = insert_run(connection, record)
            insert_parts(connection, number, record)
            for event in record.events:
                insert_event(connection, event)

    def runs(self, *, command: str | None = None, limit: int = 20) -> list[RunRecord]:
        """Runs, newest first, with events, repositories, forgotten, and services without sources.

        A killed run counts as interrupted at the time when it was found dead; one that is under way is left out.
        """
        with self._db.reading():
            runs = self._db.rows(
                "SELECT id, name, command, host, started, coalesce(ended, dead), coalesce(result, 'interrupted'),"
                " coalesce(exit_code, :failed), CASE WHEN ended IS NULL THEN 'it was killed' ELSE error END, hint,"
                " restic_processes FROM run"
                " WHERE (ended IS NOT NULL OR dead IS NOT NULL) AND (:command IS NULL OR command = :command)"
                " ORDER BY started DESC, id DESC LIMIT :limit",
                {"command": command, "limit": limit, "failed": EXIT_FAILED},
            )
            oldest = min((row[4] for row in runs), default=0)
            details = [self._details(sql, oldest, make) for sql, make in DETAILS]
        return [run_of(row, *(found.get(row[0], ()) for found in details)) for row in runs]

    def _details(self, sql: str, oldest: int, make: Callable[[Any], Any]) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for run, *row in self._db.rows(sql, (oldest,)):
            found.setdefault(run, []).append(make(row))
        return found

    def dead_runs(self) -> set[str]:
        """Runs that began, never ended, and were reconciled as dead."""
        return {run for (run,) in self._db.rows("SELECT name FROM run WHERE dead IS NOT NULL AND ended IS NULL")}

    def unfinished(self, command: str) -> list[tuple[str, datetime]]:
        """ID and start of a command's runs that began, have no end and were not found dead, newest first."""
        rows = self._db.rows(
            "SELECT name, started FROM run WHERE ended IS NULL AND dead IS NULL AND command = ? ORDER BY started DESC",
            (command,),
        )
        return [(name, instant(started)) for name, started in rows]

    def over_runs(self) -> set[str]:
        """Every run that ended, or was found dead: what it stored without committing it is nobody's."""
        return {run for (run,) in self._db.rows("SELECT name FROM run WHERE ended IS NOT NULL OR dead IS NOT NULL")}

    def mark_dead(self, run: str, when: datetime) -> None:
        """Note that reconcile found this run dead; also one that this catalog never saw begin."""
        with self._db.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO run (name, command, started) VALUES (?, '', ?)", (run, micros(when))
            )
            connection.execute("UPDATE run SET dead = ? WHERE name = ? AND dead IS NULL", (micros(when), run))

    def history(self, service: str, source: str) -> SourceHistory | None:
        """Median bytes and seconds of the last 10 runs that took this source whole; None when there is none.

        Runs recorded here and points mirrored from a repository (after a rebuild) count alike.
        """
        rows = self._db.rows(_HISTORY_SQL, {"service": service, "source": source, "limit": _HISTORY})
        if not rows:
            return None
        return SourceHistory(int(_median([row[0] for row in rows])), _median([row[1] for row in rows]), len(rows))


# Run IDs begin with the time, so their order is that of time.
_HISTORY_SQL = """
SELECT max(bytes), max(seconds) FROM (
  SELECT r.name AS run, s.bytes AS bytes, s.seconds AS seconds
  FROM run_source s JOIN run_service v ON v.id = s.run_service JOIN run r ON r.id = v.run
  WHERE s.name = :source AND s.state = 'taken' AND v.service = :service
  UNION ALL
  SELECT p.run, s.bytes, (SELECT coalesce(sum(seconds), 0.0) FROM item WHERE source = s.id)
  FROM (SELECT id, run FROM point WHERE service = :service ORDER BY run DESC LIMIT 100) p
  JOIN source s ON s.point = p.id
  WHERE s.name = :source AND s.outcome = 'taken'
) GROUP BY run ORDER BY run DESC LIMIT :limit
"""


def _median(values: Sequence[float]) -> float:
    """As statistics.median, whose import costs more than opening the catalog."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
