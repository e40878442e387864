from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.model.errors import NoSuchPoint
from orchestrator.model.point import Point, State
from orchestrator.planning.select import Choice, choose, distance, named, nothing_of, of_host
from tests.unit.planning.points import point, source

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


def day(number: int) -> datetime:
    return NOON - timedelta(days=number)


def made(number: int, **more: object) -> Point:
    return point(day(number), **({"sources": (source("main"), source("files"))} | more))  # type: ignore[arg-type]


def half(number: int, failed: str = "files", outcome: str = "failed") -> Point:
    sources = tuple(source(name, outcome if name == failed else "taken") for name in ("main", "files"))
    return made(number, partial=True, state=State.FAILED, sources=sources)


def test_the_latest() -> None:
    assert choose([made(2), made(0), made(1)], Choice()) == (made(0),)


def test_the_newest_not_after_a_time() -> None:
    points = [made(0), made(1), made(2)]
    assert choose(points, Choice(at=day(1))) == (points[1],)
    assert choose(points, Choice(at=day(1) - timedelta(seconds=1))) == (points[2],)


def test_none_early_enough_says_how_far_the_oldest_is() -> None:
    with pytest.raises(NoSuchPoint) as caught:
        choose([made(0), made(2)], Choice(at=day(5)))
    assert caught.value.message == "no restore point of hub holds anything at or before 2026-06-10 12:00:00 UTC"
    assert caught.value.hint == f"the oldest is {made(2).id}, 3 d 0 h later"


def test_one_point_of_each_tier() -> None:
    cache = made(3, tier="cache", sources=(source("sessions"),))
    assert choose([made(0), cache], Choice()) == (cache, made(0))


def test_a_tier_without_an_answer_is_not_left_out_silently() -> None:
    cache = made(0, tier="cache", sources=(source("sessions"),))
    points = [made(0), made(9), cache]
    with pytest.raises(NoSuchPoint, match="source sessions at or before") as caught:
        choose(points, Choice(at=day(4)))
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("--source restores the others")
    assert choose(points, Choice(at=day(4)), sources=["main"])[0].run == made(9).run


def test_a_source_that_moved_to_another_tier_comes_from_the_newer_point() -> None:
    old = made(5, tier="cache")
    assert choose([made(0), old], Choice()) == (made(0),)
    (first, second) = choose([made(0, sources=(source("main"),)), old], Choice())
    assert [found.name for found in first.sources] == ["files"]
    assert [found.name for found in second.sources] == ["main"]


def test_a_damaged_point_is_chosen_only_by_its_id() -> None:
    bad = made(0, damaged=True)
    assert choose([bad, made(1)], Choice()) == (made(1),)
    assert choose([bad, made(1)], Choice(point=bad.id)) == (bad,)
    with pytest.raises(NoSuchPoint, match="there is no restore point; 1 are damaged"):
        choose([bad], Choice())


def test_a_partial_point_answers_for_what_was_taken_in_it() -> None:
    points = [half(0), made(1)]
    assert choose(points, Choice()) == (made(1),)
    (found,) = choose(points, Choice(), sources=["main"])
    assert (found.run, [one.name for one in found.sources]) == (half(0).run, ["main"])
    (found,) = choose(points, Choice(), sources=["files"])
    assert found.run == made(1).run


def test_where_all_are_partial_the_newest_is_better_than_nothing() -> None:
    (found,) = choose([half(0), half(1)], Choice())
    assert (found.run, [one.name for one in found.sources]) == (half(0).run, ["main"])
    (found,) = choose([half(0, outcome="partial")], Choice(), sources=["files"])
    assert found.sources[0].outcome == "partial"


def test_an_unknown_source() -> None:
    with pytest.raises(NoSuchPoint, match="no restore point of hub holds source mail"):
        choose([made(0)], Choice(), sources=["mail"])


def test_by_id_by_run_and_by_a_beginning() -> None:
    cache = made(1, tier="cache", sources=(source("sessions"),))
    points = [made(0), made(1), cache]
    assert choose(points, Choice(point=made(1).id)) == (made(1),)
    assert choose(points, Choice(point=made(1).run)) == (made(1), cache)
    assert choose(points, Choice(point="20260615")) == (made(0),)
    with pytest.raises(NoSuchPoint, match="is the beginning of 3 restore points"):
        choose(points, Choice(point="202606"))
    with pytest.raises(NoSuchPoint, match="no such restore point: 202"):
        choose(points, Choice(point="202"))
    with pytest.raises(NoSuchPoint, match=r"no such restore point: hub\.other@"):
        choose(points, Choice(point="hub.other@"))


def test_an_id_without_the_wished_source() -> None:
    with pytest.raises(NoSuchPoint, match="holds nothing of mail"):
        choose([made(0)], Choice(point=made(0).id), sources=["mail"])


def test_of_several_repositories_the_first_given_counts() -> None:
    far = replace(made(0), repository="offsite")
    assert choose([made(0), far], Choice())[0].repository == "local"
    assert choose([made(0, damaged=True), far], Choice())[0].repository == "offsite"
    assert choose([made(0, damaged=True), far], Choice(point=far.id))[0].repository == "offsite"


def test_no_points_at_all() -> None:
    with pytest.raises(NoSuchPoint, match=r"^there is no restore point\nHINT: resguardo list"):
        choose([], Choice())


def test_another_hosts_points_come_back_only_by_their_id() -> None:
    old = replace(point(NOON), host="a")
    new = replace(point(NOON - timedelta(days=1)), host="b")
    assert of_host([old, new], "b") == [new]
    assert of_host([], "b") == []
    with pytest.raises(NoSuchPoint, match="no restore point of hub of host b, but of a") as told:
        of_host([old], "b")
    assert told.value.hint is not None
    assert "--point" in told.value.hint


def test_a_service_that_nobody_knows_is_a_mistake_with_a_did_you_mean() -> None:
    old = [point(NOON, service="wiki")]
    for wish, hint in (("hbu", "did you mean 'hub'?"), ("wikki", "did you mean 'wiki'?")):
        error = nothing_of(wish, {"hub", "mail"}, old)
        assert (error.exit_code, error.hint) == (2, hint)
    assert nothing_of("xyz", {"hub", "mail"}, old).hint == "services are: hub, mail, wiki"
    assert nothing_of("hub", {"hub"}, old).exit_code == 1


def test_an_empty_catalog_names_its_remedy() -> None:
    for error in (nothing_of("hub", {"hub"}, []), nothing_of("old", {"hub"}, [])):
        assert "resguardo catalog rebuild" in str(error.hint)
    with pytest.raises(NoSuchPoint) as told:
        named([], "hub.default@20260615")
    assert "resguardo catalog rebuild" in str(told.value.hint)


def test_a_mistyped_point_or_source_has_a_did_you_mean() -> None:
    known = [point(NOON, sources=(source("main"),))]
    with pytest.raises(NoSuchPoint) as told:
        named(known, known[0].id.replace("hub", "hab"))
    assert told.value.hint == f"did you mean {known[0].id!r}?"
    with pytest.raises(NoSuchPoint) as told:
        choose(known, Choice(), sources=["mian"])
    assert told.value.hint == "did you mean 'main'?"
    with pytest.raises(NoSuchPoint) as told:
        named(known, "hub")
    assert told.value.hint == "that is a service; `resguardo list hub` shows its restore points"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "less than 1 s"),
        (12, "12 s"),
        (-59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (15120, "4 h 12 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_how_far_away_a_point_is(seconds: float, said: str) -> None:
    assert distance(timedelta(seconds=seconds)) == said
