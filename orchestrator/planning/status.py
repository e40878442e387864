"""How each service stands, decided from its restore points and runs: never a later word than was earned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from orchestrator.model.point import Point, State
from orchestrator.model.ports import CheckRecord
from orchestrator.model.record import Event, RunRecord, ServiceRecord

Place = tuple[str, str]  # service, tier
_MOST_WARNINGS = 3  # named; the rest is counted
SKEW = timedelta(hours=1)
ACT = frozenset({"overdue", "damaged", "lost", "failed", "none", "clock", "partial"})  # levels that ask for action


@dataclass(frozen=True)
class ServiceStatus:
    """One service and tier.

    level: proven (green) · unproven · partial · overdue · damaged · failed · none · clock (act) · retired.
    newest: its newest whole point · proven: the newest proven one · warned: it is well, but the backup that made its
    newest point warned of a source; the message says of what.
    """

    service: str
    tier: str
    level: str
    message: str
    newest: Point | None = None
    proven: Point | None = None
    points: int = 0
    warned: bool = False


@dataclass(frozen=True)
class RetentionTrouble:
    """Why retention does nothing in a repository. word: braked, locked out, refused or failing · since: the first time
    that it did not succeed.
    """

    word: str
    since: datetime
    message: str
    hint: str | None


@dataclass(frozen=True)
class RepositoryStatus:
    """One repository: when it was last listed and checked, what is overdue, and why retention does nothing.

    lost: how many restore points are known that it no longer lists.
    """

    name: str
    url: str
    seen: datetime | None
    check: CheckRecord | None
    notes: tuple[str, ...]
    damage: str = ""
    retention: RetentionTrouble | None = None
    lost: int = 0


@dataclass(frozen=True)
class Status:
    """Everything that `resguardo status` shows. exit_code: 0 nothing to act on, 1 otherwise.

    elsewhere: other host → how many of its restore points the catalog knows; they count for no service here ·
    unnamed: repository that policy.yml does not name → how many points lie there, which count for nothing either ·
    left: what killed restores did that only the user can mend.
    """

    host: str
    services: tuple[ServiceStatus, ...]
    repositories: tuple[RepositoryStatus, ...]
    last_run: RunRecord | None
    waiting: int
    events: tuple[Event, ...]
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    left: tuple[Event, ...] = ()
    unnamed: Mapping[str, int] = field(default_factory=dict)

    @property
    def points(self) -> int:
        """How many restore points of this host are known."""
        return sum(service.points for service in self.services)

    @property
    def exit_code(self) -> int:
        """1 when a service or a repository asks for action."""
        bad = any(service.level in ACT for service in self.services)
        return int(
            bad or bool(self.left) or any(each.damage or each.retention or each.lost for each in self.repositories)
        )


def services(
    points: Sequence[Point],
    current: Iterable[Place],
    now: datetime,
    limit: timedelta,
    runs: Sequence[RunRecord] = (),
) -> tuple[ServiceStatus, ...]:
    """Judge every service and tier: those of services.yml, then those that only have restore points.

    points: of this host alone · limit: the age that a whole point may have · runs: the last backups, newest first.
    """
    wanted = sorted(set(current))
    retired = sorted({(point.service, point.tier) for point in points} - set(wanted))
    return (
        *(_service(place, _of(points, place), now, limit, runs) for place in wanted),
        *(_retired(place, _of(points, place)) for place in retired),
    )


def _of(points: Sequence[Point], place: Place) -> list[Point]:
    return [point for point in points if (point.service, point.tier) == place]


def _service(
    place: Place, points: list[Point], now: datetime, limit: timedelta, runs: Sequence[RunRecord]
) -> ServiceStatus:
    whole = [point for point in points if point.whole]
    newest = max(whole, key=lambda point: point.time, default=None)
    proven = max((point for point in whole if point.state >= State.PROVEN), key=lambda point: point.time, default=None)
    latest = max(points, key=lambda point: point.time, default=None)
    level, message = _level(newest, proven, latest, now, limit, _failure(place, latest, runs))
    warnings = _warnings(latest, runs) if latest and level not in ACT else ""
    return ServiceStatus(*place, level, _said(message, warnings), newest, proven, len(points), bool(warnings))


def _warnings(point: Point, runs: Sequence[RunRecord]) -> str:
    """Return what the backup that made a point warned of: an empty folder, a source far smaller than usual."""
    names = {source.name for source in point.sources}
    told = [
        f"{event.source}: {event.message}"
        for run in runs
        if run.id == point.run
        for event in run.events
        if event.name == "source.warning" and event.service == point.service and event.source in names
    ]
    more = [f"and {len(told) - _MOST_WARNINGS} more"] if len(told) > _MOST_WARNINGS else []
    return "; ".join([*told[:_MOST_WARNINGS], *more])


def _level(  # noqa: PLR0911 - one return per level
    newest: Point | None, proven: Point | None, latest: Point | None, now: datetime, limit: timedelta, failure: str
) -> tuple[str, str]:
    if latest is not None and latest.lost:
        return "lost", _said(f"{latest.id} is gone from repository {latest.repository}", failure)
    if latest is not None and latest.damaged:
        return "damaged", _said(f"{latest.id} is damaged", failure)
    if newest is None:
        if latest:
            return "failed", _said(f"no whole restore point; {_flaws(latest)}", failure)
        return ("failed", f"no restore point; {failure}") if failure else ("none", "no restore point")
    if newest.time - now > SKEW:
        return "clock", _said(f"{newest.id} lies in the future: the clock was wrong then, or is now", failure)
    if now - newest.time > limit:
        return "overdue", _said(f"the newest whole restore point is older than {limit}", failure)
    if failure:
        return "failed", failure
    if latest is not None and latest.partial:
        return "partial", _flaws(latest)
    if proven is None:
        return "unproven", f"{newest.state.word}, never proven by a drill"
    return "proven", f"proven by {proven.id}"


def _said(message: str, more: str) -> str:
    return f"{message}; {more}" if more else message


def _flaws(point: Point) -> str:
    bad = ", ".join(f"{source.name} {source.outcome}" for source in point.sources if source.outcome != "taken")
    return f"{point.id} is partial{bad and ': '}{bad}"


def _failure(place: Place, latest: Point | None, runs: Sequence[RunRecord]) -> str:
    """Say that the last backup of a service brought no restore point, or "".

    A run that ended before it came to any service, or that was cut off, may have been meant for all of them.
    """
    for run in runs:
        mine = next((found for found in run.services if (found.service, found.tier) == place), None)
        cut = run.result == "interrupted"
        if mine is None and (run.result == "success" or (run.services and not cut)):
            continue
        if (mine and mine.point) or (latest and (latest.run == run.id or latest.time >= run.ended)):
            return ""
        error = _cause(run, mine)
        return f"the last backup {'was cut off' if cut else 'failed'} at {_when(run.ended)}{error and f': {error}'}"
    return ""


def _cause(run: RunRecord, mine: ServiceRecord | None) -> str:
    if mine is None:
        return run.error
    told = [event for event in run.events if event.service == mine.service and event.name == "source.failed"]
    return "; ".join(f"{event.source}: {event.message}" for event in told) or mine.error or run.error


def _when(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def retention_trouble(events: Iterable[Event], succeeded: datetime | None) -> RetentionTrouble | None:
    """Return why retention does nothing. events: a repository's `retention.*` · succeeded: when it last worked."""
    since = sorted(
        (event for event in events if succeeded is None or event.time > succeeded), key=lambda event: event.time
    )
    if not since:
        return None
    words = {"retention.braked": "braked", "retention.blocked": "locked out", "retention.refused": "refused"}
    newest = since[-1]
    return RetentionTrouble(words.get(newest.name, "failing"), since[0].time, newest.message, newest.hint)


def _retired(place: Place, points: list[Point]) -> ServiceStatus:
    newest = max(points, key=lambda point: point.time)
    why = "not in services.yml; its restore points are kept"
    return ServiceStatus(*place, "retired", why, newest, points=len(points))
