"""Rows of runs and their parts: written from records, and read back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.adapters.catalog.codec import (
    bind,
    bind_or_none,
    instant,
    instant_or_none,
    micros,
    micros_or_none,
    pack_list,
    text,
    text_or_none,
    unpack_list,
)
from orchestrator.adapters.catalog.events import event_of
from orchestrator.model.record import Forgotten, RepositoryRecord, RunRecord, ServiceRecord, SourceRecord


def insert_run(connection: sqlite3.Connection, record: RunRecord) -> int:
    """Complete the run that began (or insert it whole) and return its number; parts stored earlier are removed."""
    connection.execute(
        "INSERT OR IGNORE INTO run (name, command, started) VALUES (?, ?, ?)",
        (record.id, record.command, micros(record.started)),
    )
    (number,) = connection.execute("SELECT id FROM run WHERE name = ?", (record.id,)).fetchone()
    for table in ("run_service", "run_repository", "forgotten"):
        connection.execute(f"DELETE FROM {table} WHERE run = ?", (number,))  # noqa: S608  (three constants)
    connection.execute(
        "UPDATE run SET command = ?, host = ?, started = ?, ended = ?, result = ?, exit_code = ?, error = ?, hint = ?,"
        " restic_processes = ? WHERE id = ?",
        (
            record.command,
            record.host,
            micros(record.started),
            micros(record.ended),
            record.result,
            record.exit_code,
            bind(record.error),
            bind_or_none(record.hint),
            record.restic_processes,
            number,
        ),
    )
    return int(number)


def insert_parts(connection: sqlite3.Connection, run: int, record: RunRecord) -> None:
    """Store a run's services with their sources, its repositories, and what was forgotten."""
    for service in record.services:
        _insert_service(connection, run, service)
    connection.executemany(
        "INSERT INTO run_repository (run, name, url, added, retention, check_, error) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (run, place.name, bind(place.url), place.added, place.retention, place.check, bind(place.error))
            for place in record.repositories
        ],
    )
    connection.executemany(
        "INSERT INTO forgotten (run, point, repository, snapshots, reason, orphan) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (run, gone.point, gone.repository, pack_list(gone.snapshots), gone.reason, gone.orphan)
            for gone in record.forgotten
        ],
    )


def _insert_service(connection: sqlite3.Connection, run: int, service: ServiceRecord) -> None:
    number = connection.execute(
        "INSERT INTO run_service (run, service, tier, point, time, ended, commit_id, added, error)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            run,
            service.service,
            service.tier,
            service.point,
            micros_or_none(service.time),
            micros_or_none(service.ended),
            service.commit,
            service.added,
            bind(service.error),
        ),
    ).lastrowid
    connection.executemany(
        "INSERT INTO run_source (run_service, name, engine, state, bytes, seconds, exit_code, server, tool, error,"
        " hint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(number, *_source_values(source)) for source in service.sources],
    )


def _source_values(source: SourceRecord) -> Iterable[object]:
    return (
        source.name,
        source.engine,
        source.state,
        sum(item.bytes for item in source.items),
        source.seconds or sum(item.seconds for item in source.items),
        source.exit_code,
        bind(source.server),
        bind(source.tool),
        bind(source.error),
        bind_or_none(source.hint),
    )


def _service(row: Any) -> ServiceRecord:
    service, tier, point, time, ended, commit, added, error = row
    return ServiceRecord(
        service=service,
        tier=tier,
        sources=(),
        point=point,
        time=instant_or_none(time),
        ended=instant_or_none(ended),
        commit=commit,
        added=added,
        error=text(error),
    )


def _place(row: Any) -> RepositoryRecord:
    name, url, added, retention, check, error = row
    return RepositoryRecord(name, text(url), added, retention, check, text(error))


def _forgotten(row: Any) -> Forgotten:
    point, repository, snapshots, reason, orphan = row
    return Forgotten(point, repository, unpack_list(snapshots), reason, bool(orphan))


_SERVICES = """
SELECT v.run, v.service, v.tier, v.point, v.time, v.ended, v.commit_id, v.added, v.error
FROM run_service v JOIN run r ON r.id = v.run WHERE r.started >= ? ORDER BY v.id
"""
_REPOSITORIES = """
SELECT a.run, a.name, a.url, a.added, a.retention, a.check_, a.error
FROM run_repository a JOIN run r ON r.id = a.run WHERE r.started >= ? ORDER BY a.id
"""
_FORGOTTEN = """
SELECT f.run, f.point, f.repository, f.snapshots, f.reason, f.orphan
FROM forgotten f JOIN run r ON r.id = f.run WHERE r.started >= ? ORDER BY f.id
"""
_EVENTS = """
SELECT r.id, e.time, e.name, e.severity, e.message, e.run, e.service, e.source, e.repository, e.hint
FROM event e JOIN run r ON r.name = e.run WHERE r.started >= ? ORDER BY e.id
"""

# What belongs to the runs since an instant: the query, whose first column is the run's number, and the row's maker.
DETAILS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    (_SERVICES, _service),
    (_REPOSITORIES, _place),
    (_FORGOTTEN, _forgotten),
    (_EVENTS, event_of),
)


def run_of(row: Any, services: Any, repositories: Any, forgotten: Any, events: Any) -> RunRecord:
    """Build a run from its row and its parts, in the order of DETAILS."""
    _, name, command, host, started, ended, result, exit_code, error, hint, processes = row
    return RunRecord(
        id=name,
        command=command,
        host=host,
        started=instant(started),
        ended=instant(ended),
        result=result,
        exit_code=exit_code,
        services=tuple(services),
        repositories=tuple(repositories),
        forgotten=tuple(forgotten),
        events=tuple(events),
        error=text(error),
        hint=text_or_none(hint),
        restic_processes=processes,
    )
