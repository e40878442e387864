"""How each service stands, decided from its restore points: never a later word than was earned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.model.point import Point, State
from orchestrator.model.ports import CheckRecord
from orchestrator.model.record import Event, RunRecord

SKEW = timedelta(hours=1)
ACT = frozenset({"overdue", "damaged", "failed", "none", "clock"})  # levels that ask somebody to do something


@dataclass(frozen=True)
class ServiceStatus:
    """One service and tier.

    level: proven (green) · unproven · partial (look at it) · overdue · damaged · failed · none · clock (act) · retired.
    newest: its newest whole point · proven: the newest proven one.
    """

    service: str
    tier: str
    level: str
    message: str
    newest: Point | None = None
    proven: Point | None = None
    points: int = 0


@dataclass(frozen=True)
class RepositoryStatus:
    """One repository: when it was last listed and checked, and what is overdue."""

    name: str
    url: str
    seen: datetime | None
    check: CheckRecord | None
    notes: tuple[str, ...]
    damage: str = ""


@dataclass(frozen=True)
class Status:
    """Everything that `resguardo status` shows. exit_code: 0 nothing to act on, 1 otherwise."""

    host: str
    services: tuple[ServiceStatus, ...]
    repositories: tuple[RepositoryStatus, ...]
    last_run: RunRecord | None
    waiting: int
    events: tuple[Event, ...]

    @property
    def exit_code(self) -> int:
        """1 when a service or a repository asks for action."""
        bad = any(service.level in ACT for service in self.services)
        damaged = any(repository.damage for repository in self.repositories)
        return int(bad or damaged)


def services(
    points: Sequence[Point], current: Iterable[tuple[str, str]], now: datetime, limit: timedelta
) -> tuple[ServiceStatus, ...]:
    """Judge every service and tier: those of services.yml, then those that only have restore points."""
    wanted = sorted(set(current))
    retired = sorted({(point.service, point.tier) for point in points} - set(wanted))
    return (
        *(_service(place, _of(points, place), now, limit) for place in wanted),
        *(_retired(place, _of(points, place)) for place in retired),
    )


def _of(points: Sequence[Point], place: tuple[str, str]) -> list[Point]:
    return [point for point in points if (point.service, point.tier) == place]


def _service(place: tuple[str, str], points: list[Point], now: datetime, limit: timedelta) -> ServiceStatus:
    whole = [point for point in points if point.whole]
    newest = max(whole, key=lambda point: point.time, default=None)
    proven = max((point for point in whole if point.state >= State.PROVEN), key=lambda point: point.time, default=None)
    latest = max(points, key=lambda point: point.time, default=None)
    level, message = _level(newest, proven, latest, now, limit)
    return ServiceStatus(*place, level, message, newest, proven, len(points))


def _level(  # noqa: PLR0911 - one return per level
    newest: Point | None, proven: Point | None, latest: Point | None, now: datetime, limit: timedelta
) -> tuple[str, str]:
    if latest is not None and latest.damaged:
        return "damaged", f"{latest.id} is damaged"
    if newest is None:
        return ("failed", f"no whole restore point; {latest.id} is partial") if latest else ("none", "no restore point")
    if newest.time - now > SKEW:
        return "clock", f"{newest.id} lies in the future: the clock was wrong then, or is now"
    if now - newest.time > limit:
        return "overdue", f"the newest whole restore point is older than {limit}"
    if latest is not None and latest.partial:
        return "partial", f"{latest.id} is partial"
    if proven is None:
        return "unproven", f"{newest.state.word}, never proven by a drill"
    return "proven", f"proven by {proven.id}"


def _retired(place: tuple[str, str], points: list[Point]) -> ServiceStatus:
    newest = max(points, key=lambda point: point.time)
    why = "not in services.yml; its restore points are kept"
    return ServiceStatus(*place, "retired", why, newest, points=len(points))
