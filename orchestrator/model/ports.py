"""The ports to our own stores: the catalog, the notifier and the log. Use cases know only these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.model.manifest import Manifest
from orchestrator.model.point import Point, State
from orchestrator.model.record import Event, RunRecord


@dataclass(frozen=True)
class CheckRecord:
    """One look at a repository (subject "") or a point (its ID). data: which share was read."""

    time: datetime
    repository: str
    subject: str
    data: str
    errors: tuple[str, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class OutboxEntry:
    """A notification that waits to be delivered."""

    id: int
    channel: str
    title: str
    body: str
    severity: str
    created: datetime
    tries: int
    last_error: str = ""


@dataclass(frozen=True)
class SourceHistory:
    """What earlier runs tell of a source: for progress, small/large decisions and anomaly checks."""

    bytes: int
    seconds: float
    runs: int


class Catalog(Protocol):
    """The local history: manifests mirrored, events, checks, notifications; never the truth about a repository."""

    def begin(self, run: str, command: str, started: datetime) -> None:
        """Note that a run has begun (it is "dead" if it never ends)."""

    def record(self, record: RunRecord) -> None:
        """Store how a run ended, its sources and events."""

    def add_point(self, manifest: Manifest, repository: str, snapshots: Mapping[str, str], commit: str) -> None:
        """Mirror one committed manifest; the same again changes nothing but IDs."""

    def points(
        self,
        *,
        repository: str | None = None,
        service: str | None = None,
        host: str | None = None,
        items: bool = True,
    ) -> list[Point]:
        """All points, newest first, of one host or of all that were ever seen here.

        `retired` is left False: callers know services.yml.

        items=False leaves the sources' `items` empty and is several times as fast.
        """

    def batch(self) -> AbstractContextManager[None]:
        """Make everything in the block one transaction: all of it or nothing. Other threads wait."""

    def remove_point(self, point: str, repository: str) -> None:
        """Forget a point that a repository no longer holds."""

    def set_state(self, point: str, repository: str, source: str, state: State) -> None:
        """Raise the state that a point's source earned in a repository; it is never lowered."""

    def set_damaged(self, point: str, repository: str, *, damaged: bool) -> None:
        """Flag what reading a point found in a repository; a clean read takes every flag back."""

    def set_missing(self, point: str, repository: str, *, missing: bool) -> None:
        """Flag a point as damaged while a repository does not list all its snapshots; damage that was read stays."""

    def newest_manifest(self, repository: str, *, host: str | None = None) -> Manifest | None:
        """The manifest committed last, or None when the catalog knows none of this repository (and host)."""

    def policies(self, repository: str, *, host: str | None = None) -> set[str]:
        """Every text of policy.yml under which a known point of this repository (and host) was made; "" for none."""

    def paths_snapshot(self, service: str, tier: str, repository: str) -> str | None:
        """restic ID of the newest `paths` snapshot, as parent."""

    def seen(self, repository: str) -> datetime | None:
        """When the repository was last listed."""

    def mark_seen(self, repository: str, when: datetime) -> None:
        """Note that the repository was listed."""

    def add_event(self, event: Event) -> None:
        """Append one event."""

    def events(self, *, limit: int = 50, name: str | None = None) -> list[Event]:
        """Newest first; `name` may be `noun.*`."""

    def runs(self, *, command: str | None = None, limit: int = 20) -> list[RunRecord]:
        """Runs, newest first, with events, repositories, forgotten, and services without their sources.

        A killed run counts as interrupted at the time when it was found dead; one that is under way is left out.
        """

    def dead_runs(self) -> set[str]:
        """Runs that began, never ended, and were reconciled as dead."""

    def unfinished(self, command: str) -> list[tuple[str, datetime]]:
        """ID and start of a command's runs that began, have no end and were not found dead, newest first."""

    def over_runs(self) -> set[str]:
        """Every run that ended, or was found dead: what it stored without committing it is nobody's."""

    def mark_dead(self, run: str, when: datetime) -> None:
        """Note that reconcile found this run dead."""

    def add_check(self, check: CheckRecord) -> None:
        """Store a check."""

    def last_check(self, repository: str) -> CheckRecord | None:
        """The newest check of a repository as a whole, or None."""

    def history(self, service: str, source: str) -> SourceHistory | None:
        """Median bytes and seconds of the last successful runs of a source."""

    def get(self, key: str) -> str | None:
        """A small durable value (last retention, last policy digest and rules …)."""

    def put(self, key: str, value: str) -> None:
        """Store a small durable value."""

    def queue(self, channel: str, title: str, body: str, severity: str, created: datetime) -> int:
        """Put a notification into the outbox, durably, before any try to send it."""

    def outbox(self) -> Sequence[OutboxEntry]:
        """What waits, oldest first."""

    def delivered(self, entry: int) -> None:
        """Remove a delivered entry."""

    def undelivered(self, entry: int, error: str) -> None:
        """Count a failed try."""


class Notifier(Protocol):
    """Delivers one notification to one channel."""

    def send(self, channel: str, title: str, body: str, severity: str) -> None:
        """Deliver within 10 s; raises Precondition with the reason (without the channel's URL or secrets)."""

    def check(self, channel: str) -> None:
        """See that the channel's URL can be had and is one that can be sent to; nothing is sent. Raises as `send`."""
