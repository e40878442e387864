"""What counts as recovered: the same command, the same service."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.model.record import Event, Result, RunRecord, ServiceRecord
from orchestrator.planning.recovery import Recovery, recovery

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HUB, MAIL = (ServiceRecord(name, "default", (), point=f"{name}.default@x") for name in ("hub", "mail"))


def run(result: Result, *services: ServiceRecord, command: str = "backup", about: str = "", ago: int = 0) -> RunRecord:
    ended = NOW - timedelta(hours=ago)
    closing = Event(ended, "run.failed", "failed", "x", service=about)
    return RunRecord(
        "r", command, "h", ended, ended, result, int(result != "success"), services=services, events=(closing,)
    )


def lost(service: ServiceRecord) -> ServiceRecord:
    return replace(service, point="", error="it broke")


def test_a_service_that_failed_is_recovered_by_its_own_good_run() -> None:
    broken = run("failed", lost(HUB), ago=1)
    assert recovery(run("success", HUB), [broken]) == Recovery(("hub",), broken.ended)
    assert recovery(run("success", MAIL), [broken]) is None
    assert recovery(run("partial", HUB), [broken]) is None


def test_only_the_last_run_of_a_service_counts() -> None:
    assert recovery(run("success", HUB), [run("success", HUB, ago=1), run("failed", lost(HUB), ago=2)]) is None
    found = recovery(run("success", HUB), [run("success", MAIL, ago=1), run("failed", lost(HUB), ago=2)])
    assert found == Recovery(("hub",), NOW - timedelta(hours=2))


def test_a_source_that_failed_is_its_services() -> None:
    flaw = Event(NOW, "source.failed", "failed", "x", service="mail", source="files")
    part = replace(run("partial", HUB, MAIL), events=(flaw,))
    assert recovery(run("success", HUB, MAIL), [part]) == Recovery(("mail",), NOW)


def test_a_run_that_failed_as_a_whole_is_recovered_by_any() -> None:
    assert recovery(run("success", HUB), [run("failed")]) == Recovery(("hub",), NOW)
    assert recovery(run("success", HUB), [run("partial", HUB)]) == Recovery(("hub",), NOW)  # at its retention
    assert recovery(run("success", HUB), [run("interrupted", MAIL)]) == Recovery(("hub",), NOW)


def test_a_restore_recovers_that_of_the_same_service_alone() -> None:
    good = run("success", command="restore", about="hub")
    assert recovery(good, [run("failed", command="restore", about="mail")]) is None
    assert recovery(good, [run("failed", command="restore", about="hub")]) == Recovery(("hub",), NOW)
    killed = replace(run("interrupted", command="restore"), events=())
    assert recovery(good, [killed]) is None


def test_commands_without_services() -> None:
    assert recovery(run("success", command="prune"), [run("failed", command="prune")]) == Recovery((), NOW)
    assert recovery(run("success", command="prune"), [run("success", command="prune")]) is None
    assert recovery(run("success", command="prune"), []) is None
