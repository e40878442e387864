"""Keep-rules over instants, with restic's semantics; what is kept is said with every reason.

The rules are those of `restic forget` since 0.16: its manual, "Removing snapshots according to a policy". Walking from
the newest to the oldest, each counting rule keeps the newest of each of its periods until its count is used up; a rule
with counts left also keeps the oldest of all. Spans reach back from the newest instant that is not in the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Protocol

from orchestrator.planning.spans import BEGINNING, Span

UNLIMITED = -1
_PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")


class Rules(Protocol):
    """A tier's keep-rules: counts (None or 0: no such rule, -1: unlimited) and spans such as `1y2m3d4h`."""

    @property
    def last(self) -> int | None:
        """Keep the newest n."""

    @property
    def hourly(self) -> int | None:
        """Keep the newest of each of the newest n hours."""

    @property
    def daily(self) -> int | None:
        """Keep the newest of each of the newest n days."""

    @property
    def weekly(self) -> int | None:
        """Keep the newest of each of the newest n ISO weeks."""

    @property
    def monthly(self) -> int | None:
        """Keep the newest of each of the newest n months."""

    @property
    def yearly(self) -> int | None:
        """Keep the newest of each of the newest n years."""

    @property
    def within(self) -> str | None:
        """Keep all of this span before the newest."""

    @property
    def within_hourly(self) -> str | None:
        """Keep the newest of each hour of this span."""

    @property
    def within_daily(self) -> str | None:
        """Keep the newest of each day of this span."""

    @property
    def within_weekly(self) -> str | None:
        """Keep the newest of each ISO week of this span."""

    @property
    def within_monthly(self) -> str | None:
        """Keep the newest of each month of this span."""

    @property
    def within_yearly(self) -> str | None:
        """Keep the newest of each year of this span."""


@dataclass
class _Counting:
    """One rule on its way from the newest to the oldest. period: index into an instant's periods, None: each one."""

    name: str
    period: int | None
    left: int
    since: datetime | None = None
    label: str = ""
    last: tuple[int, ...] | None = None

    def wants(self, instant: datetime, position: int, periods: tuple[tuple[int, ...], ...], *, oldest: bool) -> str:
        """Say why this rule keeps the instant, or ""; uses up a count when it does."""
        if self.left == 0 or (self.since is not None and instant <= self.since):
            return ""
        value = (position,) if self.period is None else periods[self.period]
        repeated = value == self.last
        if repeated and not oldest:
            return ""
        self.last = value
        if self.left > 0:
            self.left -= 1
        return f"oldest {self.label}" if repeated else self.label


def empty(rules: Rules) -> bool:
    """Whether there is no rule at all: then nothing may be removed."""
    return not _counting(rules) and not _within(rules.within) and not _spanning(rules)


def reasons(instants: Sequence[datetime], rules: Rules, now: datetime, zone: tzinfo) -> list[list[str]]:
    """Return for each instant (newest first) why it is kept; an empty list: no rule keeps it. Raises ValueError."""
    newest = max((instant for instant in instants if instant <= now), default=BEGINNING)
    within = _within(rules.within)
    since = within.before(newest, zone) if within else None
    walkers = _counting(rules)
    for name, period, span in _spanning(rules):
        walkers.append(_Counting(name, period, UNLIMITED, span.before(newest, zone), f"{name} within {span}"))
    found = []
    for position, instant in enumerate(instants):
        why = [f"within {within}"] if since is not None and instant > since else []
        oldest = position == len(instants) - 1
        periods = _periods(instant, zone)
        why += [text for walker in walkers if (text := walker.wants(instant, position, periods, oldest=oldest))]
        found.append(why)
    return found


def _counting(rules: Rules) -> list[_Counting]:
    counts = (
        ("last", None, rules.last),
        *((name, index, getattr(rules, name)) for index, name in enumerate(_PERIODS)),
    )
    for name, _, count in counts:
        if count is not None and count < UNLIMITED:
            raise ValueError(f"{name}: {count} is neither a count nor -1 for unlimited")
    return [_Counting(name, period, count, label=name) for name, period, count in counts if count]


def _spanning(rules: Rules) -> list[tuple[str, int, Span]]:
    spans = ((name, index, _within(getattr(rules, f"within_{name}"))) for index, name in enumerate(_PERIODS))
    return [(name, index, span) for name, index, span in spans if span]


def _within(text: str | None) -> Span | None:
    span = Span.parse(text) if text else None
    return span or None


@lru_cache(maxsize=65536)
def _periods(instant: datetime, zone: tzinfo) -> tuple[tuple[int, ...], ...]:
    """Return the hour, day, ISO week, month and year that an instant lies in, on the zone's calendar."""
    local = instant.astimezone(zone)
    day = (local.year, local.month, local.day)
    week = local.isocalendar()
    return (*day, local.hour), day, (week.year, week.week), day[:2], day[:1]
