"""What a retention policy would keep over time: `prune --simulate 2y`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from heapq import merge

from orchestrator.planning import buckets, schedule
from orchestrator.planning.buckets import Rules
from orchestrator.planning.spans import Span, zone_of

_BACKUP, _FORGET = 0, 1  # at one instant the backup comes first


@dataclass(frozen=True)
class Calendar:
    """When things happen. backups, forgets: cron expressions (none: daily at 02:00; by `forget_every`) ·
    forget_every: seconds between two forgets when no job does it; backup runs do it, so it is rounded up to the next.
    """

    backups: tuple[str, ...] = ()
    forgets: tuple[str, ...] = ()
    forget_every: float = 0.0


@dataclass(frozen=True)
class SimulatedPoint:
    """A point that is there at the end, with the reasons that the last forget had for it (none: it is younger)."""

    time: datetime
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Simulation:
    """What a policy keeps of one series. kept: newest first, as after a forget at `until` · counts: points per rule ·
    taken, removed: over the whole time, those that exist now included · most: the largest number at any time.
    """

    since: datetime
    until: datetime
    kept: tuple[SimulatedPoint, ...]
    counts: Mapping[str, int]
    taken: int
    removed: int
    most: int
    most_at: datetime


def simulate(
    existing: Sequence[datetime],
    rules: Rules,
    calendar: Calendar,
    *,
    now: datetime,
    span: Span,
    zone: tzinfo | str,
) -> Simulation:
    """Let every backup succeed for `span` and forget as the calendar says. Raises ValueError for bad expressions."""
    place = zone_of(zone)
    until = span.after(now, place)
    points = sorted(existing, reverse=True)
    taken, most, most_at = len(points), len(points), now
    forgotten_at = now
    for instant, what in _moments(calendar, now, until, place):
        if what == _BACKUP:
            points.insert(0, instant)
            taken += 1
        if len(points) > most:
            most, most_at = len(points), instant
        if _forgets(calendar, what, instant, forgotten_at):
            points = _keep(points, rules, instant, place)
            forgotten_at = instant
    why = _reasons(points, rules, until, place)
    kept = tuple(SimulatedPoint(point, tuple(texts)) for point, texts in zip(points, why, strict=True) if texts)
    counts = Counter(text for point in kept for text in point.reasons)
    return Simulation(now, until, kept, dict(counts), taken, taken - len(kept), most, most_at)


def _moments(calendar: Calendar, now: datetime, until: datetime, zone: tzinfo) -> list[tuple[datetime, int]]:
    backups = schedule.times(calendar.backups or (schedule.DEFAULT_BACKUP,), now, until, zone)
    forgets = schedule.times(calendar.forgets, now, until, zone)
    return list(merge(((instant, _BACKUP) for instant in backups), ((instant, _FORGET) for instant in forgets)))


def _forgets(calendar: Calendar, what: int, instant: datetime, last: datetime) -> bool:
    if calendar.forgets:
        return what == _FORGET
    return (instant - last).total_seconds() >= calendar.forget_every


def _keep(points: Sequence[datetime], rules: Rules, now: datetime, zone: tzinfo) -> list[datetime]:
    why = _reasons(points, rules, now, zone)
    return [point for point, texts in zip(points, why, strict=True) if texts]


def _reasons(points: Sequence[datetime], rules: Rules, now: datetime, zone: tzinfo) -> list[list[str]]:
    if buckets.empty(rules):
        return [["there is no keep-rule"] for _ in points]
    return buckets.reasons(points, rules, now, zone)
