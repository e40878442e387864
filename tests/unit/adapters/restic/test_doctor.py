"""Whose lock it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.adapters.restic.doctor import Here, Judgement, Settled, decide, events
from orchestrator.model.execution import KillProcess
from orchestrator.model.repository import Lock

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LOCK = Lock("ab" * 32, NOW - timedelta(minutes=2), "hub", 4711, exclusive=False)
OURS = KillProcess(4711, 900, "boot-a", 4026531836, "restic", "local")
HERE = Here("hub", "boot-a", 4026531836, {}, NOW)


def test_gone_is_dead() -> None:
    judged = decide(LOCK, [OURS], HERE)
    assert (judged.verdict, judged.evidence) == ("ours_dead", "PID 4711 on hub, for 2 min; ours and gone")


def test_a_reused_pid_is_not_our_process() -> None:
    assert decide(LOCK, [OURS], replace(HERE, live={4711: 901})).verdict == "ours_dead"
    assert decide(LOCK, [OURS], replace(HERE, live={4711: 900})).verdict == "ours_alive"


@pytest.mark.parametrize(
    ("lock", "known", "here"),
    [
        (LOCK, [], replace(HERE, live={4711: 1})),
        (replace(LOCK, host="other"), [OURS], HERE),
        (replace(LOCK, pid=1), [OURS], replace(HERE, live={1: 1})),
        (LOCK, [replace(OURS, role="dump")], replace(HERE, live={4711: 1})),
        (LOCK, [replace(OURS, pid_namespace=5)], HERE),
        (LOCK, [OURS], replace(HERE, pid_namespace=5)),
        (LOCK, [replace(OURS, boot="boot-b")], HERE),
        (LOCK, [OURS, replace(OURS, pid_namespace=5)], HERE),
    ],
    ids=["unknown", "host", "pid", "role", "namespace", "seen from elsewhere", "fresh after a boot", "two, one unseen"],
)
def test_what_cannot_be_known_is_foreign(lock: Lock, known: list[KillProcess], here: Here) -> None:
    assert decide(lock, known, here).verdict == "foreign"


def test_who_is_not_there_and_not_ours_is_gone() -> None:
    judged = decide(LOCK, [replace(OURS, pid=5)], HERE)
    told = "PID 4711 on hub, for 2 min; that process is not running on this machine and is none of our journal's"
    assert (judged.verdict, judged.evidence) == ("gone", told)
    (event,) = events(Settled(left=(judged,)), "local", NOW)
    assert event.name == "lock.foreign"
    assert "resguardo recover --unlock" in (event.hint or "")


def test_a_lock_from_before_the_boot_is_dead_once_no_restic_would_leave_it_so_old() -> None:
    old = replace(LOCK, time=NOW - timedelta(minutes=31))
    assert decide(old, [replace(OURS, boot="boot-b")], HERE).verdict == "ours_dead"


def test_the_living_of_two_counts() -> None:
    here = replace(HERE, live={4711: 901})
    assert decide(LOCK, [OURS, replace(OURS, start=901)], here).verdict == "ours_alive"


def test_events_name_host_pid_and_age() -> None:
    foreign = decide(LOCK, [], replace(HERE, live={4711: 1}))
    removed, left = events(Settled((decide(LOCK, [OURS], HERE),), (foreign,)), "local", NOW)
    assert (removed.name, removed.severity, removed.repository) == ("lock.removed", "info", "local")
    assert (left.name, left.severity) == ("lock.foreign", "warning")
    assert left.message == "repository local is locked by PID 4711 on hub, for 2 min; no process of our journal"
    assert left.hint == "when that process is surely gone, run `restic unlock` on hub"
    assert isinstance(foreign, Judgement)
