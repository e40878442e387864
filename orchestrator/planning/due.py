"""When the rules without a job ask for forget, prune and check, and what share of the data a check reads next."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from math import floor

_MOST_PARTS = 256  # restic's limit for --read-data-subset n/t
_PART = re.compile(r"(\d+)/(\d+)")
# A nightly run never starts at exactly the same second: a rule of seven days must not slip to the eighth.
_SLACK_SHARE, _SLACK_MOST = 0.05, timedelta(hours=1)


def due(last: datetime | None, every: float | None, now: datetime, *, by_job: bool = False) -> str:
    """Say why something is due, or "" when it is not. every: seconds between two times; none: never by rule."""
    if by_job or not every:
        return ""
    if last is None:
        return "it was never done"
    if last > now:
        return f"its last time lies in the future ({last:%Y-%m-%d %H:%M} UTC)"
    interval = timedelta(seconds=every)
    if now - last < interval - min(interval * _SLACK_SHARE, _SLACK_MOST):
        return ""
    return f"its last time was {_days(now - last)} ago, the rule is every {_days(interval)}"


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:.1f} d".replace(".0 d", " d") if days >= 1 else f"{span / timedelta(hours=1):.1f} h"


def next_part(data: str, last: str | None) -> str:
    """Return the part `n/t` to read after `last`, so that t runs of `data` (such as 5%) read everything once.

    When the share was changed, the rotation goes on at about the same place. Raises ValueError for a bad share.
    """
    total = parts(data)
    match = _PART.fullmatch(last or "")
    if not match or not 0 < int(match[1]) <= int(match[2]):
        return f"1/{total}"
    number, before = int(match[1]), int(match[2])
    return f"{floor(number * total / before) % total + 1}/{total}"


def parts(data: str) -> int:
    """Return how many runs of a share such as 5% read everything: each reads at least the share, at most 256 runs."""
    try:
        share = float(data.removesuffix("%"))
    except ValueError:
        share = 0.0
    if not data.endswith("%") or not 0 < share <= 100:
        raise ValueError(f"not a share such as 5%: {data!r}")
    return min(_MOST_PARTS, max(1, floor(100 / share + 1e-9)))
