"""Telling people: notifications go to the outbox first, then out; what fails is tried again with the next run.

Nothing here raises because of a channel, and nothing changes a run's result.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from orchestrator.model.errors import Interrupted, ResguardoError, UsageError
from orchestrator.model.ports import Catalog, Notifier, OutboxEntry
from orchestrator.model.record import Event, RunRecord
from orchestrator.report.notification import Notification, of_events, of_run
from orchestrator.runs.toolbox import Toolbox

MOST_TRIES = 20
LONGEST_WAIT = timedelta(days=7)
_AT_ONCE = 8  # channels


def announce(box: Toolbox, record: RunRecord) -> None:
    """Put what a finished run has to tell into the outbox; `deliver` sends it."""
    _queue(box, of_run(record, box.config.policy.notify.rules))


def announce_events(box: Toolbox, events: Sequence[Event]) -> None:
    """Put events outside a run into the outbox."""
    _queue(box, of_events(box.config.policy.host, events, box.config.policy.notify.rules))


def _queue(box: Toolbox, notifications: Sequence[Notification]) -> None:
    for told in notifications:
        box.catalog.queue(told.channel, told.title, told.body, told.severity, box.clock())


def deliver(catalog: Catalog, notifier: Notifier, now: datetime) -> tuple[str, ...]:
    """Send what waits in the outbox, channels side by side, each channel's oldest first; return why some stayed.

    A channel that fails is left alone until the next run; after 20 tries or 7 days an entry is given up, with the
    event `notify.dropped`. Raises Interrupted only: a catalog that fails here keeps the outbox for the next run.
    """
    try:
        return _deliver(catalog, notifier, now)
    except Interrupted:
        raise
    except ResguardoError as error:
        return (error.message,)


def _deliver(catalog: Catalog, notifier: Notifier, now: datetime) -> tuple[str, ...]:
    waiting: dict[str, list[OutboxEntry]] = {}
    for entry in catalog.outbox():
        waiting.setdefault(entry.channel, []).append(entry)
    if not waiting:
        return ()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="notify") as pool:
        outcomes = list(pool.map(lambda entries: _send_all(notifier, entries), waiting.values()))
        for entries, (sent, error) in zip(waiting.values(), outcomes, strict=True):
            _note(catalog, entries, sent, error, now)
    return tuple(error for _, error in outcomes if error)


def _send_all(notifier: Notifier, entries: Sequence[OutboxEntry]) -> tuple[int, str]:
    """Send a channel's entries until one fails; return how many went out, and why the next one did not."""
    for sent, entry in enumerate(entries):
        error, _ = _try(notifier, entry.channel, entry.title, entry.body, entry.severity)
        if error:
            return sent, error
    return len(entries), ""


def _try(notifier: Notifier, channel: str, title: str, body: str, severity: str) -> tuple[str, str | None]:
    try:
        notifier.send(channel, title, body, severity)
    except Interrupted:
        raise
    except ResguardoError as error:
        return error.message, error.hint
    except Exception as error:  # noqa: BLE001 - whatever a channel does, the run's result stands
        return f"channel {channel}: unexpected {type(error).__name__}", None
    return "", None


def _note(catalog: Catalog, entries: Sequence[OutboxEntry], sent: int, error: str, now: datetime) -> None:
    for entry in entries[:sent]:
        catalog.delivered(entry.id)
    for place, entry in enumerate(entries[sent:]):
        tried = place == 0
        if tried:
            catalog.undelivered(entry.id, error)
        if entry.tries + tried >= MOST_TRIES or now - entry.created > LONGEST_WAIT:
            catalog.delivered(entry.id)
            catalog.add_event(_dropped(entry, error, now))


def _dropped(entry: OutboxEntry, error: str, now: datetime) -> Event:
    message = f"gave up a notification of {entry.created:%Y-%m-%d %H:%M} UTC ({entry.title}): {error}"
    return Event(now, "notify.dropped", "warning", message, hint="run resguardo notify test")


def send_test(box: Toolbox, channels: Sequence[str] = ()) -> list[tuple[str, str, str | None]]:
    """Send a test notification to channels (empty: all); return (channel, error, hint), error "" when it was delivered.

    Raises UsageError for an unknown channel.
    """
    known = list(box.config.policy.notify.channels)
    unknown = [name for name in channels if name not in known]
    if unknown:
        raise UsageError(f"no such channel: {unknown[0]!r}", f"policy.yml has {', '.join(known) or 'none'}")
    title = f"resguardo test from {box.config.policy.host}"
    body = "This is a test: notifications of this policy arrive here."
    tried = [(name, *_try(box.notifier, name, title, body, "success")) for name in channels or known]
    return [(name, without_channel(error, name), hint) for name, error, hint in tried]


def without_channel(message: str, channel: str) -> str:
    """Return what a notifier says of a channel, for a line that names the channel already."""
    return message.removeprefix(f"channel {channel}: ")
