"""Restore plans: targets, and options that would be ignored are refused or spoken of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from orchestrator.model.errors import NoSuchPoint, UsageError
from orchestrator.model.point import PointItem, PointSource
from orchestrator.planning.restore import Living, RestorePlan, Where, plan_restore
from tests.unit.planning.points import point

NOW = datetime(2026, 11, 3, 9, tzinfo=UTC)
SNAPSHOT, DIGEST = "f" * 64, "0" * 64
FILES = PointSource("files", "files", "taken", (PointItem("files", "paths", SNAPSHOT, "/", 700, None),))
SHOP = PointSource("shop", "sqlite", "taken", (PointItem("shop.db", "dumps", SNAPSHOT, "/s", 100, DIGEST),))
HUB = PointSource("hub", "postgresql", "taken", (PointItem("hub", "dumps", SNAPSHOT, "/h", 100, DIGEST),))
ROLES = PointItem("globals", "dumps", SNAPSHOT, "/g", 10, DIGEST, role="globals")
LIVING = {
    "files": Living("path", {"files": "/srv/files"}),
    "shop": Living("path", {"shop.db": "/srv/shop.db"}),
    "hub": Living("server", {}),
}


def planned(where: Where, *sources: PointSource) -> RestorePlan:
    return plan_restore("s", [point(NOW, sources=sources)], (), where, LIVING, NOW)


@pytest.mark.parametrize(
    ("where", "sources", "words"),
    [
        (Where(to="/back"), (HUB,), ("--to gives a folder", "--as NAME")),
        (Where(to="/back", name="x"), (HUB,), ("--to gives a folder", "--as NAME")),
        (Where(to="/back", name="x"), (SHOP,), ("--as names a database", "shop is a path", "--to DIR")),
        (Where(to="/back", name="x"), (FILES, HUB), ("--as gives one name", "--source")),
        (Where(to="/back", globals=True), (SHOP,), ("--globals", "no users or roles")),
        (Where(globals=True), (HUB,), ("--globals", "no users or roles")),
        (Where(to="/back", picks=True), (SHOP,), ("shop comes back whole", "leave them out")),
        (Where(to="/back", picks=True), (FILES, SHOP), ("shop comes back whole", "--source files")),
        (Where(), (FILES,), ("none is given", "--to DIR")),
    ],
)
def test_what_would_be_ignored_is_refused(where: Where, sources: tuple[PointSource, ...], words: tuple[str]) -> None:
    with pytest.raises(UsageError) as caught:
        planned(where, *sources)
    for word in words:
        assert word in f"{caught.value.message} {caught.value.hint}"


def test_a_folder_that_concerns_only_a_part_is_spoken_of() -> None:
    plan = planned(Where(to="/back"), FILES, HUB)
    assert [step.target for step in plan.steps] == ["/back/files", "hub_restored_20261103T090000Z"]
    assert plan.notes == (
        "hub: --to does not concern it, it comes back on its server as hub_restored_20261103T090000Z",
    )


def test_roles_come_first_and_only_when_asked_for() -> None:
    hub = replace(HUB, items=(*HUB.items, ROLES))
    assert [step.item.name for step in planned(Where(name="x", globals=True), hub).steps] == ["globals", "hub"]
    quiet = planned(Where(name="x"), hub)
    assert [step.item.name for step in quiet.steps] == ["hub"]
    assert "--globals" in quiet.notes[0]


def test_in_place_names_original_and_kept() -> None:
    plan = planned(Where(in_place=True), FILES, HUB)
    assert plan.in_place
    assert [(step.original, step.kept) for step in plan.steps] == [
        ("/srv/files", "/srv/files_before_20261103T090000Z"),
        ("hub", "hub_before_20261103T090000Z"),
    ]


def test_the_size_of_picked_files_is_not_known() -> None:
    plan = planned(Where(to="/back", picks=True), FILES)
    assert (plan.bytes, plan.picks) == (700, True)


def test_two_sources_do_not_make_one_new_database() -> None:
    orders = replace(HUB, name="orders")
    living = {"hub": Living("server", {}, "one"), "orders": Living("server", {}, "one")}
    chosen = [point(NOW, sources=(HUB, orders))]
    for where in (Where(), Where(in_place=True)):
        with pytest.raises(UsageError, match="hub and orders both hold 'hub'") as caught:
            plan_restore("s", chosen, (), where, living, NOW)
        assert "--source hub" in str(caught.value.hint)
    assert len(plan_restore("s", chosen, ["orders"], Where(), living, NOW).steps) == 1
    living["orders"] = Living("server", {}, "another")
    assert len(plan_restore("s", chosen, (), Where(), living, NOW).steps) == 2


def test_a_note_is_said_once() -> None:
    several = replace(HUB, items=(*HUB.items, ROLES, replace(ROLES, name="configuration")))
    assert len(planned(Where(), several).notes) == 1


MANY = PointSource(
    "hub",
    "postgresql",
    "taken",
    (ROLES, *(PointItem(name, "dumps", SNAPSHOT, f"/{name}", 100, DIGEST) for name in ("one", "it's two", "globals+"))),
)


def test_one_database_of_many() -> None:
    chosen = [point(NOW, sources=(FILES, MANY))]
    plan = plan_restore("s", chosen, (), Where(name="back"), LIVING, NOW, databases=["it's two"])
    assert [(step.item.name, step.target) for step in plan.steps] == [("it's two", "back")]
    assert plan.steps[0].source == MANY, "how much of a source came back is judged by all of it"
    both = plan_restore("s", chosen, (), Where(globals=True), LIVING, NOW, databases=["one", "globals+"])
    assert [step.item.name for step in both.steps] == ["globals", "one", "globals+"]
    with pytest.raises(NoSuchPoint, match="holds the database 'three'"):
        plan_restore("s", chosen, (), Where(), LIVING, NOW, databases=["one", "three"])
    with pytest.raises(NoSuchPoint):
        plan_restore("s", chosen, (), Where(), LIVING, NOW, databases=["globals"])
    with pytest.raises(UsageError) as caught:
        plan_restore("s", chosen, ["hub"], Where(name="back"), LIVING, NOW)
    assert "--database" in str(caught.value.hint)


KEYS = PointSource(
    "keys",
    "redis",
    "taken",
    (
        PointItem("dump", "dumps", SNAPSHOT, "/k", 100, DIGEST, extension="rdb"),
        PointItem("users", "dumps", SNAPSHOT, "/u", 10, DIGEST, role="globals", extension="acl"),
    ),
)


def test_what_becomes_a_folder_has_its_sources_name() -> None:
    living = {"keys": Living("folder", {"dump": "/var/lib/keys"})}

    def steps(where: Where) -> list[tuple[str, str]]:
        plan = plan_restore("s", [point(NOW, sources=(KEYS,))], (), where, living, NOW)
        return [(step.target, step.original) for step in plan.steps]

    assert steps(Where(to="/back")) == [("/back/keys", "")]
    assert steps(Where(to="/back", globals=True)) == [("/back/keys.users.acl", ""), ("/back/keys", "")]
    assert steps(Where(in_place=True)) == [("/var/lib/.keys.restoring-20261103T090000Z", "/var/lib/keys")]
    with pytest.raises(UsageError, match="running server"):
        steps(Where(in_place=True, globals=True))


@pytest.mark.parametrize(("living", "said"), [({}, "any more"), ({"keys": Living("folder", {})}, "does not tell")])
def test_in_place_needs_a_place(living: dict[str, Living], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan_restore("s", [point(NOW, sources=(KEYS,))], (), Where(in_place=True), living, NOW)
