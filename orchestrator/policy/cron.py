"""A cron line: minute, hour, day of month, month and day of week (crontab(5)), as cronsim reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
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
_FIELDS = 5
# A week may end with its day 7; by name the last day of a range would be 0.
_TO_SUNDAY = re.compile(r"-sun\b")
_HINT = 'write five fields, minute hour day month weekday, such as "0 2 * * *" or "30 4 * * sun"'


def parse_cron(value: Any) -> str:
    """Check a cron line and return it with single spaces, aliases such as `@daily` spelled out.

    This is the only check: what passes here is what `planning.schedule` can follow.
    """
    if not isinstance(value, str):
        raise fault(f"not a cron line: {shown(value)}", _HINT)
    text = value.strip().lower()
    if text.startswith("@"):
        if text not in ALIASES:
            raise fault(f"unknown schedule {shown(value)}", did_you_mean(text, ALIASES))
        return ALIASES[text]
    words = text.split()
    if len(words) != _FIELDS:
        raise fault(f"not a cron line: {shown(value)} has {len(words)} fields, not {_FIELDS}", _HINT)
    line = " ".join([*words[:4], _TO_SUNDAY.sub("-7", words[4])])
    if wrong := _wrong(line):
        raise fault(f"not a cron line: {shown(value)}: {wrong}", _HINT)
    return line


def _wrong(line: str) -> str:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - most policies have no jobs

    try:
        next(CronSim(line, datetime(2000, 1, 1, tzinfo=UTC)))
    except (CronSimError, ValueError) as error:  # Python refuses numbers of thousands of digits
        text = str(error)
        return text[:1].lower() + text[1:]
    except StopIteration:
        return "it never comes"
    return ""


Cron = Annotated[
    str,
    BeforeValidator(parse_cron),
    WithJsonSchema(
        {"type": "string", "title": "cron line", "minLength": 1, "examples": ["0 2 * * *", "30 4 * * sun", "@daily"]}
    ),
]
