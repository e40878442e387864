"""Calendar spans as restic writes them, `1y2m3d4h`: m is a month, and months are subtracted on the calendar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_PART = re.compile(r"(\d+)([ymdh])")
_WHOLE = re.compile(r"(?:\d+[ymdh])+")
BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """A calendar span: years, months, days, and hours."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `1y2m3d4h` (any of the four, in any order). Raises ValueError."""
        text = text.strip()
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"not a span such as 1y2m3d4h: {text!r}")
        totals = dict.fromkeys("ymdh", 0)
        for number, unit in _PART.findall(text):
            totals[unit] += int(number)
        return cls(totals["y"], totals["m"], totals["d"], totals["h"])

    def __bool__(self) -> bool:
        return any((self.years, self.months, self.days, self.hours))

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number) or "0h"

    def before(self, instant: datetime, zone: tzinfo) -> datetime:
        """Return the instant this span earlier, in UTC; the calendar is `zone`'s. A day that a month does not have
        becomes the days after that month's end, as in restic: a month before 31 March is 3 (or 2) March.
        """
        return self._shift(instant, zone, -1)

    def after(self, instant: datetime, zone: tzinfo) -> datetime:
        """Return the instant this span later, in UTC, by the same rule."""
        return self._shift(instant, zone, 1)

    def _shift(self, instant: datetime, zone: tzinfo, sign: int) -> datetime:
        local = instant.astimezone(zone)
        months = local.year * 12 + local.month - 1 + sign * (self.years * 12 + self.months)
        try:
            first = local.replace(year=months // 12, month=months % 12 + 1, day=1)
            moved = first + timedelta(days=local.day - 1 + sign * self.days)
            return moved.astimezone(UTC) + sign * timedelta(hours=self.hours)
        except (ValueError, OverflowError):
            # Further than the calendar reaches: all of time.
            return BEGINNING if sign < 0 else END


@lru_cache(maxsize=64)
def _named(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def zone_of(zone: tzinfo | str) -> tzinfo:
    """Return a time zone, given itself or its name. Raises ZoneInfoNotFoundError, ValueError."""
    return _named(zone) if isinstance(zone, str) else zone
