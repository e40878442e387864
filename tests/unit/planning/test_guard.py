from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

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
    assert ask(removing=POINTS[-4:], ageing=None) == (
        "it would remove 4 of 10 restore points (40 %; max_forget is 30 %)",
    )


def test_what_the_last_policy_would_remove_is_no_reason() -> None:
    assert ask(removing=POINTS[-8:], ageing=POINTS[-6:]) == ()
    (text,) = ask(removing=POINTS[-8:], ageing=POINTS[-4:])
    assert (
        text
        == "it would remove 4 of 10 restore points more than under the last policy that ran (40 %; max_forget is 30 %)"
    )


def test_a_repository_that_shrank_brakes() -> None:
    (text,) = ask(expected={"aaaaaaaaaa", "bbbbbbbbbb", "c"}, found={"c", "d"})
    assert text == "the repository lacks 2 of the 3 snapshots that the catalog knows (aaaaaaaa, bbbbbbbb)"


def test_what_we_removed_ourselves_is_not_missing() -> None:
    assert ask(expected={"a", "b"}, found={"b"}, removed={"a"}) == ()


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
