from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.model.engine import Facts, Item, Source
from orchestrator.model.point import PointItem, PointSource, State
from orchestrator.model.record import Event, RestoredItem, ServiceRecord, SourceRecord
from orchestrator.model.secret import Secret
from orchestrator.planning.backup import BackupPlan, Limits, Probed, Trouble, plan_points
from orchestrator.planning.guard import brakes
from orchestrator.planning.retention import decide
from orchestrator.planning.simulate import Calendar, simulate
from orchestrator.planning.spans import Span
from orchestrator.planning.status import RepositoryStatus, RetentionTrouble, Status, services
from orchestrator.planning.tidy import Orphan, RetentionPlan
from orchestrator.report.document import document, plain, restore_points, run_document
from orchestrator.report.run_text import headline
from orchestrator.report.status import rebuilt_text, status_text
from orchestrator.report.text import (
    plan_text,
    point_text,
    points_table,
    restored_text,
    retention_text,
    run_text,
    simulation_text,
)
from tests.unit.planning.points import Rules, point, source
from tests.unit.report.records import BROKEN, FAILED, RUN, START

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


def test_a_runs_summary() -> None:
    assert run_text(RUN).split("\n") == [
        "result     backup succeeded on hub-01 (exit 0)",
        "run        20260615T020000Z-abcdef",
        "start      2026-06-15 02:00:00Z",
        "end        2026-06-15 02:03:07Z",
        "took       3 min 07 s",
        "size       5.5 KiB",
        "points     1 restore point in 3 snapshots",
        "to local   2.0 KiB added, forgot 1 restore points",
        "forgotten  1 restore point",
        "",
        "SOURCE     ENGINE  STATE     SIZE        TOOK",
        "hub/main   sqlite  taken  1.5 KiB       0.4 s",
        "hub/files  files   taken  4.0 KiB  1 min 15 s",
        "",
        "forgot hub.default@20260101T020000Z-000000 (no keep-rule wants it)",
    ]


def test_failures_are_told_with_reason_and_hint() -> None:
    text = run_text(FAILED)
    assert "result     backup finished in part on hub-01: 1 failed of 3 sources (exit 3)" in text
    assert "hub/mail failed: server 10.0.0.9 does not answer\n  HINT: start it" in text
    assert "hub/mail: old server\n  HINT: update it" in text


def test_one_cause_for_everything_is_said_once_without_every_place() -> None:
    cause = "the key file /k does not exist"
    source = SourceRecord("files", "files", "failed", error=cause, hint="put it back")
    lost = [
        ServiceRecord(name, "default", (source, replace(source, name="main")), error=cause, hint="put it back")
        for name in ("home", "hub")
    ]
    record = replace(FAILED, result="failed", exit_code=4, services=tuple(lost), error=f"home: {cause}")
    text = run_text(replace(record, repositories=(), events=()))
    assert text.endswith(f"\n\nnothing was backed up: {cause}\n  HINT: put it back")
    assert text.count(cause) == 1
    other = replace(lost[1], error="no source could be stored", sources=(replace(source, error="gone"),))
    text = run_text(replace(record, services=(lost[0], other)))
    assert f"\nhome: {cause}\nhub: no source could be stored\nhub/files failed: gone\n  HINT" in text
    assert "nothing was backed up" not in text


def test_the_headline_counts_what_failed_and_what_is_partial_apart() -> None:
    part = replace(FAILED.services[0], sources=(replace(BROKEN, state="partial"),))
    assert headline(replace(FAILED, services=(part,))) == "backup finished in part on hub-01: 1 partial of 1 source"
    both = replace(part, sources=(*part.sources, BROKEN, BROKEN, FAILED.services[0].sources[0]))
    found = headline(replace(FAILED, services=(both,)))
    assert found == "backup finished in part on hub-01: 2 failed, 1 partial of 4 sources"


def test_a_cause_and_a_hint_are_said_once_with_all_that_they_struck() -> None:
    def failed(name: str, error: str = "server 10.0.0.9 does not answer") -> SourceRecord:
        return SourceRecord(name, "postgresql", "failed", error=error, hint="start it")

    hub = replace(FAILED.services[0], sources=(failed("a"), failed("b"), failed("c", "no such file")), point="")
    text = run_text(replace(FAILED, services=(replace(hub, error="it broke"),), error="hub: it broke"))
    assert text.endswith(
        "hub: it broke\n"
        "hub/a failed, hub/b failed: server 10.0.0.9 does not answer\nhub/c failed: no such file\n  HINT: start it"
    )
    many = replace(hub, sources=tuple(failed(f"s{number}") for number in range(11)))
    assert "hub/s7 failed, 3 more: server" in run_text(replace(FAILED, services=(many,)))


def test_hostile_errors_cannot_steer_the_terminal() -> None:
    hostile = replace(FAILED.services[0].sources[2], error="x\x1b]0;owned\x07\nsecond line", name="mail\x1b[2J")
    text = run_text(replace(FAILED, services=(replace(FAILED.services[0], sources=(hostile,)),)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "second line" in text


def test_the_list() -> None:
    points = [
        replace(point(NOW - timedelta(hours=3), sources=(source("main"), source("files"))), bytes=1536),
        replace(point(NOW - timedelta(days=3), partial=True), retired=True, damaged=True),
    ]
    lines = points_table(points, NOW).split("\n")
    assert lines[0].split() == ["POINT", "TIME", "AGE", "STATE", "SIZE", "REPOSITORY", "SOURCES"]
    assert "3 h  committed" in lines[1]
    assert lines[1].endswith("1.5 KiB  local       main, files")
    assert "partial, damaged, retired" in lines[2]
    assert points_table([], NOW) == "no restore points"


def test_the_list_marks_what_failed_and_what_is_another_hosts() -> None:
    flawed = point(NOW, partial=True, sources=(source("main"), source("mail", "failed"), source("files", "partial")))
    text = points_table([replace(flawed, host="a"), replace(point(NOW), host="b")], NOW, "b")
    assert "  partial, of host a  " in text
    assert text.split("\n")[1].endswith("main, mail (failed), files (partial)")
    assert "of host b" not in text


def test_one_point_whole() -> None:
    item = PointItem("a'b\n", "dumps", "d" * 64, "/main.a.sql", 10, "a" * 64, counts={"users": 3, "\x1b[1m": 1})
    found = point(
        NOW, sources=(PointSource("main", "sqlite", "taken", (item,), state=State.CHECKED), source("x", "failed"))
    )
    text = point_text(found, NOW)
    assert "a'b\\n" in text
    assert "counts of main/a'b\\n: \\x1b[1m 1, users 3" in text
    assert "x failed: x did not answer" in text
    several = replace(source("y", "partial"), error="one\ntwo\x1b[2J")
    assert "y partial: one\ntwo\\x1b[2J" in point_text(replace(found, sources=(several,), host="a"), NOW)


def planned() -> BackupPlan:
    def made(name: str) -> Source:
        return Source("hub", name, "sqlite", "default", 60.0, object(), lambda _: Secret("hunter22"))

    probed = [
        Probed(made("main"), Facts((Item(made("main"), "all", "sql", 100),))),
        Probed(made("gone"), trouble=Trouble("shop.db is missing", "check its path", 4)),
    ]
    return BackupPlan("hub-01", "local", plan_points(probed, Limits(1000, 500), {}), 2, forget="it was never done")


def test_a_plan() -> None:
    text = plan_text(planned())
    assert "retention    due: it was never done" in text
    assert "check        not due" in text
    assert "hub/main  all   sqlite  default  staged            100 B" in text
    assert "error: hub/gone: shop.db is missing\n  HINT: check its path" in text


def test_retention_says_every_reason() -> None:
    points = [point(NOW - timedelta(days=n)) for n in range(4)]
    decision = decide(points, Rules(last=3), NOW, "UTC")
    stop = brakes(listed=points, removing=points, ageing=[], expected=(), found=(), max_forget=0.3, now=NOW)
    plan = RetentionPlan(
        "local",
        (("hub", "default", decision),),
        (Orphan(("a",), "hub.default@x", ours=False, reason="its run is not known here"),),
        (),
        stop,
        ("old",),
    )
    text = retention_text(plan)
    assert "hub, tier default, in local: forget 1 of 4 restore points" in text
    assert f"forget  {points[3].id}  2026-06-12 12:00:00Z  no keep-rule wants it" in text
    assert "leave  hub.default@x  its run is not known here" in text
    assert "retired, all restore points stay: old" in text
    assert "nothing would be removed: the rules in policy.yml would now remove 4 of 4 restore points of hub" in text
    assert "HINT: if all of this is wanted, `resguardo prune --force` does it" in text


def test_a_backup_whose_retention_was_refused_says_it_once_with_a_hint() -> None:
    message = "nothing was removed from repository local: the rules would remove 9 of 10 restore points of hub"
    braked = Event(START, "retention.braked", "warning", message, repository="local", hint="look first")
    local = replace(RUN.repositories[0], retention="retention refused", error=message)
    text = run_text(replace(RUN, result="attention", exit_code=1, repositories=(local,), events=(braked,)))
    assert "result     backup stored everything, but needs attention, on hub-01 (exit 1)" in text
    assert f"\nretention: {message}\n  HINT: look first" in text
    assert text.count(message) == 1
    assert "to local   2.0 KiB added, retention refused" in text


def test_a_repositorys_error_without_an_event_is_told_all_the_same() -> None:
    local = replace(RUN.repositories[0], error="it burned")
    assert "\nrepository local: it burned" in run_text(replace(RUN, repositories=(local,)))


def test_a_plan_foresees_retention_and_says_from_when() -> None:
    decision = decide([point(NOW - timedelta(days=n)) for n in range(4)], Rules(last=3), NOW, "UTC")
    plan = RetentionPlan("local", (("hub", "default", decision),), (), (), ())
    text = plan_text(planned(), plan, NOW)
    assert "as far as the catalog knows (repository local was last listed 2026-06-15 12:00:00Z)" in text
    assert "hub, tier default, in local: forget 1 of 4 restore points" in text


def test_a_simulation() -> None:
    found = simulate([], Rules(last=2), Calendar(), now=NOW, span=Span(days=9), zone="UTC")
    text = simulation_text("hub", "default", found)
    assert "kept     2 restore points" in text
    assert "last       2" in text
    assert "2026-06-24 02:00:00Z  last" in text


def test_status_says_how_each_service_stands() -> None:
    day = timedelta(days=1)
    local = RepositoryStatus("local", "/srv/r", NOW - 3 * day, None, ("resguardo prune is due: it was never done",))
    judged = services([point(NOW - 2 * day)], {("hub", "default"), ("mail", "default")}, NOW, day)
    text = status_text(Status("hub-01", judged, (local,), RUN, 2, RUN.events), NOW)
    assert "hub      default  overdue  2026-06-13 12:00:00Z" in text
    assert "mail     default  none     -" in text
    assert "repository local (/srv/r): last listed 3 d ago, never checked\n  resguardo prune is due" in text
    assert "last backup: success, 9 h ago" in text
    assert "2 notifications not delivered yet" in text


def stands(*events: Event, **more: Any) -> str:
    judged = services([point(NOW - timedelta(hours=1))], {("hub", "default")}, NOW, timedelta(days=1))
    local = RepositoryStatus("local", "/srv/r", NOW, None, (), retention=more.pop("retention", None))
    return status_text(Status("hub-01", judged, (local,), RUN, 0, events, **more), NOW)


def test_status_says_in_its_first_line_what_asks_for_action() -> None:
    trouble = RetentionTrouble("braked", NOW - timedelta(days=2), "it would remove 4 of 4", "look at it")
    text = stands(retention=trouble)
    assert text.startswith("retention in repository local is braked\n")
    assert "  retention is braked since 2026-06-13 12:00:00Z: it would remove 4 of 4\n  HINT: look at it" in text
    assert stands().startswith("everything is backed up; not everything is proven\n")
    judged = services([], [(name, "default") for name in "abcde"], NOW, timedelta(days=1))
    many = status_text(Status("h", judged, (), None, 0, ()), NOW)
    assert many.startswith("5 of 5 services need action: a (none), b (none), c (none), 2 more\n")
    assert many.endswith("run `resguardo catalog rebuild`")
    assert "catalog rebuild" not in stands()


def test_status_counts_no_other_hosts_points() -> None:
    assert "count for nothing here: 3 of a\\x1b; this policy's host is hub-01" in stands(elsewhere={"a\x1b": 3})


def test_lines_of_an_event_are_joined_and_its_controls_shown() -> None:
    text = stands(Event(NOW, "source.failed", "failed", "one\n  two\x1b[2J\r\n", service="hub", source="main"))
    assert text.endswith("source.failed (hub/main): one two\\x1b[2J")


@pytest.mark.parametrize(
    ("known", "added", "said"),
    [
        (3, 3, "the catalog knows 3 restore points of host h, all of them new"),
        (3, 1, "the catalog knows 3 restore points of host h, 1 of them new"),
        (3, 0, "the catalog knows 3 restore points of host h, none of them new"),
        (1, 1, "the catalog knows 1 restore point of host h, new"),
        (1, 0, "the catalog knows 1 restore point of host h, not new"),
    ],
)
def test_what_a_rebuild_brought(known: int, added: int, said: str) -> None:
    assert rebuilt_text("h", known, added) == said
    assert rebuilt_text("h", 0, 0).startswith("no restore points of host h found\nHINT: ")


def test_what_a_restore_did() -> None:
    done = [RestoredItem("main", "all", "hub.default@x", "/to/main.sqlite", "restored", 10, 0.5, kept="main_before")]
    assert "main    all   restored  10 B  0.5 s  /to/main.sqlite  main_before" in restored_text(
        replace(RUN, command="restore"), done
    )


def test_a_restore_says_each_cause_once() -> None:
    done = [
        RestoredItem(name, "all", "p", f"/to/{name}", "failed", error="no space left", hint="make room")
        for name in ("main", "mail")
    ]
    run = replace(
        RUN, command="restore", services=(), forgotten=(), error="hub: main/all: no space left; mail/all: no space left"
    )
    text = restored_text(run, done)
    assert text.endswith("\n\nmain/all failed, mail/all failed: no space left\n  HINT: make room")
    assert (text.count("no space left"), text.count("HINT")) == (1, 1)
    assert "hub: it was cut off" in restored_text(replace(run, error="hub: it was cut off"), done)


def test_the_run_document() -> None:
    body = json.loads(json.dumps(document("backup", run_document(RUN))))
    assert body["schema"] == "resguardo/backup/1"
    assert {"id", "started", "ended", "result", "services", "repositories", "forgotten"} <= set(body)
    assert body["started"] == "2026-06-15T02:00:00Z"
    assert body["services"][0]["bytes"] == 5632
    assert body["seconds"] == 187.0


def test_the_list_document() -> None:
    (found,) = restore_points([point(START, sources=(source("main"), source("mail", "failed", State.FAILED)))])
    assert {"id", "service", "tier", "time", "state", "run", "sources"} <= set(found)
    assert found["state"] == "committed"
    main, mail = found["sources"]
    assert {"name", "engine", "state", "repository", "snapshot", "path", "bytes", "sha256"} <= set(main)
    assert (mail["state"], mail["error"], mail["snapshot"]) == ("failed", "mail did not answer", "")


def test_documents_hold_no_secrets_and_no_live_objects() -> None:
    text = json.dumps(
        document("plan", {"plan": planned(), "secret": Secret("hunter22"), "state": State.PROVEN, "set": {2, 1}})
    )
    assert "hunter22" not in text
    body = json.loads(text)
    assert (body["secret"], body["state"], body["set"]) == ("***", "proven", [1, 2])
    with pytest.raises(TypeError, match="not for a document: object"):
        plain(object())


def test_status_never_calls_a_run_partial_whose_points_are_whole() -> None:
    run = replace(RUN, result="attention", exit_code=1)
    judged = services([point(NOW)], [("hub", "default")], NOW, timedelta(hours=26))
    text = status_text(Status("hub-01", judged, (), run, 0, ()), NOW)
    assert "last backup: stored everything, but needs attention, " in text


def test_what_a_backup_warned_of_stands_in_the_first_line_and_below_why() -> None:
    made = point(NOW, sources=(source("files"),))
    empty = Event(NOW, "source.warning", "warning", "'/srv': is empty", service="hub", source="files")
    run = replace(RUN, id=made.run, events=(empty,))
    judged = services([made], [("hub", "default")], NOW, timedelta(hours=26), [run])
    text = status_text(Status("hub-01", judged, (), run, 0, ()), NOW)
    assert text.startswith("everything is backed up, with warnings (see WHY); not everything is proven")
    assert "committed, never proven by a drill; files: '/srv': is empty" in text
