"""Retention: which restore points of one service, tier and repository stay, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from orchestrator.model.point import Point, State
from orchestrator.planning import buckets
from orchestrator.planning.buckets import Rules
from orchestrator.planning.spans import zone_of


@dataclass(frozen=True)
class Retained:
    """A point that stays, with every reason."""

    point: Point
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Removed:
    """A point that goes, with the reason."""

    point: Point
    reason: str


@dataclass(frozen=True)
class Decision:
    """What retention decides over one series; both newest first, together all points that were given."""

    keep: tuple[Retained, ...]
    remove: tuple[Removed, ...]


def newest_first(points: Sequence[Point]) -> list[Point]:
    """Sort points from the newest to the oldest; of one instant the later run comes first."""
    return sorted(points, key=lambda point: (point.time, point.run), reverse=True)


def decide(
    points: Sequence[Point],
    rules: Rules,
    now: datetime,
    zone: tzinfo | str,
    *,
    keep_proven: int = 1,
) -> Decision:
    """Decide over the points of one (service, tier, repository).

    Only whole points fill the rules' periods, on `zone`'s calendar. A partial or damaged point stays until a newer
    whole one exists and displaces nothing. The newest `keep_proven` proven points of each source stay (a damaged one
    proves nothing), and so does the last whole point with a source that newer ones do not hold. Without any rule
    everything stays, and so it does when no whole point would be left; a retired service keeps its points.
    Raises ValueError for rules that are not rules.
    """
    ordered = newest_first(points)
    why = _why(ordered, rules, now, zone_of(zone))
    for point_id, text in (*_proven(ordered, keep_proven), *_last_of_source(ordered)):
        why[point_id].append(text)
    for point in ordered:
        why[point.id] += ["its service is retired"] if point.retired else []
    if not any(point.whole and why[point.id] for point in ordered):
        for point in ordered:
            why[point.id].append("no whole point would be left")
    newest_whole = next((point.id for point in ordered if point.whole), "")
    return Decision(
        tuple(Retained(point, tuple(why[point.id])) for point in ordered if why[point.id]),
        tuple(Removed(point, _why_not(point, newest_whole)) for point in ordered if not why[point.id]),
    )


def _why(ordered: Sequence[Point], rules: Rules, now: datetime, zone: tzinfo) -> dict[str, list[str]]:
    whole = [point for point in ordered if point.whole]
    found: dict[str, list[str]] = {point.id: [] for point in ordered}
    if buckets.empty(rules):
        return {point_id: ["there is no keep-rule"] for point_id in found}
    for point, texts in zip(whole, buckets.reasons([point.time for point in whole], rules, now, zone), strict=True):
        found[point.id] += texts
    for point in ordered:
        if point.whole:
            break
        found[point.id].append(f"{_flaw(point)}, and no newer whole point exists")
    return found


def _proven(ordered: Sequence[Point], count: int) -> list[tuple[str, str]]:
    """Return (point, reason) of the newest proven points of every source."""
    left: dict[str, int] = {}
    found = []
    for point in ordered:
        if point.damaged:
            continue
        proven = [source.name for source in point.sources if source.state >= State.PROVEN]
        for name in proven or ([""] if point.state >= State.PROVEN else []):
            if left.setdefault(name, count) > 0:
                left[name] -= 1
                found.append((point.id, f"newest proven of {name}" if name else "newest proven"))
    return found


def _last_of_source(ordered: Sequence[Point]) -> list[tuple[str, str]]:
    """Return the newest whole point of each source that newer whole points do not hold any more.

    A source that was taken out of services.yml or switched off must not age away unnoticed.
    """
    whole = [point for point in ordered if point.whole]
    seen = {source.name for source in whole[0].sources} if whole else set()
    found = []
    for point in whole[1:]:
        new = sorted(source.name for source in point.sources if source.outcome == "taken" and source.name not in seen)
        found += [(point.id, f"the last with source {name}") for name in new]
        seen.update(new)
    return found


def _why_not(point: Point, newest_whole: str) -> str:
    return "no keep-rule wants it" if point.whole else f"{_flaw(point)}, and {newest_whole} is newer and whole"


def _flaw(point: Point) -> str:
    if point.damaged:
        return "damaged"
    return "partial" if point.partial else "not committed whole"
