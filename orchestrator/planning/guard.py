"""The guard: why a retention run must not go on by itself. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from orchestrator.model.point import Point

SKEW = timedelta(hours=1)  # clocks of two machines may differ that much
_SHOWN = 3  # services that a text names


def brakes(
    *,
    listed: Sequence[Point],
    removing: Sequence[Point],
    ageing: Sequence[Point] | None,
    expected: Collection[str],
    found: Collection[str],
    max_forget: float,
    now: datetime,
) -> tuple[str, ...]:
    """Return why retention must stop, as texts for people; none: it may go on.

    listed: the committed points that the repository lists · removing: those that would go · ageing: those that the
    last policy that ran would remove now (None: none ever ran), so that steady ageing never brakes · expected, found:
    restic IDs that the catalog believes in and that the repository lists · max_forget: the largest share (0 … 1) of a service and tier in `listed` that may go beyond `ageing`.
    """
    texts = (
        _too_many(listed, removing, ageing, max_forget),
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
    over = [series for series, number in beyond.items() if number > max_forget * total[series]]
    if not over:
        return ""
    worst = sorted(over, key=lambda series: (-beyond[series] / max(1, total[series]), series))
    shown = [_told(series, going[series], total[series], going[series] - beyond[series]) for series in worst[:_SHOWN]]
    more = f" and too many of {len(worst) - _SHOWN} more services" if len(worst) > _SHOWN else ""
    return (
        f"the rules in policy.yml would now remove {', '.join(shown)}{more};"
        f" the guard lets {100 * max_forget:g} % of a service go at once (retention.guard.max_forget)"
    )


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
