"""The five fields of a cron line: minute, hour, day of month, month, day of week (crontab(5))."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from orchestrator.policy.fault import did_you_mean, fault, shown

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?P<first>\*|[0-9]{1,2}|[a-z]{3})(?:-(?P<last>[0-9]{1,2}|[a-z]{3}))?(?:/(?P<step>[0-9]{1,2}))?")
_HINT = 'write five fields, minute hour day month weekday, such as "0 2 * * *" or "30 4 * * sun"'


def parse_cron(value: Any) -> str:
    """Check a cron line and return it with single spaces, aliases such as `@daily` spelled out."""
    if not isinstance(value, str):
        raise fault(f"not a cron line: {shown(value)}", _HINT)
    text = value.strip().lower()
    if text.startswith("@"):
        if text not in ALIASES:
            raise fault(f"unknown schedule {shown(value)}", did_you_mean(text, ALIASES))
        return ALIASES[text]
    words = text.split()
    if len(words) != len(_FIELDS):
        raise fault(f"not a cron line: {shown(value)} has {len(words)} fields, not 5", _HINT)
    sets = [_field(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    if words[4] == "*" and not any(day <= _LONGEST[month - 1] for month in sets[3] for day in sets[2]):
        raise fault(f"never comes: {shown(value)}", "no such day exists in those months")
    return " ".join(words)


def _field(word: str, name: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    """Return the numbers that one field stands for."""
    numbers: set[int] = set()
    for part in word.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match["first"] == "*" and match["last"]):
            raise fault(f"not a cron line: {shown(part)} is no {name}", _HINT)
        first, last = _bounds(match["first"], match["last"], low, high, names)
        if match["step"] and not match["last"]:
            last = high
        step = int(match["step"] or 1)
        if not (low <= first <= last <= high and step >= 1):
            raise fault(f"not a cron line: {shown(part)} is no {name} from {low} to {high}", _HINT)
        numbers.update(range(first, last + 1, step))
    return frozenset(numbers)


def _bounds(first: str, last: str | None, low: int, high: int, names: dict[str, int]) -> tuple[int, int]:
    if first == "*":
        return low, high
    start = _number(first, names)
    end = _number(last, names) if last else start
    # fri-sun: a week may end with its day 7.
    return start, 7 if last == "sun" else end


def _number(word: str, names: dict[str, int]) -> int:
    return int(word) if word.isdigit() else names.get(word, -1)


Cron = Annotated[
    str,
    BeforeValidator(parse_cron),
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["0 2 * * *", "30 4 * * sun", "@daily"]}),
]
