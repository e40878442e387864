"""How services stand: every case in which status must not be green, and that a later good run makes it so again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.model.point import Point, State
from orchestrator.model.record import Event, Result, RunRecord, ServiceRecord
from orchestrator.planning.status import (
    RepositoryStatus,
    RetentionTrouble,
    ServiceStatus,
    Status,
    retention_trouble,
    services,
)
from tests.unit.planning.points import point, source

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HUB, MAIL = ("hub", "default"), ("mail", "default")


def run(
    hours: float, result: Result, *made: ServiceRecord, error: str = "", events: tuple[Event, ...] = ()
) -> RunRecord:
    ended = NOW - hours * HOUR
    return RunRecord(
        id=f"{ended:%Y%m%dT%H%M%SZ}-abcdef",
        command="backup",
        host="h",
        started=ended - HOUR / 60,
        ended=ended,
        result=result,
        exit_code=int(result != "success"),
        services=made,
        error=error,
        events=events,
    )


def taken(service: str) -> ServiceRecord:
    return ServiceRecord(service, "default", (), point=f"{service}.default@x")


def lost(service: str, error: str = "no source could be dumped") -> ServiceRecord:
    return ServiceRecord(service, "default", (), error=error)


def hub(points: list[Point], *runs: RunRecord) -> ServiceStatus:
    (found,) = services(points, [HUB], NOW, 26 * HOUR, runs)
    return found


def exit_code(*found: ServiceStatus, retention: RetentionTrouble | None = None) -> int:
    local = RepositoryStatus("local", "/srv", NOW, None, (), "", retention)
    return Status("h", found, (local,), None, 0, ()).exit_code


def test_a_good_point_within_its_age_is_well() -> None:
    found = hub([point(NOW - HOUR)], run(1, "success", taken("hub")))
    assert (found.level, exit_code(found)) == ("unproven", 0)
    assert hub([point(NOW - HOUR, state=State.PROVEN)]).level == "proven"


def test_a_run_that_failed_after_the_newest_point_is_said_with_its_causes() -> None:
    told = Event(NOW, "source.failed", "failed", "no such file", service="hub", source="main")
    found = hub([point(NOW - 2 * HOUR)], run(1, "failed", lost("hub"), lost("mail"), events=(told,)))
    assert (found.level, exit_code(found)) == ("failed", 1)
    assert found.message == "the last backup failed at 2026-06-15 11:00:00Z: main: no such file"


def test_a_later_good_run_makes_it_well_again() -> None:
    found = hub(
        [point(NOW - HOUR), point(NOW - 3 * HOUR)], run(1, "success", taken("hub")), run(2, "failed", lost("hub"))
    )
    assert (found.level, exit_code(found)) == ("unproven", 0)


def test_what_failed_for_one_service_alone_is_its_own() -> None:
    points = [point(NOW - 2 * HOUR), point(NOW - HOUR, service="mail")]
    hub_now, mail_now = services(
        points, [HUB, MAIL], NOW, 26 * HOUR, [run(1, "partial", lost("hub"), taken("mail"), error="hub: it broke")]
    )
    assert (hub_now.level, mail_now.level) == ("failed", "unproven")


def test_a_later_run_of_another_service_hides_no_failure() -> None:
    found = hub([point(NOW - 3 * HOUR)], run(1, "success", taken("mail")), run(2, "failed", lost("hub")))
    assert found.level == "failed"


def test_a_run_that_came_to_no_service_failed_for_all() -> None:
    found = hub([point(NOW - 2 * HOUR)], run(1, "failed", error="repository local: wrong password"))
    assert found.level == "failed"
    assert found.message.endswith("11:00:00Z: repository local: wrong password")


def test_a_run_that_was_cut_off_counts_for_what_it_did_not_come_to() -> None:
    cut = run(1, "interrupted", taken("mail"), error="interrupted by SIGTERM")
    found = hub([point(NOW - 2 * HOUR)], cut)
    assert (found.level, "was cut off at" in found.message) == ("failed", True)
    mine = replace(point(NOW - 1.01 * HOUR), run=cut.id)
    assert hub([mine], replace(cut, services=())).level == "unproven"  # killed after it had committed this


def test_a_failure_before_the_newest_point_is_over() -> None:
    assert hub([point(NOW - HOUR)], run(2, "failed", error="busy")).level == "unproven"  # learnt by a rebuild


def test_a_newest_point_that_is_partial_says_which_sources() -> None:
    flawed = point(
        NOW - HOUR,
        partial=True,
        sources=(source("main"), source("mail", "failed"), source("files", "partial")),
    )
    found = hub([flawed, point(NOW - 2 * HOUR)], run(1, "partial", taken("hub")))
    assert (found.level, exit_code(found)) == ("partial", 1)
    assert found.message == f"{flawed.id} is partial: mail failed, files partial"
    assert found.newest is not None
    assert found.newest.time == NOW - 2 * HOUR


@pytest.mark.parametrize(
    ("points", "level"),
    [
        ([], "none"),
        ([point(NOW - HOUR, partial=True, state=State.TAKEN)], "failed"),
        ([point(NOW - HOUR, damaged=True), point(NOW - 2 * HOUR)], "damaged"),
        ([point(NOW - 27 * HOUR)], "overdue"),
        ([point(NOW + 2 * HOUR)], "clock"),
    ],
)
def test_every_other_trouble_asks_for_action(points: list[Point], level: str) -> None:
    found = hub(points)
    assert (found.level, exit_code(found)) == (level, 1)


def test_an_overdue_service_says_why_its_last_backup_failed() -> None:
    found = hub([point(NOW - 30 * HOUR)], run(1, "failed", lost("hub", "the server is gone")))
    assert found.level == "overdue"
    assert found.message.endswith("the last backup failed at 2026-06-15 11:00:00Z: the server is gone")


def braked(hours: float, name: str = "retention.braked") -> Event:
    return Event(NOW - hours * HOUR, name, "warning", f"{name} {hours}", repository="local", hint="look")


def test_retention_that_is_braked_asks_for_action_since_its_first_time() -> None:
    found = retention_trouble([braked(1), braked(25), braked(80)], NOW - 49 * HOUR)
    assert found == RetentionTrouble("braked", NOW - 25 * HOUR, "retention.braked 1", "look")
    well = hub([point(NOW - HOUR)])
    assert (exit_code(well, retention=found), exit_code(well)) == (1, 0)


def test_retention_that_worked_since_is_well() -> None:
    assert retention_trouble([braked(2), braked(3)], NOW - HOUR) is None
    assert retention_trouble([], None) is None


def test_what_keeps_retention_from_its_work_is_named() -> None:
    words = [
        found.word
        for name in ("retention.blocked", "retention.refused", "retention.failed")
        if (found := retention_trouble([braked(1, name)], None))
    ]
    assert words == ["locked out", "refused", "failing"]


def test_what_the_newest_backup_warned_of_is_noted_and_asks_for_nothing() -> None:
    newest, before = point(NOW - HOUR, sources=(source("files"),)), point(NOW - 2 * HOUR, sources=(source("files"),))
    warned = [
        Event(NOW, "source.warning", "warning", f"warning {number}", service="hub", source=name)
        for number, name in enumerate(["files", "cache", "files", "files", "files"])
    ]
    other = Event(NOW, "source.warning", "warning", "another's", service="mail", source="files")
    runs = [replace(run(1, "success", taken("hub"), events=(*warned, other)), id=newest.run)]
    found = hub([newest, before], *runs)
    assert (found.level, found.warned, exit_code(found)) == ("unproven", True, 0)
    listed = "files: warning 0; files: warning 2; files: warning 3; and 1 more"
    assert found.message == f"committed, never proven by a drill; {listed}"
    assert not hub([newest, before], replace(runs[0], id=before.run)).warned
