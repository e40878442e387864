from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.due import due, next_part, parts

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
WEEK = 7 * 86400.0


def test_never_done_is_due() -> None:
    assert due(None, WEEK, NOW) == "it was never done"


@pytest.mark.parametrize(("hours", "expected"), [(1, ""), (6 * 24, ""), (7 * 24 - 2, "")])
def test_too_early(hours: int, expected: str) -> None:
    assert due(NOW - timedelta(hours=hours), WEEK, NOW) == expected


def test_late_enough() -> None:
    assert due(NOW - timedelta(days=8), WEEK, NOW) == "its last time was 8 d ago, the rule is every 7 d"


def test_a_nightly_run_that_starts_a_little_earlier_does_not_slip_a_day() -> None:
    assert due(NOW - timedelta(days=7) + timedelta(minutes=50), WEEK, NOW)


def test_a_short_rule_has_little_slack() -> None:
    assert due(NOW - timedelta(minutes=56), 3600, NOW) == ""
    assert due(NOW - timedelta(minutes=58), 3600, NOW) == "its last time was 1.0 h ago, the rule is every 1.0 h"


def test_a_job_replaces_the_rule() -> None:
    assert due(None, WEEK, NOW, by_job=True) == ""


@pytest.mark.parametrize("every", [None, 0])
def test_no_rule(every: float | None) -> None:
    assert due(None, every, NOW) == ""


def test_a_last_time_in_the_future_does_not_stop_it_for_ever() -> None:
    assert "future" in due(NOW + timedelta(days=900), WEEK, NOW)


@pytest.mark.parametrize(
    ("data", "count"), [("5%", 20), ("100%", 1), ("30%", 3), ("33%", 3), ("2.5%", 40), ("0.01%", 256), ("10%", 10)]
)
def test_parts(data: str, count: int) -> None:
    assert parts(data) == count


@pytest.mark.parametrize("bad", ["5", "0%", "-3%", "101%", "x%", "%", "nan%", "inf%"])
def test_bad_shares(bad: str) -> None:
    with pytest.raises(ValueError, match="not a share"):
        parts(bad)


@given(st.integers(1, 100))
def test_a_rotation_reads_every_part_once(percent: int) -> None:
    data, last, seen = f"{percent}%", None, []
    for _ in range(parts(data)):
        last = next_part(data, last)
        seen.append(last)
    assert sorted(seen) == sorted(f"{n}/{parts(data)}" for n in range(1, parts(data) + 1))
    assert next_part(data, last) == f"1/{parts(data)}"


@pytest.mark.parametrize(
    ("data", "last", "expected"),
    [
        ("5%", "10/20", "11/20"),
        ("10%", "10/20", "6/10"),
        ("5%", "5/10", "11/20"),
        ("5%", "garbage", "1/20"),
        ("5%", "9/0", "1/20"),
        ("5%", "7/3", "1/20"),
        ("5%", "", "1/20"),
    ],
)
def test_a_changed_share_goes_on_where_it_was(data: str, last: str, expected: str) -> None:
    assert next_part(data, last) == expected
