"""The guard: why a retention run must not go on by itself. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from orchestrator.model.point import Point

SKEW = timedelta(hours=1)  # clocks of two machines may differ that much


def brakes(
    *,
    listed: Sequence[Point],
    removing: Sequence[Point],
    ageing: Sequence[Point] | None,
    expected: Collection[str],
    found: Collection[str],
    max_forget: float,
    now: datetime,
    removed: Collection[str] = (),
) -> tuple[str, ...]:
    """Return why retention must stop, as texts for people; none: it may go on.

    listed: the committed points that the repository lists · removing: those that would go · ageing: those that the
    last policy that ran would remove now (None: none ever ran), so that steady ageing never brakes · expected, found:
    restic IDs that the catalog believes in and that the repository lists · removed: IDs that we removed ourselves
    since · max_forget: the largest share (0 … 1) of `listed` that may go beyond `ageing`.
    """
    texts = (
        _too_many(listed, removing, ageing, max_forget),
        _shrunk(expected, found, removed),
        _future(listed, now),
    )
    return tuple(text for text in texts if text)


def _too_many(
    listed: Sequence[Point], removing: Sequence[Point], ageing: Sequence[Point] | None, max_forget: float
) -> str:
    usual = {point.id for point in ageing or ()}
    beyond = len({point.id for point in removing} - usual)
    total = len({point.id for point in listed})
    if beyond <= max_forget * total:
        return ""
    than = "" if ageing is None else " more than under the last policy that ran"
    share = f"{100 * beyond / total:.0f} %" if total else "all"
    return f"it would remove {beyond} of {total} restore points{than} ({share}; max_forget is {100 * max_forget:g} %)"


def _shrunk(expected: Collection[str], found: Collection[str], removed: Collection[str]) -> str:
    missing = sorted(set(expected) - set(found) - set(removed))
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
