"""When jobs run: cron expressions on the policy's calendar, or a fixed interval. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from heapq import merge
from itertools import groupby, takewhile

from cronsim import CronSim, CronSimError

DEFAULT_BACKUP = "0 2 * * *"


def check(expression: str) -> str:
    """Return what is wrong with a cron expression, "" when nothing is."""
    try:
        next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        text = str(error)
        return text[:1].lower() + text[1:]
    except StopIteration:
        return "it never comes"
    return ""


def times(expressions: Sequence[str], after: datetime, until: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield when any of the expressions comes, in UTC, after `after` and up to `until`; each instant once.

    Days on which clocks change are handled as by Debian's cron. Raises ValueError for a bad expression.
    """
    bad = [f"{expression!r}: {wrong}" for expression in expressions if (wrong := check(expression))]
    if bad:
        raise ValueError(f"not a cron expression: {bad[0]}")
    streams = [_instants(expression, after.astimezone(zone)) for expression in expressions]
    return takewhile(lambda instant: instant <= until, _once(merge(*streams)))


def _instants(expression: str, local: datetime) -> Iterator[datetime]:
    return (instant.astimezone(UTC) for instant in CronSim(expression, local))


def _once(instants: Iterable[datetime]) -> Iterator[datetime]:
    return (instant for instant, _ in groupby(instants))
