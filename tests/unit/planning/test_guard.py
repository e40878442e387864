from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.guard import brakes
from tests.unit.planning.points import point

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
POINTS = [point(NOW - timedelta(days=n)) for n in range(10)]


def ask(**changes: Any) -> tuple[str, ...]:
    facts: dict[str, Any] = {
        "listed": POINTS,
        "removing": [],
        "ageing": [],
        "expected": set(),
        "found": set(),
        "max_forget": 0.3,
        "now": NOW,
    }
    return brakes(**(facts | changes))


def test_a_share_up_to_the_limit_passes() -> None:
    assert ask(removing=POINTS[-3:]) == ()


def test_a_larger_share_brakes() -> None:
    (text,) = ask(removing=POINTS[-4:], ageing=None)
    assert text == (
        "the rules in policy.yml would now remove 4 of 10 restore points of hub (tier default);"
        " the guard lets 30 % of a service go at once (retention.guard.max_forget);"
        " this catalog is new and knows of no retention before, so nobody can tell whether a rule was changed"
    )


def test_one_service_cannot_vanish_behind_the_others() -> None:
    """A tenth of all points, and all of one service."""
    listed = [point(NOW - timedelta(days=n), service=f"s{service}") for n in range(10) for service in range(10)]
    (text,) = ask(listed=listed, removing=[one for one in listed if one.service == "s7"])
    assert "remove 10 of 10 restore points of s7 (tier default);" in text


def test_tiers_of_one_service_are_measured_apart() -> None:
    cache = [point(NOW - timedelta(days=n), tier="cache") for n in range(3)]
    (text,) = ask(listed=[*POINTS, *cache], removing=cache[1:])
    assert "remove 2 of 3 restore points of hub (tier cache);" in text


def test_many_services_are_counted_and_the_worst_named() -> None:
    listed = [point(NOW - timedelta(days=n), service=f"s{service}") for n in range(10) for service in range(6)]
    (text,) = ask(listed=listed, removing=[one for one in listed if one.service != "s0"][5:])
    assert "10 of 10 restore points of s1" not in text
    assert "9 of 10 restore points of s1 (tier default), 9 of 10 restore points of s2" in text
    assert "and too many of 2 more services;" in text


one_series = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))


@given(many=st.lists(one_series, min_size=1, max_size=5), most=st.floats(0, 1))
def test_no_service_ever_loses_more_than_its_share(many: list[tuple[int, int, int]], most: float) -> None:
    """What passes is within the share in each service, and so over all of them; what is stopped is not."""
    listed, removing, ageing = [], [], []
    beyond = []
    for number, (total, going, usual) in enumerate(many):
        series = [point(NOW - timedelta(days=n), service=f"s{number}") for n in range(total)]
        listed += series
        removing += series[-going:] if going else []
        ageing += series[-usual:] if usual else []
        beyond.append(max(0, min(going, total) - min(usual, total)))
    passes = not ask(listed=listed, removing=removing, ageing=ageing, max_forget=most)
    kept = [total - min(usual, total) for total, _, usual in many]
    assert passes == all(number <= most * left for number, left in zip(beyond, kept, strict=True))
    if passes:
        assert sum(beyond) <= most * len(listed) + 1e-9


def test_what_the_last_policy_would_remove_is_no_reason() -> None:
    assert ask(removing=POINTS[-7:], ageing=POINTS[-6:]) == ()
    (text,) = ask(removing=POINTS[-8:], ageing=POINTS[-4:])
    assert "remove 8 of 10 restore points of hub (tier default) (4 of them by age alone);" in text


def test_a_repository_that_shrank_brakes() -> None:
    (text,) = ask(expected={"aaaaaaaaaa", "bbbbbbbbbb", "c"}, found={"c", "d"})
    assert text == "the repository lacks 2 of the 3 snapshots that the catalog knows (aaaaaaaa, bbbbbbbb)"


def test_more_than_expected_is_no_reason() -> None:
    assert ask(expected={"a"}, found={"a", "b"}) == ()


def test_dates_in_the_future_brake_beyond_an_hour_of_skew() -> None:
    assert ask(listed=[*POINTS, point(NOW + timedelta(minutes=59))]) == ()
    (text,) = ask(listed=[*POINTS, point(NOW + timedelta(minutes=61))])
    assert text.startswith("1 restore points lie in the future (hub.default@20260615T130100Z")


def test_an_empty_repository_passes() -> None:
    assert ask(listed=[]) == ()


def test_zero_allows_only_ageing() -> None:
    assert ask(removing=POINTS[-1:], ageing=POINTS[-1:], max_forget=0) == ()
    assert len(ask(removing=POINTS[-1:], max_forget=0)) == 1


def test_several_reasons_are_all_told() -> None:
    assert len(ask(removing=POINTS, expected={"a"}, listed=[*POINTS, point(NOW + timedelta(days=2))])) == 3


@given(
    listed=st.integers(1, 40),
    stays=st.integers(0, 40),
    old=st.integers(0, 40),
    most=st.floats(0, 1),
)
def test_what_the_last_rules_kept_is_what_a_share_is_of(listed: int, stays: int, old: int, most: float) -> None:
    """However many points wait to go by age, a changed rule takes no more than the share of those that would stay."""
    points = [point(NOW - timedelta(days=n)) for n in range(listed)]
    kept = len(points[:old])
    lost = len(points[stays:old])
    passes = not ask(listed=points, removing=points[stays:], ageing=points[old:], max_forget=most)
    assert passes == (lost <= most * kept)


def leapt(days: int, *, away: int = 0, more: int = 0, **changes: Any) -> tuple[str, ...]:
    """Daily points for `days`, retention after the newest of them, then `away` days without, then 1 + `more` points."""
    before = [point(NOW - timedelta(days=away + 1 + n)) for n in range(days)]
    listed = [*before, *(point(NOW + timedelta(hours=n)) for n in range(1 + more))]
    now = listed[-1].time
    gone = [one for one in listed if one.time < now - timedelta(days=30)]
    return ask(listed=listed, removing=gone, ageing=gone, since=before[0].time, **({"now": now} | changes))


@given(away=st.integers(31, 4000), more=st.integers(0, 5))
def test_a_leap_of_the_clock_brakes_what_would_age_at_once(away: int, more: int) -> None:
    (text,) = leapt(30, away=away, more=more)
    assert f"30 of {31 + more} restore points of hub (tier default) would go by age at once, as {away + 1} days" in text
    assert "was the clock wrong, or the machine off for that long" in text
    assert leapt(30, away=away, more=more, max_forget=1) == ()


@given(days=st.integers(1, 90), away=st.integers(0, 8))
def test_no_leap_no_brake(days: int, away: int) -> None:
    assert leapt(days, away=away) == ()


def test_a_weekend_between_hourly_points_that_others_replace_is_no_leap() -> None:
    before = [point(NOW - timedelta(hours=60 + n)) for n in range(7)]
    after = [point(NOW - timedelta(hours=n)) for n in range(8)]
    assert ask(listed=[*before, *after], removing=before, ageing=before, since=before[0].time) == ()
