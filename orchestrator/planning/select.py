"""Which restore points answer a wish: the latest, the newest not after a time, or one by its ID. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.model.errors import NoSuchPoint, ResguardoError, UsageError
from orchestrator.model.point import Point
from orchestrator.planning.retention import newest_first

REBUILD = "the catalog knows none; if the repository holds restore points, run `resguardo catalog rebuild`"
_FEWEST_LETTERS = 4  # of a prefix
_LIST = "resguardo list shows what there is"


@dataclass(frozen=True)
class Choice:
    """What is wished for. point: an ID, a run's ID, or an unambiguous beginning of one · at: the newest not after it ·
    neither: the latest.
    """

    point: str = ""
    at: datetime | None = None


def choose(points: Sequence[Point], choice: Choice, *, sources: Sequence[str] = ()) -> tuple[Point, ...]:
    """Return the points of one service to restore, one for each tier, with only the sources that are to come back.

    sources: the wished ones, empty for all. Per tier the newest point in which every wished source was taken is
    chosen; when there is none, the newest that holds any of them. A source that lies in two tiers comes from the
    newer point. A damaged point is chosen only by its ID. Of a point in several repositories the first given counts.
    Raises NoSuchPoint.
    """
    if choice.point:
        return _wished(_by_id(points, choice.point), sources)
    sound = _once(point for point in points if not point.damaged)
    if not sound:
        damaged = f"; {len(points)} are damaged" if points else ""
        raise NoSuchPoint(f"there is no restore point{damaged}", _LIST)
    early = [point for point in sound if choice.at is None or point.time <= choice.at]
    chosen = _best_per_tier(early, sources)
    _nothing_missing(sound, chosen, choice.at, sources)
    return chosen


def of_host(points: Sequence[Point], host: str) -> list[Point]:
    """Return the points of this policy's host: another's come back only by their ID. Raises NoSuchPoint."""
    ours = [point for point in points if point.host == host]
    if points and not ours:
        others = ", ".join(sorted({point.host for point in points}))
        raise NoSuchPoint(
            f"there is no restore point of {points[0].service} of host {host}, but of {others}",
            "resguardo list shows them; --point ID restores one",
        )
    return ours


def nothing_of(service: str, active: Collection[str], points: Sequence[Point]) -> ResguardoError:
    """Return why there is nothing of a service: nobody knows it, or it has no restore point.

    active: the services of services.yml · points: all that the catalog knows; services that are gone live on in them.
    """
    if service in active:
        hint = _LIST if points else REBUILD
        return NoSuchPoint(f"there is no restore point of {service}", hint)
    known = {*active, *(point.service for point in points)}
    hint = meant(service, known, f"services are: {', '.join(sorted(known)) or 'none'}")
    return UsageError(f"no such service: {service!r}", hint if points else f"{hint}; {REBUILD}")


def meant(word: str, known: Collection[str], otherwise: str) -> str:
    """Return a did-you-mean, or another hint when nothing known is close."""
    import difflib  # noqa: PLC0415 - only for a mistake

    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


def _meant_point(wish: str, known: Sequence[Point]) -> str:
    if not known:
        return REBUILD
    if wish in {point.service for point in known}:
        return f"that is a service; `resguardo list {wish}` shows its restore points"
    return meant(wish, {point.id for point in known} | {point.run for point in known}, _LIST)


def _once(points: Iterable[Point]) -> list[Point]:
    first: dict[str, Point] = {}
    for point in points:
        first.setdefault(point.id, point)
    return newest_first(list(first.values()))


def named(points: Sequence[Point], wish: str) -> Point:
    """Return the one point that an ID, a run's ID or the beginning of one names. Raises NoSuchPoint."""
    found = _by_id(points, wish)
    if len(found) > 1:
        some = ", ".join(point.id for point in found[:3])
        raise NoSuchPoint(f"{wish} names {len(found)} restore points", f"say which, such as {some}")
    return found[0]


def _by_id(points: Sequence[Point], wish: str) -> list[Point]:
    known = _once(sorted(points, key=lambda point: point.damaged))
    exact = [point for point in known if wish in (point.id, point.run)]
    if exact:
        return exact
    begins = [point for point in known if point.id.startswith(wish) or point.run.startswith(wish)]
    runs = {point.run for point in begins}
    if len(wish) < _FEWEST_LETTERS or not begins:
        raise NoSuchPoint(f"no such restore point: {wish}", _meant_point(wish, known))
    if len(runs) > 1:
        some = ", ".join(point.id for point in begins[:3])
        raise NoSuchPoint(f"{wish} is the beginning of {len(begins)} restore points", f"say which, such as {some}")
    return begins


def _wished(points: Sequence[Point], sources: Sequence[str]) -> tuple[Point, ...]:
    cut = [_only(point, set(sources) if sources else _names(point)) for point in points]
    found = tuple(point for point in cut if point.sources)
    if not found:
        raise NoSuchPoint(
            f"{points[0].id} holds nothing of {', '.join(sources) or 'any source'}",
            f"resguardo show {points[0].id} lists its sources",
        )
    return found


def _only(point: Point, names: set[str]) -> Point:
    return replace(point, sources=tuple(source for source in point.sources if source.name in names and source.items))


def _names(point: Point) -> set[str]:
    return {source.name for source in point.sources}


def _taken(point: Point) -> set[str]:
    return {source.name for source in point.sources if source.outcome == "taken"}


def _best_per_tier(points: Sequence[Point], sources: Sequence[str]) -> tuple[Point, ...]:
    best = [
        found
        for tier in sorted({point.tier for point in points})
        if (found := _best([point for point in points if point.tier == tier], set(sources)))
    ]
    chosen, have = [], set[str]()
    for point in newest_first(best):
        names = (set(sources) & _names(point) if sources else _names(point)) - have
        cut = _only(point, names)
        have |= _names(cut)
        if cut.sources:
            chosen.append(cut)
    return tuple(sorted(chosen, key=lambda point: point.tier))


def _best(series: Sequence[Point], sources: set[str]) -> Point | None:
    wished = sources & set[str]().union(*(_names(point) for point in series))
    if sources and not wished:
        return None
    full = (point for point in series if (wished <= _taken(point) if wished else point.whole))
    some = (point for point in series if _only(point, wished or _names(point)).sources)
    return next(full, None) or next(some, None)


def _nothing_missing(
    sound: Sequence[Point], chosen: Sequence[Point], at: datetime | None, sources: Sequence[str]
) -> None:
    """Refuse when a wished source, or a tier, has no answer: nothing is left out silently."""
    have = set[str]().union(*(_names(point) for point in chosen))
    newest: dict[str, Point] = {}
    for point in sound:
        newest.setdefault(point.tier, point)
    tiers = {point.tier for point in chosen}
    expected = set(sources) or set[str]().union(*(_names(point) for tier, point in newest.items() if tier not in tiers))
    missing = sorted(expected - have)
    if not missing and chosen:
        return
    if not chosen and not sources:
        missing = []  # not one tier answers: no single source is to blame
    what = f"source {missing[0]}" if missing else "anything"
    holding = [point for point in sound if not missing or missing[0] in _names(point)]
    when = f" at or before {at:%Y-%m-%d %H:%M:%S %Z}" if at else ""
    hint = meant(missing[0], {name for point in sound for name in _names(point)}, _LIST) if missing else _LIST
    if holding and at:
        oldest = holding[-1]
        hint = f"the oldest is {oldest.id}, {distance(oldest.time - at)} later"
        hint += "; --source restores the others" if chosen and not sources else ""
    raise NoSuchPoint(f"no restore point of {sound[0].service} holds {what}{when}", hint)


def distance(gap: timedelta) -> str:
    """Say a span for people: `3 d 4 h`, `4 h 12 min`, `12 min`, `12 s`, `less than 1 s`."""
    seconds = int(abs(gap.total_seconds()))
    if seconds < 60:
        return f"{seconds} s" if seconds else "less than 1 s"
    days, rest = divmod(seconds // 60, 24 * 60)
    if days:
        return f"{days} d {rest // 60} h"
    return f"{rest // 60} h {rest % 60} min" if rest >= 60 else f"{rest} min"
