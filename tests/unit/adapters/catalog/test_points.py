"""Restore points: mirrored, listed, raised in state, removed."""

from __future__ import annotations

import string
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.catalog import SqliteCatalog
from orchestrator.model.errors import DataDamaged, NoSuchPoint
from orchestrator.model.manifest import Manifest, ManifestItem, ManifestSource, decode, encode
from orchestrator.model.owner import Owner
from orchestrator.model.point import Point, PointItem, State
from orchestrator.planning.listing import part_key
from tests.unit.adapters.catalog.builders import START, item, manifest, source

HOSTILE = [
    "two words",
    "quote\" and ' ticks",
    "line\nbreak",
    "-dash",
    "ünïcode ☃",
    "100%s",
    "a\x00b",
    "\udcff\udc00",
    "",
]


def only(catalog: SqliteCatalog, repository: str | None = None) -> Point:
    (point,) = catalog.points(repository=repository)
    return point


def test_a_manifest_becomes_a_point(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(), "local", {"dumps": "d1"}, "c1")
    point = only(catalog)
    assert point.id == manifest().point
    assert (point.time, point.ended) == (START, START + timedelta(seconds=9))
    assert (point.state, point.partial, point.damaged, point.retired) == (State.COMMITTED, False, False, False)
    assert point.whole
    assert dict(point.snapshots) == {"dumps": "d1", "commit": "c1"}
    assert point.bytes == 1000
    (main,) = point.sources
    assert (main.name, main.engine, main.outcome, main.error, main.state) == (
        "main", "postgresql", "taken", "", State.COMMITTED,
    )  # fmt: skip
    assert main.items == (
        PointItem("all", "dumps", "d1", "/main.all.sql", 1000, "ab" * 32, "data", "sql",
                  {"public.users": 3, "public.orders": 7}),
    )  # fmt: skip


def test_points_come_newest_first_and_are_filtered(catalog: SqliteCatalog) -> None:
    for number in (1, 3, 2):
        for service in ("hub", "mail"):
            catalog.add_point(manifest(number, service=service), "local", {}, f"{service}{number}")
    catalog.add_point(manifest(3), "offsite", {}, "copy3")
    found = [(point.service, point.run[:8], point.repository) for point in catalog.points()]
    assert found[:3] == [("hub", "20240303", "local"), ("hub", "20240303", "offsite"), ("mail", "20240303", "local")]
    assert [run for _, run, _ in found] == sorted((run for _, run, _ in found), reverse=True)
    assert len(catalog.points(service="mail")) == 3
    assert [point.snapshots["commit"] for point in catalog.points(repository="offsite")] == ["copy3"]
    assert catalog.points(service="nobody") == []


def test_points_of_one_host_alone(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(1, host="a"), "local", {"dumps": "da"}, "ca")
    catalog.add_point(manifest(2, host="b"), "local", {"dumps": "db"}, "cb")
    assert [point.host for point in catalog.points()] == ["b", "a"]
    assert [point.host for point in catalog.points(host="a")] == ["a"]
    newest = catalog.newest_manifest("local", host="a")
    assert newest is not None
    assert newest.host == "a"
    assert catalog.newest_manifest("local", host="c") is None


def test_items_can_be_left_out(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(), "local", {"dumps": "d1"}, "c1")
    (full,) = catalog.points()
    (short,) = catalog.points(items=False)
    assert [one.items for one in short.sources] == [()]
    assert short == replace(full, sources=tuple(replace(one, items=()) for one in full.sources))


def test_restic_ids_belong_to_the_repository_asked(catalog: SqliteCatalog) -> None:
    sources = (source(items=(item("a", "stream"), item("b"))), source("files", items=(item("files", "paths"),)))
    told = manifest(sources=sources)
    here = {"stream:main:a": "s1", "dumps": "d1", "paths": "p1"}
    catalog.add_point(told, "local", here, "c1")
    catalog.add_point(told, "offsite", {part: restic + "x" for part, restic in here.items()}, "c1x")
    for name, suffix in (("local", ""), ("offsite", "x")):
        stored = [one.snapshot for found in only(catalog, name).sources for one in found.items]
        assert stored == ["s1" + suffix, "d1" + suffix, "p1" + suffix]


def test_the_same_manifest_again_changes_only_restic_ids(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(), "local", {"dumps": "d1", "paths": "gone"}, "c1")
    catalog.set_state(manifest().point, "local", "main", State.PROVEN)
    catalog.set_damaged(manifest().point, "local", damaged=True)
    catalog.add_point(manifest(), "local", {"dumps": "d2"}, "c2")
    point = only(catalog)
    assert dict(point.snapshots) == {"dumps": "d2", "commit": "c2"}
    assert (point.state, point.damaged) == (State.PROVEN, True)


@pytest.mark.parametrize(
    ("outcomes", "states", "lowest"),
    [
        (("taken", "taken"), (State.COMMITTED, State.COMMITTED), State.COMMITTED),
        (("taken", "partial"), (State.TAKEN, State.TAKEN), State.TAKEN),
        (("taken", "failed"), (State.TAKEN, State.FAILED), State.FAILED),
    ],
)
def test_a_points_state_is_its_sources_lowest(
    catalog: SqliteCatalog, outcomes: tuple[str, str], states: tuple[State, State], lowest: State
) -> None:
    sources = tuple(source(f"s{number}", outcome) for number, outcome in enumerate(outcomes))
    catalog.add_point(manifest(sources=sources), "local", {"dumps": "d"}, "c")
    point = only(catalog)
    assert tuple(one.state for one in point.sources) == states
    assert point.state is lowest
    assert point.partial == (outcomes != ("taken", "taken"))
    assert point.whole == (not point.partial)


def test_a_manifest_that_calls_itself_partial_is_partial(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(result="partial"), "local", {}, "c")
    assert only(catalog).partial


def test_a_state_is_raised_and_never_lowered(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(sources=(source("a"), source("b"))), "local", {}, "c")
    point = manifest().point
    catalog.set_state(point, "local", "a", State.PROVEN)
    assert only(catalog).state is State.COMMITTED
    catalog.set_state(point, "local", "b", State.RESTORED)
    assert [one.state for one in only(catalog).sources] == [State.PROVEN, State.RESTORED]
    catalog.set_state(point, "local", "a", State.CHECKED)
    assert only(catalog).state is State.RESTORED


def test_a_failed_source_is_never_raised(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(sources=(source("a"), source("b", "failed"))), "local", {}, "c")
    for name in ("a", "b"):
        catalog.set_state(manifest().point, "local", name, State.PROVEN)
    assert [one.state for one in only(catalog).sources] == [State.PROVEN, State.FAILED]


def test_damage_is_flagged_and_taken_back(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(), "local", {}, "c")
    catalog.set_damaged(manifest().point, "local", damaged=True)
    assert only(catalog).damaged
    assert not only(catalog).whole
    catalog.set_damaged(manifest().point, "local", damaged=False)
    assert only(catalog).whole


def test_what_a_listing_lacked_is_taken_back_by_a_listing_and_damage_that_was_read_is_not(
    catalog: SqliteCatalog,
) -> None:
    catalog.add_point(manifest(), "local", {}, "c")
    for _ in range(2):
        catalog.set_missing(manifest().point, "local", missing=True)
    assert only(catalog).damaged
    catalog.set_missing(manifest().point, "local", missing=False)
    assert not only(catalog).damaged
    catalog.set_damaged(manifest().point, "local", damaged=True)
    catalog.set_missing(manifest().point, "local", missing=False)
    assert only(catalog).damaged
    catalog.set_missing(manifest().point, "local", missing=True)
    catalog.set_damaged(manifest().point, "local", damaged=False)
    assert not only(catalog).damaged


def test_what_is_earned_in_one_repository_says_nothing_of_another(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(), "local", {"dumps": "d1"}, "c1")
    catalog.add_point(manifest(), "offsite", {"dumps": "d2"}, "c2")
    catalog.set_state(manifest().point, "local", "main", State.PROVEN)
    catalog.set_damaged(manifest().point, "offsite", damaged=True)
    standing = {point.repository: (point.state, point.damaged) for point in catalog.points()}
    assert standing == {"local": (State.PROVEN, False), "offsite": (State.COMMITTED, True)}
    catalog.remove_point(manifest().point, "local")
    catalog.add_point(manifest(), "local", {"dumps": "d3"}, "c3")
    assert {point.repository: point.state for point in catalog.points()}["local"] is State.COMMITTED


def test_a_point_that_the_repository_does_not_hold_earns_nothing_there(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(), "local", {}, "c")
    with pytest.raises(NoSuchPoint, match="in repository offsite"):
        catalog.set_state(manifest().point, "offsite", "main", State.PROVEN)


def test_an_unknown_point_is_said(catalog: SqliteCatalog) -> None:
    with pytest.raises(NoSuchPoint, match="knows no restore point nothing"):
        catalog.set_state("nothing", "local", "main", State.PROVEN)
    with pytest.raises(NoSuchPoint):
        catalog.set_damaged("nothing", "local", damaged=True)
    catalog.remove_point("nothing", "local")


def test_a_dotted_tier_is_not_taken_for_a_dotted_service(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(service="a.b", tier="c"), "local", {}, "first")
    catalog.remove_point(manifest(service="a.b", tier="d").point, "local")
    assert only(catalog).service == "a.b"
    catalog.remove_point("a.b.c@" + manifest().run, "local")
    assert catalog.points() == []


def test_a_removed_point_leaves_only_the_other_repositories(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(), "local", {"dumps": "d1"}, "c1")
    catalog.add_point(manifest(), "offsite", {"dumps": "d2"}, "c2")
    catalog.remove_point(manifest().point, "local")
    assert only(catalog).repository == "offsite"
    assert dict(only(catalog).snapshots) == {"commit": "c2", "dumps": "d2"}
    catalog.remove_point(manifest().point, "offsite")
    assert catalog.points() == []
    assert catalog.newest_manifest("offsite") is None
    assert catalog._db.row("SELECT (SELECT count(*) FROM policy) + (SELECT count(*) FROM item)") == (0,)


def test_the_newest_manifest_is_of_the_repository_asked(catalog: SqliteCatalog) -> None:
    assert catalog.newest_manifest("local") is None
    for number in (1, 5, 3):
        catalog.add_point(manifest(number), "local", {}, f"c{number}")
    catalog.add_point(manifest(9), "offsite", {}, "c9")
    assert catalog.newest_manifest("local") == manifest(5)
    assert catalog.newest_manifest("offsite") == manifest(9)


def test_policy_texts_are_stored_once(catalog: SqliteCatalog) -> None:
    for number in range(3):
        catalog.add_point(manifest(number), "local", {}, f"c{number}")
    catalog.add_point(manifest(3, files={"policy.yml": "version: 1 # changed\n"}), "local", {}, "c3")
    assert catalog._db.row("SELECT count(*) FROM policy") == (2,)


def test_the_parent_is_the_newest_paths_snapshot_of_service_and_tier(catalog: SqliteCatalog) -> None:
    catalog.add_point(manifest(1), "local", {"paths": "p1", "warm": "w1"}, "c1")
    catalog.add_point(manifest(2), "local", {"dumps": "d2"}, "c2")
    catalog.add_point(manifest(3, tier="cache"), "local", {"paths": "p3"}, "c3")
    catalog.add_point(manifest(4), "offsite", {"paths": "p4"}, "c4")
    assert catalog.paths_snapshot("hub", "default", "local") == "p1"
    assert catalog.paths_snapshot("hub", "cache", "local") == "p3"
    assert catalog.paths_snapshot("mail", "default", "local") is None


def test_an_item_named_twice_is_refused_whole(catalog: SqliteCatalog) -> None:
    with pytest.raises(DataDamaged):
        catalog.add_point(manifest(sources=(source(items=(item("a"), item("a"))),)), "local", {}, "c")
    assert catalog.points() == []
    assert catalog._db.row("SELECT count(*) FROM point") == (0,)


def test_a_batch_is_all_or_nothing(catalog: SqliteCatalog) -> None:
    def half() -> None:
        with catalog.batch():
            catalog.add_point(manifest(1), "local", {}, "c1")
            catalog.add_event_that_does_not_exist()  # type: ignore[attr-defined]

    with pytest.raises(AttributeError):
        half()
    assert catalog.points() == []
    with catalog.batch():
        catalog.add_point(manifest(1), "local", {}, "c1")
        catalog.add_point(manifest(2), "local", {}, "c2")
    assert len(catalog.points()) == 2


def test_seen_is_kept_to_the_microsecond(catalog: SqliteCatalog) -> None:
    assert catalog.seen("local") is None
    catalog.mark_seen("local", START)
    assert catalog.seen("local") == START
    catalog.add_point(manifest(), "offsite", {}, "c")
    assert catalog.seen("offsite") is None


def test_ten_thousand_points_are_listed_quickly(catalog: SqliteCatalog) -> None:
    with catalog.batch():
        for service in range(10):
            for number in range(1000):
                name = f"s{service}"
                catalog.add_point(manifest(number, service=name), "local", {"dumps": "d"}, f"c{service}.{number}")
    began = time.process_time()
    points = catalog.points(items=False)
    seconds = time.process_time() - began
    assert len(points) == 10_000
    assert seconds < 1.0  # 0.2 s on an idle machine


words = st.one_of(st.text(max_size=12), st.sampled_from(HOSTILE))
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
instants = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
numbers = st.integers(0, 2**62)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
items = st.builds(
    ManifestItem,
    name=words,
    part=st.sampled_from(["dumps", "stream"]),
    path=words,
    bytes=st.integers(0, 2**50),
    sha256=digests,
    snapshot=names,
    tree=st.none() | names,
    role=st.sampled_from(["data", "globals"]),
    extension=names,
    seconds=st.floats(0, 1e6),
    counts=st.dictionaries(words, numbers, max_size=3),
    counts_exact=st.booleans(),
    as_of=st.none() | instants,
    owner=st.none() | st.builds(Owner, words, words, numbers, numbers, st.sampled_from(["0600", "4755"])),
)
items = items | items.map(lambda one: replace(one, part="paths", sha256=None))
sources = st.builds(
    ManifestSource,
    name=names,
    engine=names,
    state=st.sampled_from(["taken", "partial", "failed"]),
    items=st.lists(items, max_size=3, unique_by=lambda one: (one.role, one.name)).map(tuple),
    error=words,
    server=st.dictionaries(names, words, max_size=2),
)
manifests = st.builds(
    Manifest,
    host=names,
    machine=names,
    service=names,
    tier=names,
    run=st.from_regex(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}", fullmatch=True),
    time=instants,
    ended=instants,
    result=st.sampled_from(["whole", "partial"]),
    sources=st.lists(sources, max_size=3, unique_by=lambda one: one.name).map(tuple),
    policy_sha256=names,
    files=st.dictionaries(names, words, max_size=2),
    tools=st.dictionaries(names, names, max_size=2),
    rules=st.dictionaries(names, words, max_size=2),
)


@settings(max_examples=80, deadline=None)
@given(told=manifests)
def test_manifests_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, told: Manifest) -> None:
    folder: Path = tmp_path_factory.mktemp("catalog")
    told = decode(encode(told))
    snapshots = {part_key(one.name, part): f"id-{number}"
                 for one in told.sources for number, part in enumerate(one.items)}  # fmt: skip
    with SqliteCatalog(str(folder / "catalog.db")) as catalog:
        catalog.add_point(told, "local", snapshots, "commit-id")
        assert catalog.newest_manifest("local") == told
        point = only(catalog)
    assert (point.service, point.tier, point.run, point.time, point.ended) == (
        told.service, told.tier, told.run, told.time, told.ended,
    )  # fmt: skip
    assert dict(point.snapshots) == {**snapshots, "commit": "commit-id"}
    for stored, said in zip(point.sources, told.sources, strict=True):
        assert (stored.name, stored.engine, stored.outcome, stored.error) == (
            said.name, said.engine, said.state, said.error,
        )  # fmt: skip
        assert stored.items == tuple(
            PointItem(one.name, one.part, snapshots[part_key(said.name, one)], one.path, one.bytes, one.sha256,
                      one.role, one.extension, one.counts, one.owner)
            for one in said.items
        )  # fmt: skip
