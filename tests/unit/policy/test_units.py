"""Durations, sizes, percentages, rates and cron lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from orchestrator.policy import units
from orchestrator.policy.cron import ALIASES, parse_cron


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_duration, "90s", 90.0),
        (units.parse_duration, "5m", 300.0),
        (units.parse_duration, "26h", 93600.0),
        (units.parse_duration, "7d", 604800.0),
        (units.parse_duration, "2w", 1209600.0),
        (units.parse_duration, "1h30m", 5400.0),
        (units.parse_duration, "0.5s", 0.5),
        (units.parse_wait, "0s", 0.0),
        (units.parse_size, "1B", 1),
        (units.parse_size, "512KiB", 512 * 1024),
        (units.parse_size, "256MiB", 256 * 1024**2),
        (units.parse_size, "10GiB", 10 * 1024**3),
        (units.parse_size, "10GB", 10 * 10**9),
        (units.parse_size, "1.5 TiB", 3 * 2**39),
        (units.parse_size, "5kB", 5000),
        (units.parse_percent, "30%", 0.30),
        (units.parse_percent, "0%", 0.0),
        (units.parse_percent, "100 %", 1.0),
        (units.parse_percent, "2.5%", 0.025),
        (units.parse_rate, "10MiB", 10240),
        (units.parse_rate, "512KiB/s", 512),
        (units.parse_rate, "1MB/s", 976),
        (units.parse_within, "1y2m3d4h", "1y2m3d4h"),
        (units.parse_within, "7d", "7d"),
        (units.parse_data, "5%", "5%"),
        (units.parse_data, "2.5 %", "2.5%"),
        (units.parse_data, "2/7", "2/7"),
        (units.parse_data, "all", "all"),
    ],
)
def test_what_is_understood(parse: Callable[[Any], Any], text: str, value: object) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)


DURATION_HINT = "write a number with its unit: 90s, 5m, 26h, 7d or 1h30m"
SIZE_HINT = "write a number with its unit: 512KiB, 256MiB, 10GiB or 10GB"
WITHIN_HINT = "write years, months, days, hours in this order: 7d, 36h, 1y6m (m is months, a week is 7d)"
DATA_HINT = "write a percentage such as 5%, a part such as 2/7, or all"
RATE_HINT = "write what may pass per second, 1KiB at least: 512KiB or 10MiB"


NO_DURATIONS: tuple[object, ...] = (
    30,
    1.5,
    None,
    True,
    "",
    "30",
    "7 d",
    "-1s",
    "30m1h",
    "1h1h",
    "1M",
    "1e3s",
    "٣s",
    "1s\n",
    [],
)
NO_SIZES: tuple[object, ...] = (10, None, "", "10", "10G", "10g", "10gib", "-1MiB", "0B", "0.1B", "1 000MiB")
NO_PERCENTAGES: tuple[object, ...] = (30, 0.3, "30", "101%", "-1%", "%", "30%%")
NO_RATES: tuple[object, ...] = (10, "10", "1B", "10MiB/h", "10Mbit")
NO_WITHINS: tuple[object, ...] = (7, "", "7", "1w", "0d", "4h3d", "7D", "7d ", "1.5d")
NO_SHARES: tuple[object, ...] = (5, "5", "0%", "101%", "0/7", "8/7", "ALL", "1/0")


@pytest.mark.parametrize(
    ("parse", "value", "message", "hint"),
    [
        *((units.parse_duration, value, f"not a duration: {value!r}", DURATION_HINT)
          for value in NO_DURATIONS),
        *((units.parse_wait, value, f"longer than 100 years: {value!r}",
           "write a duration that clocks and dates can hold")
          for value in ("99999999999d", "36601d")),
        (units.parse_duration, "0s", "must be longer than nothing: '0s'",
         "write a duration such as 90s, 5m, 26h or 7d"),
        *((units.parse_size, value, f"not a size: {value!r}", SIZE_HINT)
          for value in NO_SIZES),
        *((units.parse_percent, value, f"not a percentage: {value!r}", "write 0% to 100%, with the percent sign")
          for value in NO_PERCENTAGES),
        *((units.parse_rate, value, f"not a rate: {value!r}", RATE_HINT)
          for value in NO_RATES),
        *((units.parse_within, value, f"not a duration for retention: {value!r}", WITHIN_HINT)
          for value in NO_WITHINS),
        *((units.parse_data, value, f"not a share of the data: {value!r}", DATA_HINT)
          for value in NO_SHARES),
    ],
)  # fmt: skip
def test_what_is_refused(parse: Callable[[Any], Any], value: object, message: str, hint: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse(value)
    assert caught.value.message() == message
    assert caught.value.context == {"message": message, "hint": hint}


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(1, 500))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = float(days * 86400 + hours * 3600 + minutes * 60 + seconds)
    assert units.parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected


@given(st.integers(1, 10**9), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_sizes_are_exact(number: int, unit: str) -> None:
    power = ["B", "KiB", "MiB", "GiB", "TiB"].index(unit)
    if number * 1024**power < 2**53:
        assert units.parse_size(f"{number}{unit}") == number * 1024**power


@given(st.text(max_size=20))
def test_any_text_is_understood_or_refused(text: str) -> None:
    parsers = (
        units.parse_duration,
        units.parse_size,
        units.parse_percent,
        units.parse_rate,
        units.parse_within,
        units.parse_data,
    )
    for parse in (*parsers, parse_cron):
        with contextlib.suppress(PydanticCustomError):
            assert parse(text) is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("  0   3 * * sun ", "0 3 * * sun"),
        ("*/15 8-18/2 1,15 jan-mar,12 Mon-Fri", "*/15 8-18/2 1,15 jan-mar,12 mon-fri"),
        ("5/10 0 29 2 *", "5/10 0 29 2 *"),
        ("0 0 31 2 mon", "0 0 31 2 mon"),
        ("0 0 * * fri-sun", "0 0 * * fri-7"),
        ("0 0 * * 7", "0 0 * * 7"),
        ("@Daily", "0 0 * * *"),
    ],
)
def test_cron_lines(text: str, value: str) -> None:
    assert parse_cron(text) == value


def test_cron_aliases_are_cron_lines() -> None:
    assert {parse_cron(alias) for alias in ALIASES} == set(ALIASES.values())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "not a cron line: 5"),
        ("0 2 * *", "not a cron line: '0 2 * *' has 4 fields, not 5"),
        ("", "not a cron line: '' has 0 fields, not 5"),
        ("60 2 * * *", "not a cron line: '60 2 * * *': bad minute"),
        ("0 24 * * *", "not a cron line: '0 24 * * *': bad hour"),
        ("0 0 0 * *", "not a cron line: '0 0 0 * *': bad day-of-month"),
        ("0 0 * mai *", "not a cron line: '0 0 * mai *': bad month"),
        ("0 0 * * sunday", "not a cron line: '0 0 * * sunday': bad day-of-week"),
        ("0 5-2 * * *", "not a cron line: '0 5-2 * * *': bad hour"),
        ("*/0 * * * *", "not a cron line: '*/0 * * * *': bad minute"),
        ("*-5 * * * *", "not a cron line: '*-5 * * * *': bad minute"),
        ("1,,2 * * * *", "not a cron line: '1,,2 * * * *': bad minute"),
        ("0 0 30 feb *", "not a cron line: '0 0 30 feb *': bad day-of-month"),
        ("0 0 31 4,6,9,11 *", "not a cron line: '0 0 31 4,6,9,11 *': bad day-of-month"),
        ("@reboot", "unknown schedule '@reboot'"),
    ],
)
def test_cron_lines_that_are_refused(value: object, message: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        parse_cron(value)
    assert caught.value.message() == message
    assert (caught.value.context or {})["hint"]
