"""When jobs run: cron expressions on the policy's calendar, or a fixed interval. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from heapq import merge
from itertools import groupby, takewhile

from cronsim import CronSim

from orchestrator.policy.cron import parse_cron

DEFAULT_BACKUP = "0 2 * * *"


def times(expressions: Sequence[str], after: datetime, until: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Yield when any of the expressions comes, in UTC, after `after` and up to `until`; each instant once.

    Days on which clocks change are handled as by Debian's cron. Raises ValueError for a bad expression
    (`parse_cron`).
    """
    streams = [_instants(parse_cron(expression), after.astimezone(zone)) for expression in expressions]
    return takewhile(lambda instant: instant <= until, _once(merge(*streams)))


def _instants(expression: str, local: datetime) -> Iterator[datetime]:
    return (instant.astimezone(UTC) for instant in CronSim(expression, local))


def _once(instants: Iterable[datetime]) -> Iterator[datetime]:
    return (instant for instant, _ in groupby(instants))
