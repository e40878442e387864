from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from orchestrator.model.record import Event
from orchestrator.report.notification import LONGEST_BODY, channels_for, matches, of_events, of_run, to_be_told
from tests.unit.report.records import FAILED, RUN, START


@dataclass(frozen=True)
class Rule:
    on: tuple[str, ...]
    to: tuple[str, ...]


def event(name: str, severity: str = "failed", message: str = "it broke", **more: str) -> Event:
    return Event(START, name, severity, message, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("failed", True),
        ("success", False),
        ("run.failed", True),
        ("run.*", True),
        ("ru.*", False),
        ("run", False),
        ("*", False),
    ],
)
def test_what_a_rule_matches(pattern: str, expected: bool) -> None:
    assert matches(event("run.failed"), pattern) is expected


def test_a_channel_gets_each_event_once() -> None:
    rules = [Rule(("failed", "run.*"), ("ops", "boss")), Rule(("run.failed",), ("ops",))]
    events = [event("run.failed"), event("run.succeeded", "success"), event("disk.low", "warning")]
    found = channels_for(events, rules)
    assert {channel: [one.name for one in told] for channel, told in found.items()} == {
        "ops": ["run.failed", "run.succeeded"],
        "boss": ["run.failed", "run.succeeded"],
    }


def test_an_error_of_several_lines_is_said_once() -> None:
    error = "psql failed:\n  line two\n  line three"
    told = event("run.failed"), event("point.failed", message=error, service="hub")
    run = replace(FAILED, result="failed", services=(), error=error, events=told)
    (found,) = of_run(run, [Rule(("failed",), ("ops",))])
    assert found.body.count("line two") == 1
    assert "\\n" not in found.body


def test_one_notification_with_the_whole_report() -> None:
    (told,) = of_run(FAILED, [Rule(("failed", "partial"), ("ops",))])
    assert told.title == "backup finished in part on hub-01: 1 failed of 3 sources"
    assert told.severity == "failed"
    for part in (
        "start ",
        "end ",
        "took       3 min 07 s",
        "size       5.5 KiB",
        "2.0 KiB added",
        "3 snapshots",
        "forgotten",
    ):
        assert part in told.body
    assert told.body.count("server 10.0.0.9 does not answer") == 1
    assert "HINT: start it" in told.body


def test_a_success_is_told_only_to_those_who_asked() -> None:
    assert of_run(RUN, [Rule(("failed", "partial", "warning", "recovered"), ("ops",))]) == []
    (told,) = of_run(RUN, [Rule(("success",), ("log",))])
    assert (told.title, told.severity) == ("backup succeeded on hub-01", "success")


def test_recovered() -> None:
    again = replace(RUN, events=(*RUN.events, event("alert.recovered", "recovered", "backup works again")))
    (told,) = of_run(again, [Rule(("recovered",), ("ops",))])
    assert told.title == "backup succeeded on hub-01, after a failure before"
    assert told.severity == "recovered"


def test_a_warning_of_a_success() -> None:
    braked = event("retention.braked", "warning", "it would remove too much", repository="local", hint="look first")
    (told,) = of_run(replace(RUN, events=(*RUN.events, braked)), [Rule(("warning",), ("ops",))])
    assert told.title == "backup succeeded on hub-01, with warnings"
    assert "retention.braked (local): it would remove too much\n  HINT: look first" in told.body


def test_events_outside_a_run() -> None:
    (told,) = of_events(
        "hub-01",
        [event("config.invalid", message="policy.yml:1:1: no"), event("disk.low", "warning")],
        [Rule(("failed", "warning"), ("ops",))],
    )
    assert (told.title, told.severity) == ("config.invalid on hub-01", "failed")
    assert told.body == "config.invalid: policy.yml:1:1: no\ndisk.low: it broke"


def test_a_body_has_an_end() -> None:
    (told,) = of_run(replace(RUN, error="x" * 99_999, events=(event("run.failed"),)), [Rule(("failed",), ("ops",))])
    assert len(told.body) == LONGEST_BODY


@pytest.mark.parametrize("name", ["run.refused", "run.busy", "config.invalid"])
def test_who_sits_at_a_terminal_is_not_written_to(name: str) -> None:
    event = Event(START, name, "failed", "no such service: 'shpo'")
    assert not to_be_told(event, attended=True)
    assert to_be_told(event, attended=False)


@pytest.mark.parametrize("name", ["run.failed", "run.killed", "lock.foreign"])
def test_what_happened_to_the_backups_is_told_also_at_a_terminal(name: str) -> None:
    assert to_be_told(Event(START, name, "failed", "x"), attended=True)
