"""The guard: why a retention run must not go on by itself. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from orchestrator.model.point import Point

SKEW = timedelta(hours=1)  # clocks of two machines may differ that much
_LEAP = 10  # usual gaps between two points after which they no longer look like one run of time
_SHOWN = 3  # services that a text names
_UNKNOWN = "; this catalog is new and knows of no retention before, so nobody can tell whether a rule was changed"


def brakes(
    *,
    listed: Sequence[Point],
    removing: Sequence[Point],
    ageing: Sequence[Point] | None,
    expected: Collection[str],
    found: Collection[str],
    max_forget: float,
    now: datetime,
    since: datetime | None = None,
) -> tuple[str, ...]:
    """Return why retention must stop, as texts for people; none: it may go on.

    listed: the committed points that the repository lists · removing: those that would go · ageing: those that the
    last policy that ran would remove now (None: none ever ran), so that steady ageing never brakes · expected, found:
    restic IDs that the catalog believes in and that the repository lists · max_forget: the largest share (0 … 1) of
    what `ageing` leaves of a service and tier that may go beyond it · since: when retention ran last (None: not known).
    """
    texts = (
        _too_many(listed, removing, ageing, max_forget),
        _leapt(listed, removing, ageing, max_forget, since),
        _shrunk(expected, found),
        _future(listed, now),
    )
    return tuple(text for text in texts if text)


def _too_many(
    listed: Sequence[Point], removing: Sequence[Point], ageing: Sequence[Point] | None, max_forget: float
) -> str:
    """Measure each series by itself: one service must not vanish behind the others' numbers.

    The share over all needs no rule of its own: it is never larger than the largest of a series.
    """
    total = Counter(map(_series, _unique(listed)))
    going = Counter(map(_series, _unique(removing)))
    usual = {point.id for point in ageing or ()}
    beyond = Counter(_series(point) for point in _unique(removing) if point.id not in usual)
    aged = Counter(_series(point) for point in _unique(listed) if point.id in usual)
    over = [series for series, number in beyond.items() if number > max_forget * (total[series] - aged[series])]
    if not over:
        return ""
    worst = sorted(over, key=lambda series: (-beyond[series] / max(1, total[series]), series))
    shown = [_told(series, going[series], total[series], going[series] - beyond[series]) for series in worst[:_SHOWN]]
    more = f" and too many of {len(worst) - _SHOWN} more services" if len(worst) > _SHOWN else ""
    unknown = _UNKNOWN if ageing is None else ""
    return (
        f"the rules in policy.yml would now remove {', '.join(shown)}{more};"
        f" the guard lets {100 * max_forget:g} % of a service go at once (retention.guard.max_forget){unknown}"
    )


def _leapt(
    listed: Sequence[Point],
    removing: Sequence[Point],
    ageing: Sequence[Point] | None,
    max_forget: float,
    since: datetime | None,
) -> str:
    """Stop ageing that thins out a series all at once, across a leap in time: a clock that was wrong leaps so.

    A series is compared with what retention left of it the last time, so that points which only replace others never
    count. A machine that was off for long looks the same: its old points may be all that it has.
    """
    usual = {point.id for point in ageing or ()}
    going = {point.id for point in removing} & usual
    for series in sorted(set(map(_series, listed))) if since and going else ():
        points = sorted((one for one in _unique(listed) if _series(one) == series), key=lambda one: one.time)
        before = [point for point in points if since and point.ended <= since]
        after = [point for point in points if point not in before]
        left = sum(point.id not in going for point in points)
        if left < (1 - max_forget) * len(before) and (leap := _leap(before, after)):
            return (
                f"{len(points) - left} of {len(points)} restore points of {series[0]} (tier {series[1]}) would go by"
                f" age at once, as {leap.days} days without any lie before the newest: was the clock wrong, or the"
                " machine off for that long"
            )
    return ""


def _leap(before: Sequence[Point], after: Sequence[Point]) -> timedelta | None:
    """Return the longest gap since the newest of `before`, where it is many times the usual one; else None."""
    gaps = [(later.time - earlier.time).total_seconds() for earlier, later in pairwise(before)]
    longest = max((later.time - earlier.time for earlier, later in pairwise([*before[-1:], *after])), default=None)
    return longest if gaps and longest and longest.total_seconds() > _LEAP * median(gaps) else None


def _unique(points: Sequence[Point]) -> Collection[Point]:
    return {point.id: point for point in points}.values()


def _series(point: Point) -> tuple[str, str]:
    return point.service, point.tier


def _told(series: tuple[str, str], going: int, total: int, usual: int) -> str:
    aged = f" ({usual} of them by age alone)" if usual else ""
    return f"{going} of {total} restore points of {series[0]} (tier {series[1]}){aged}"


def _shrunk(expected: Collection[str], found: Collection[str]) -> str:
    missing = sorted(set(expected) - set(found))
    if not missing:
        return ""
    some = ", ".join(snapshot[:8] for snapshot in missing[:3]) + (" …" if len(missing) > 3 else "")
    return f"the repository lacks {len(missing)} of the {len(set(expected))} snapshots that the catalog knows ({some})"


def _future(listed: Sequence[Point], now: datetime) -> str:
    ahead = [point for point in listed if point.time > now + SKEW]
    if not ahead:
        return ""
    latest = max(ahead, key=lambda point: point.time)
    return f"{len(ahead)} restore points lie in the future ({latest.id}, now is {now:%Y-%m-%d %H:%M} UTC)"
