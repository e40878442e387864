"""What is told to whom: events routed by rules, and the title and body of a notification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

from orchestrator.model.record import Event, RunRecord, Severity
from orchestrator.report.run_text import headline, run_text
from orchestrator.report.units import lines, safe

_WORST_FIRST: tuple[Severity, ...] = ("failed", "partial", "warning", "recovered", "success", "info")
_SEVERITIES = frozenset(get_args(Severity))
_READ_AT_ONCE = frozenset({"run.refused", "run.busy", "config.invalid"})
LONGEST_BODY = 16_000  # characters; channels that take less cut by themselves


class NotifyRule(Protocol):
    """Which events go to which channels: severities, event names, or `noun.*`."""

    @property
    def on(self) -> Sequence[str]:
        """What the rule matches."""

    @property
    def to(self) -> Sequence[str]:
        """Names of channels."""


@dataclass(frozen=True)
class Notification:
    """One message to one channel."""

    channel: str
    title: str
    body: str
    severity: Severity


def matches(event: Event, pattern: str) -> bool:
    """Whether a rule's word means this event: its severity, its name, or `noun.*`."""
    if pattern in _SEVERITIES:
        return event.severity == pattern
    if pattern.endswith(".*"):
        return event.name.startswith(pattern[:-1])
    return event.name == pattern


def to_be_told(event: Event, *, attended: bool) -> bool:
    """Whether channels hear of a command that did not become a run: at a terminal (attended) somebody reads it."""
    return not (attended and event.name in _READ_AT_ONCE)


def channels_for(events: Iterable[Event], rules: Iterable[NotifyRule]) -> dict[str, list[Event]]:
    """Return for each channel the events that its rules match, each once, in their order."""
    found: dict[str, list[Event]] = {}
    known = list(rules)
    for event in events:
        wanted = [rule for rule in known if any(matches(event, pattern) for pattern in rule.on)]
        for channel in dict.fromkeys(name for rule in wanted for name in rule.to):
            found.setdefault(channel, []).append(event)
    return found


def of_run(record: RunRecord, rules: Iterable[NotifyRule]) -> list[Notification]:
    """Return one notification for each channel that a run's events concern: the whole report, and those events.

    Its severity is the worst of the events that matched, so that a channel for failures is not told of a success.
    """
    return [
        Notification(channel, _title(record, events), _body(record, events), _worst(events))
        for channel, events in channels_for(record.events, rules).items()
    ]


def of_events(host: str, events: Sequence[Event], rules: Iterable[NotifyRule]) -> list[Notification]:
    """Return one notification for each channel that events outside a run concern."""
    found = []
    for channel, matched in channels_for(events, rules).items():
        worst = _worst(matched)
        first = next(event for event in matched if event.severity == worst)
        body = "\n".join(_line(event) for event in matched)
        found.append(Notification(channel, safe(f"{first.name} on {host}"), body[:LONGEST_BODY], worst))
    return found


def _worst(events: Sequence[Event]) -> Severity:
    return min((event.severity for event in events), key=_WORST_FIRST.index)


def _title(record: RunRecord, events: Sequence[Event]) -> str:
    if any(event.severity == "recovered" for event in events):
        return f"{headline(record)}, after a failure before"
    if record.result == "success" and _worst(events) == "warning":
        return f"{headline(record)}, with warnings"
    return headline(record)


def _body(record: RunRecord, events: Sequence[Event]) -> str:
    report = run_text(record)
    # What the report says already is not said twice.
    more = [event for event in events if not event.name.startswith("run.") and lines(event.message) not in report]
    text = "\n\n".join(part for part in (report, "\n".join(_line(event) for event in more)) if part)
    return text if len(text) <= LONGEST_BODY else text[: LONGEST_BODY - 1] + "…"


def _line(event: Event) -> str:
    place = "/".join(part for part in (event.service, event.source) if part) or event.repository
    text = f"{event.name}{f' ({safe(place)})' if place else ''}: {lines(event.message)}"
    return f"{text}\n  HINT: {lines(event.hint)}" if event.hint else text
