"""Runs, their history, and what reconcile says of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orchestrator.adapters.catalog import SqliteCatalog
from orchestrator.model.ports import SourceHistory
from orchestrator.model.record import Event, Forgotten, RepositoryRecord, ServiceRecord
from tests.unit.adapters.catalog.builders import START, item, manifest, record, run_id, service_record, source


def test_a_run_comes_back_with_all_but_its_sources(catalog: SqliteCatalog) -> None:
    service = replace(
        service_record(), point="hub.default@x", time=START, ended=START, commit="c1", error="line\n\udcff"
    )
    told = record(
        result="partial",
        exit_code=3,
        services=(service,),
        repositories=(RepositoryRecord("local", "/srv/\udcfe", 77, "kept 3, removed 1", "due", ""),),
        forgotten=(Forgotten("hub.default@old", "local", ("a", "b"), "beyond daily 7"),),
        events=(Event(START, "run.partial", "partial", "50% done", run=run_id(0), hint="look"),),
        error="one source failed",
        hint="see the log",
        restic_processes=3,
    )
    catalog.begin(told.id, "backup", told.started)
    catalog.record(told)
    assert catalog.runs() == [replace(told, services=(replace(service, sources=()),))]
    (stored,) = catalog._db.rows("SELECT name, bytes, seconds, state FROM run_source")
    assert stored == ("main", 1000, 2.0, "taken")


def test_recording_again_replaces_and_does_not_double(catalog: SqliteCatalog) -> None:
    event = Event(START, "run.failed", "failed", "it failed", run=run_id(0))
    told = record(result="failed", exit_code=1, services=(service_record(),), events=(event,))
    catalog.add_event(event)
    catalog.record(told)
    catalog.record(replace(told, result="success", exit_code=0))
    (run,) = catalog.runs()
    assert (run.result, run.exit_code, len(run.services), run.events) == ("success", 0, 1, (event,))
    assert catalog.events() == [event]


def test_runs_are_newest_first_limited_and_filtered(catalog: SqliteCatalog) -> None:
    for number in (2, 0, 1):
        catalog.record(record(number))
    catalog.record(record(3, command="verify", events=(Event(START, "run.succeeded", "success", "", run=run_id(3)),)))
    assert [run.id for run in catalog.runs(limit=2)] == [run_id(3), run_id(2)]
    assert [run.id for run in catalog.runs(command="backup")] == [run_id(2), run_id(1), run_id(0)]
    assert [len(run.events) for run in catalog.runs()] == [1, 0, 0, 0]


def test_a_run_that_never_ended_is_dead_only_once_found_so(catalog: SqliteCatalog) -> None:
    catalog.begin(run_id(0), "backup", START)
    assert catalog.runs() == []
    assert catalog.dead_runs() == set()
    catalog.mark_dead(run_id(0), START + timedelta(days=1))
    catalog.mark_dead("20240101T000000Z-abcdef", START)
    assert catalog.dead_runs() == {run_id(0), "20240101T000000Z-abcdef"}


def test_a_killed_run_counts_as_cut_off_when_it_was_found(catalog: SqliteCatalog) -> None:
    catalog.record(record(0))
    catalog.begin(run_id(1), "backup", START + timedelta(days=1))
    catalog.begin(run_id(2), "backup", START + timedelta(days=2))
    assert [run.id for run in catalog.runs(command="backup")] == [run_id(0)]
    catalog.mark_dead(run_id(1), START + timedelta(days=3))
    killed = catalog.runs(command="backup")[0]
    assert (killed.id, killed.result, killed.error) == (run_id(1), "interrupted", "it was killed")
    assert (killed.exit_code, killed.ended) == (1, START + timedelta(days=3))


def test_a_run_that_ended_is_not_dead(catalog: SqliteCatalog) -> None:
    catalog.begin(run_id(0), "backup", START)
    catalog.mark_dead(run_id(0), START)
    catalog.record(record(0))
    assert catalog.dead_runs() == set()


def test_history_is_the_median_of_the_last_ten_good_runs(catalog: SqliteCatalog) -> None:
    assert catalog.history("hub", "main") is None
    for number in range(12):
        catalog.record(record(number, services=(service_record(size=number * 100, seconds=float(number)),)))
    catalog.record(record(12, services=(service_record(size=10**9, seconds=9e9, state="failed"),)))
    catalog.record(record(13, services=(service_record(name="other", size=10**9),)))
    assert catalog.history("hub", "main") == SourceHistory(650, 6.5, 10)


def test_history_also_learns_from_mirrored_points_and_counts_no_run_twice(catalog: SqliteCatalog) -> None:
    for number, size in enumerate((100, 200, 300)):
        told = manifest(number, sources=(source(items=(item("a", bytes=size), item("b", bytes=size))),))
        catalog.add_point(told, "local", {}, f"c{number}")
    assert catalog.history("hub", "main") == SourceHistory(400, 5.0, 3)
    catalog.record(record(2, services=(service_record(size=600, seconds=5.0),)))
    assert catalog.history("hub", "main") == SourceHistory(400, 5.0, 3)


def test_history_outlives_the_points(catalog: SqliteCatalog) -> None:
    catalog.record(record(0, services=(service_record(size=500),)))
    catalog.add_point(manifest(0, sources=(source(items=(item(bytes=500),)),)), "local", {}, "c")
    catalog.remove_point(manifest(0).point, "local")
    found = catalog.history("hub", "main")
    assert found is not None
    assert (found.bytes, found.runs) == (500, 1)


def test_a_service_without_sources_is_kept(catalog: SqliteCatalog) -> None:
    told = record(services=(ServiceRecord("hub", "default", (), error="no source could be dumped"),))
    catalog.record(told)
    assert catalog.runs() == [told]
