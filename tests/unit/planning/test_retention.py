from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.point import State
from orchestrator.planning.retention import Decision, decide
from tests.unit.planning.points import Rules, point, source

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
NOW = NOON + timedelta(hours=1)


def day(number: int) -> datetime:
    return NOON - timedelta(days=number)


def kept(decision: Decision) -> dict[datetime, tuple[str, ...]]:
    return {entry.point.time: entry.reasons for entry in decision.keep}


def gone(decision: Decision) -> dict[datetime, str]:
    return {entry.point.time: entry.reason for entry in decision.remove}


def test_last_keeps_the_newest() -> None:
    decision = decide([point(day(n)) for n in range(4)], Rules(last=2), NOW, "UTC")
    assert kept(decision) == {day(0): ("last",), day(1): ("last",)}
    assert gone(decision) == {day(2): "no keep-rule wants it", day(3): "no keep-rule wants it"}


def test_unfilled_rules_keep_the_oldest() -> None:
    """12 nights under 7 daily and 4 weekly: three weeks are not enough, so the oldest stands in for the fourth."""
    monday = datetime(2026, 6, 15, 2, tzinfo=UTC)
    decision = decide([point(monday - timedelta(days=n)) for n in range(12)], Rules(daily=7, weekly=4), NOW, "UTC")
    assert len(decision.keep) == 9
    assert decision.keep[-1].reasons == ("oldest weekly",)


def test_two_points_of_one_day_by_the_policys_zone() -> None:
    """23:30 and 00:30 UTC are one day in Tokyo and two in Greenwich."""
    late, early = datetime(2026, 6, 15, 0, 30, tzinfo=UTC), datetime(2026, 6, 14, 23, 30, tzinfo=UTC)
    points = [point(late), point(early), point(early - timedelta(days=9))]
    assert set(kept(decide(points, Rules(daily=2), NOW, "UTC"))) == {late, early}
    assert set(kept(decide(points, Rules(daily=2), NOW, "Asia/Tokyo"))) == {late, points[2].time}


def test_within_reaches_back_from_the_newest_not_from_now() -> None:
    points = [point(day(n)) for n in (100, 102, 106)]
    assert set(kept(decide(points, Rules(within="3d"), NOW, "UTC"))) == {day(100), day(102)}


def test_within_ignores_a_newest_point_in_the_future() -> None:
    points = [point(NOW + timedelta(days=300)), point(day(0)), point(day(2)), point(day(9))]
    assert set(kept(decide(points, Rules(within="3d"), NOW, "UTC"))) == {points[0].time, day(0), day(2)}


def test_partial_points_fill_no_period_and_displace_nothing() -> None:
    points = [point(day(0), partial=True, state=State.TAKEN), point(day(1)), point(day(2), partial=True), point(day(3))]
    decision = decide(points, Rules(last=2), NOW, "UTC")
    assert kept(decision) == {
        day(0): ("partial, and no newer whole point exists",),
        day(1): ("last",),
        day(3): ("last",),
    }
    assert gone(decision) == {day(2): f"partial, and {points[1].id} is newer and whole"}


def test_a_damaged_point_counts_for_nothing() -> None:
    points = [point(day(0), damaged=True, state=State.PROVEN), point(day(1)), point(day(2), damaged=True)]
    decision = decide(points, Rules(last=1), NOW, "UTC")
    assert kept(decision) == {day(0): ("damaged, and no newer whole point exists",), day(1): ("last",)}
    assert gone(decision) == {day(2): f"damaged, and {points[1].id} is newer and whole"}


def test_the_newest_proven_of_each_source_stays() -> None:
    proven, taken = State.PROVEN, State.COMMITTED
    points = [
        point(day(0), sources=(source("a"), source("b"))),
        point(day(5), sources=(source("a", state=proven), source("b", state=taken))),
        point(day(6), sources=(source("a", state=proven), source("b", state=proven)), state=proven),
        point(day(7), sources=(source("a", state=proven), source("b", state=proven)), state=proven),
    ]
    one = decide(points, Rules(last=1), NOW, "UTC")
    assert kept(one) == {day(0): ("last",), day(5): ("newest proven of a",), day(6): ("newest proven of b",)}
    two = decide(points, Rules(last=1), NOW, "UTC", keep_proven=2)
    assert kept(two)[day(6)] == ("newest proven of a", "newest proven of b")
    assert kept(two)[day(7)] == ("newest proven of b",)
    none = decide(points, Rules(last=1), NOW, "UTC", keep_proven=0)
    assert set(kept(none)) == {day(0)}


def test_a_damaged_point_is_no_proof() -> None:
    points = [point(day(0)), point(day(1), damaged=True, state=State.PROVEN), point(day(2), state=State.PROVEN)]
    assert kept(decide(points, Rules(last=1), NOW, "UTC"))[day(2)] == ("newest proven",)


@pytest.mark.parametrize("flaw", ["partial", "damaged"])
def test_nothing_goes_when_no_whole_point_would_be_left(flaw: str) -> None:
    points = [point(day(n), **{flaw: True}) for n in range(5)]
    assert not decide(points, Rules(last=1), NOW, "UTC").remove


def test_no_rule_removes_nothing() -> None:
    points = [point(day(n), partial=n == 3) for n in range(5)]
    assert not decide(points, Rules(last=0, within="0d"), NOW, "UTC").remove


def test_unlimited_keeps_every_one() -> None:
    assert not decide([point(day(n)) for n in range(9)], Rules(last=-1), NOW, "UTC").remove


def test_a_retired_service_keeps_its_points() -> None:
    points = [point(day(n), retired=True) for n in range(3)]
    assert kept(decide(points, Rules(last=1), NOW, "UTC"))[day(2)] == ("its service is retired",)


@pytest.mark.parametrize("bad", [Rules(last=-2), Rules(within="7"), Rules(within_daily="1w"), Rules(within="-1d")])
def test_rules_that_are_none_are_refused(bad: Rules) -> None:
    with pytest.raises(ValueError, match=r"7|1w|-1d|-2"):
        decide([point(day(0))], bad, NOW, "UTC")


def test_no_points() -> None:
    assert decide([], Rules(last=1), NOW, "UTC") == Decision((), ())


FLAGS = st.tuples(st.integers(0, 2000), st.booleans(), st.booleans(), st.sampled_from(list(State)))


@given(st.lists(FLAGS, max_size=25, unique_by=lambda made: made[0]), st.integers(1, 4), st.integers(0, 3))
def test_the_promises_hold_for_any_history(made: list[tuple[int, bool, bool, State]], last: int, daily: int) -> None:
    points = [
        point(NOON - timedelta(hours=hours), partial=partial, damaged=damaged, state=state)
        for hours, partial, damaged, state in made
    ]
    decision = decide(points, Rules(last=last, daily=daily), NOW, "UTC")
    stay, go = [entry.point for entry in decision.keep], [entry.point for entry in decision.remove]
    assert {point.id for point in stay} | {point.id for point in go} == {point.id for point in points}
    assert len(stay) + len(go) == len(points)
    assert all(entry.reasons for entry in decision.keep)
    assert all(entry.reason for entry in decision.remove)
    whole = sorted((point for point in points if point.whole), key=lambda found: found.time, reverse=True)
    assert {point.id for point in whole[:last]} <= {point.id for point in stay}
    if go:
        assert any(point.whole for point in stay)
        assert all(point.time < whole[0].time for point in go)
    proven = [found for found in points if found.state is State.PROVEN and not found.damaged]
    if proven:
        assert max(proven, key=lambda found: found.time).id in {point.id for point in stay}
    # Deciding again over what stays removes nothing more, but for the oldest that stood in for an unfilled rule.
    again = decide(stay, Rules(last=last, daily=daily), NOW, "UTC")
    assert not again.remove
