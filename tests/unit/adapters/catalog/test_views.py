"""The views: each is documented with its columns, and says what people need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from orchestrator.adapters.catalog import SqliteCatalog
from orchestrator.model.point import State
from orchestrator.model.ports import CheckRecord
from orchestrator.model.record import Event, Forgotten, RepositoryRecord
from tests.unit.adapters.catalog.builders import START, item, manifest, record, run_id, service_record, source

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "catalog.md"


def views(catalog: SqliteCatalog) -> dict[str, list[str]]:
    names = [name for (name,) in catalog._db.rows("SELECT name FROM sqlite_master WHERE type = 'view'")]
    return {name: [row[1] for row in catalog._db.rows(f"PRAGMA table_info({name})")] for name in names}


def documented() -> dict[str, list[str]]:
    """Read the sections named for a view, which end with `Columns: a, b.`"""
    found = re.findall(r"^### `(\w+)`\n.*?^Columns: (.+?)\.$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return {name: re.findall(r"`(\w+)`", columns) for name, columns in found}


def test_every_view_is_documented_with_its_columns(catalog: SqliteCatalog) -> None:
    assert documented() == views(catalog)


def test_the_examples_of_the_page_run(catalog: SqliteCatalog) -> None:
    examples = re.findall(r"```sql\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        catalog._db.rows(example)


def told(catalog: SqliteCatalog) -> None:
    sources = (source("main"), source("files", items=(item("files", "paths", sha256=None, bytes=50),)))
    for number in range(3):
        catalog.add_point(manifest(number, sources=sources), "local", {"dumps": f"d{number}"}, f"c{number}")
    catalog.add_point(manifest(2, sources=sources), "offsite", {}, "x2")
    catalog.add_point(manifest(3, sources=(source(), source("b", "failed"))), "local", {}, "c3")
    for name in ("main", "files"):
        catalog.set_state(manifest(1).point, "local", name, State.PROVEN)
    places = (RepositoryRecord("local", "/srv/repository", 900),)
    gone = (Forgotten("hub.default@old", "local", ("a",), "beyond daily 7"),)
    catalog.record(record(2, services=(service_record(),), repositories=places, forgotten=gone))
    catalog.record(record(3, result="failed", exit_code=1, error="it failed", hint="look"))
    catalog.begin(run_id(4), "backup", START)
    catalog.mark_dead(run_id(5), START)
    catalog.mark_seen("local", START)
    catalog.add_check(CheckRecord(START, "local", "", "5%", ()))
    catalog.add_event(Event(START, "run.failed", "failed", "it failed", run=run_id(3)))
    catalog.queue("ops", "hub failed", "body", "failed", START)


def select(catalog: SqliteCatalog, sql: str) -> list[Any]:
    return catalog._db.rows(sql)


def test_points_and_their_parts(catalog: SqliteCatalog) -> None:
    told(catalog)
    assert select(catalog, "SELECT time, state, partial, sources, bytes, repositories FROM points ORDER BY time") == [
        ("2024-02-29T01:02:03Z", "committed", 0, 2, 1050, "local"),
        ("2024-03-01T01:02:03Z", "proven", 0, 2, 1050, "local"),
        ("2024-03-02T01:02:03Z", "committed", 0, 2, 1050, "local offsite"),
        ("2024-03-03T01:02:03Z", "failed", 1, 2, 1000, "local"),
    ]
    assert select(catalog, "SELECT point FROM points WHERE state = 'proven'") == [(manifest(1).point,)]
    assert [row[0][-6:] for row in select(catalog, "SELECT point FROM unproven_points ORDER BY time")] == [
        "000000", "000002", "000003",
    ]  # fmt: skip
    assert select(
        catalog, f"SELECT source, outcome, state, items, bytes FROM sources WHERE run = '{run_id(3)}' ORDER BY source"
    ) == [
        ("b", "failed", "failed", 0, 0),
        ("main", "taken", "taken", 1, 1000),
    ]
    assert select(catalog, f"SELECT item, part, path, as_of FROM items WHERE run = '{run_id(0)}' ORDER BY item") == [
        ("all", "dumps", "/main.all.sql", "2024-02-29T01:02:03Z"),
        ("files", "paths", "/main.files.sql", "2024-02-29T01:02:03Z"),
    ]
    assert select(catalog, "SELECT part, restic_id, point FROM snapshots WHERE repository = 'offsite'") == [
        ("commit", "x2", manifest(2).point)
    ]


def test_services_and_their_space(catalog: SqliteCatalog) -> None:
    told(catalog)
    assert select(catalog, "SELECT * FROM services") == [
        ("hub", "default", 4, "2024-02-29T01:02:03Z", "2024-03-03T01:02:03Z", "2024-03-01T01:02:03Z")
    ]
    assert select(catalog, "SELECT * FROM space_by_service") == [("hub", "default", 4, 1000, 4150, 123)]


def test_runs_good_and_bad(catalog: SqliteCatalog) -> None:
    told(catalog)
    assert select(catalog, "SELECT result, exit_code, seconds, added FROM runs ORDER BY run") == [
        ("success", 0, 10.0, 900),
        ("failed", 1, 10.0, 0),
        ("unfinished", None, None, 0),
        ("dead", None, None, 0),
    ]
    assert select(catalog, "SELECT run, result, error, hint FROM failed_runs ORDER BY run") == [
        (run_id(3), "failed", "it failed", "look"),
        (run_id(5), "dead", "", None),
    ]
    assert select(catalog, "SELECT run, service, source, bytes, seconds FROM run_sources") == [
        (run_id(2), "hub", "main", 1000, 2.0)
    ]
    assert select(catalog, "SELECT point, reason, orphan FROM forgotten_points") == [
        ("hub.default@old", "beyond daily 7", 0)
    ]


def test_repositories_checks_events_and_notifications(catalog: SqliteCatalog) -> None:
    told(catalog)
    now = "2024-02-29T01:02:03Z"
    assert select(catalog, "SELECT * FROM repositories ORDER BY repository") == [
        ("local", now, 4, now),
        ("offsite", None, 1, None),
    ]
    assert select(catalog, "SELECT time, repository, subject, data, sound FROM checks") == [(now, "local", "", "5%", 1)]
    assert select(catalog, "SELECT time, name, severity, run FROM events") == [(now, "run.failed", "failed", run_id(3))]
    assert select(catalog, "SELECT channel, title, created, tries FROM waiting_notifications") == [
        ("ops", "hub failed", now, 0)
    ]
