from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import process_time
from zoneinfo import ZoneInfo

import pytest

from orchestrator.planning import schedule
from orchestrator.planning.retention import decide
from orchestrator.planning.simulate import Calendar, simulate
from orchestrator.planning.spans import Span
from tests.unit.planning.points import Rules, point

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
USUAL = Rules(last=7, daily=30, weekly=52, monthly=36, yearly=5)


def test_two_years_of_nights_are_fast_and_end_as_the_rules_say() -> None:
    began = process_time()
    result = simulate([], USUAL, Calendar(), now=NOW, span=Span.parse("2y"), zone="UTC")
    assert process_time() - began < 2
    assert result.until == datetime(2028, 6, 15, 12, tzinfo=UTC)
    assert result.taken == 731
    # 30 days, then weeks up to a year back, then months; a first point of each year and the oldest of all.
    assert result.counts["last"] == 7
    assert result.counts["daily"] == 30
    assert result.counts["weekly"] == 52
    assert result.most >= len(result.kept)
    assert result.removed == result.taken - len(result.kept)
    assert result.kept[0].time == datetime(2028, 6, 15, 2, tzinfo=UTC)


def test_it_agrees_with_forgetting_each_night() -> None:
    points, rules = [], Rules(last=2, daily=5, weekly=3)
    for night in range(60):
        at = datetime(2026, 6, 16, 2, tzinfo=UTC) + timedelta(days=night)
        decision = decide([*points, point(at)], rules, at, "UTC")
        points = [kept.point for kept in decision.keep]
    result = simulate([], rules, Calendar(), now=NOW, span=Span(days=60), zone="UTC")
    assert [kept.time for kept in result.kept] == sorted((found.time for found in points), reverse=True)


def test_forgetting_once_a_week_lets_more_stand_in_between() -> None:
    daily = simulate([], Rules(last=3), Calendar(), now=NOW, span=Span(days=30), zone="UTC")
    weekly = simulate([], Rules(last=3), Calendar(forgets=("0 3 * * sun",)), now=NOW, span=Span(days=30), zone="UTC")
    by_rule = simulate([], Rules(last=3), Calendar(forget_every=7 * 86400), now=NOW, span=Span(days=30), zone="UTC")
    assert (daily.most, weekly.most, by_rule.most) == (4, 10, 10)
    assert len(daily.kept) == len(weekly.kept) == len(by_rule.kept) == 3


def test_what_exists_now_takes_part() -> None:
    old = NOW - timedelta(days=400)
    result = simulate([old], Rules(last=2, yearly=9), Calendar(), now=NOW, span=Span(days=3), zone="UTC")
    assert [kept.time for kept in result.kept][-1] == old
    assert result.taken == 4


def test_no_rule_keeps_everything() -> None:
    result = simulate([], Rules(), Calendar(), now=NOW, span=Span(days=10), zone="UTC")
    assert (result.taken, result.removed, len(result.kept)) == (10, 0, 10)


def test_nights_of_changing_clocks() -> None:
    """02:30 does not exist on 29 March 2026 in Berlin, and exists twice on 25 October: one run each."""
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert [f"{at:%d %H:%M}" for at in schedule.times(["30 2 * * *"], start, start + timedelta(days=2), zone)] == [
        "29 01:00",
        "30 00:30",
    ]
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert len(list(schedule.times(["30 2 * * *"], start, start + timedelta(days=2), zone))) == 2


def test_jobs_at_the_same_instant_count_once() -> None:
    moments = schedule.times(["0 2 * * *", "0 2 * * mon"], NOW, NOW + timedelta(days=14), UTC)
    assert len(list(moments)) == 14


def test_a_week_may_end_on_sunday_by_name() -> None:
    moments = list(schedule.times(["0 0 * * fri-sun"], NOW, NOW + timedelta(days=7), UTC))
    assert sorted(moment.isoweekday() for moment in moments) == [5, 6, 7]


def test_a_bad_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="not a cron line: 'x' has 1 fields"):
        schedule.times(["x"], NOW, NOW, UTC)
