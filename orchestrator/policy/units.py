"""Durations, sizes, percentages and rates as users write them, as types for pydantic models.

Each type takes text with its unit and refuses a bare number: `timeout: 30` could be seconds or minutes.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from orchestrator.policy.fault import fault, shown

SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST = 100 * 366 * SECONDS["d"]  # dates end in the year 9999
KIB = 1024
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in SECONDS))
_SIZE = re.compile(rf"(?P<number>{_NUMBER}) ?(?P<unit>B|kB|[KMGT]i?B)")
_PERCENT = re.compile(rf"(?P<number>{_NUMBER}) ?%")
_WITHIN = re.compile(r"(?:(\d{1,6})y)?(?:(\d{1,6})m)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?", re.ASCII)
_UNITS = {"B": 1} | {f"{letter}iB": KIB**power for power, letter in enumerate("KMGT", 1)}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)} | {"KB": 1000}
_PLACEHOLDER = r"\$\{"


def parse_wait(value: Any) -> float:
    """Return the seconds of `90s`, `5m`, `26h`, `7d`, `1h30m` (each unit once, largest first); may be zero."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not value or match is None:
        raise fault(f"not a duration: {shown(value)}", "write a number with its unit: 90s, 5m, 26h, 7d or 1h30m")
    seconds = float(sum(float(match[unit] or 0) * each for unit, each in SECONDS.items()))
    if seconds > _LONGEST:
        raise fault(f"longer than 100 years: {shown(value)}", "write a duration that clocks and dates can hold")
    return seconds


def parse_duration(value: Any) -> float:
    """Return the seconds of a duration, which must be more than nothing."""
    seconds = parse_wait(value)
    if seconds <= 0:
        raise fault(f"must be longer than nothing: {shown(value)}", "write a duration such as 90s, 5m, 26h or 7d")
    return seconds


def parse_size(value: Any) -> int:
    """Return the bytes of `256MiB` (powers of 1024) or `10GB` (powers of 1000); at least 1."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(float(match["number"]) * _UNITS[match["unit"]]) if match else 0
    if size < 1:
        raise fault(f"not a size: {shown(value)}", "write a number with its unit: 512KiB, 256MiB, 10GiB or 10GB")
    return size


def parse_percent(value: Any) -> float:
    """Return the fraction, 0 to 1, of `30%`."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    fraction = float(match["number"]) / 100 if match else 2.0
    if fraction > 1:
        raise fault(f"not a percentage: {shown(value)}", "write 0% to 100%, with the percent sign")
    return fraction


def parse_rate(value: Any) -> int:
    """Return the KiB per second of `10MiB` or `10MiB/s`, as restic's limits want them; at least 1."""
    text = value.removesuffix("/s") if isinstance(value, str) else value
    try:
        rate = parse_size(text) // KIB
    except ValueError:
        rate = 0
    if rate < 1:
        raise fault(f"not a rate: {shown(value)}", "write what may pass per second, 1KiB at least: 512KiB or 10MiB")
    return rate


def parse_within(value: Any) -> str:
    """Check a duration of restic's `--keep-within`: years, months, days, hours, such as `1y2m3d4h`."""
    match = _WITHIN.fullmatch(value) if isinstance(value, str) else None
    if match is None or not any(int(group or 0) for group in match.groups()):
        hint = "write years, months, days, hours in this order: 7d, 36h, 1y6m (m is months, a week is 7d)"
        raise fault(f"not a duration for retention: {shown(value)}", hint)
    return str(value)


def parse_data(value: Any) -> str:
    """Check how much of the repository a check reads: `5%`, `all`, or a part such as `2/7`."""
    part = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", value) if isinstance(value, str) else None
    if value == "all" or (part and 1 <= int(part[1]) <= int(part[2])):
        return str(value)
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 0 < float(match["number"]) <= 100:
        raise fault(
            f"not a share of the data: {shown(value)}", "write a percentage such as 5%, a part such as 2/7, or all"
        )
    return str(value).replace(" ", "")


def _schema(title: str, pattern: str, *examples: str) -> WithJsonSchema:
    # Editors see the file before ${VAR} is filled in.
    whole = f"^(?:{pattern})$|{_PLACEHOLDER}"
    return WithJsonSchema({"type": "string", "title": title, "pattern": whole, "examples": list(examples)})


_DURATION_SCHEMA = _schema("duration", rf"(?:{_NUMBER}[wdhms])+", "90s", "5m", "26h", "7d", "1h30m")
Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_SCHEMA]
Wait = Annotated[float, BeforeValidator(parse_wait), _DURATION_SCHEMA]
Size = Annotated[
    int, BeforeValidator(parse_size), _schema("size", rf"{_NUMBER} ?(?:B|[KMGT]i?B|kB)", "256MiB", "10GiB", "10GB")
]
Rate = Annotated[
    int, BeforeValidator(parse_rate), _schema("rate", rf"{_NUMBER} ?(?:B|[KMGT]i?B|kB)(?:/s)?", "10MiB", "512KiB")
]
Percent = Annotated[float, BeforeValidator(parse_percent), _schema("percentage", rf"{_NUMBER} ?%", "30%")]
Within = Annotated[
    str, BeforeValidator(parse_within), _schema("span", r"(?:\d+y)?(?:\d+m)?(?:\d+d)?(?:\d+h)?", "7d", "1y6m")
]
DataShare = Annotated[
    str, BeforeValidator(parse_data), _schema("share", rf"all|\d+/\d+|{_NUMBER} ?%", "5%", "2/7", "all")
]
