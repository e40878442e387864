"""Events, checks, values and the outbox."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.adapters.catalog import SqliteCatalog
from orchestrator.model.ports import CheckRecord, OutboxEntry
from orchestrator.model.record import Event
from tests.unit.adapters.catalog.builders import START


def event(name: str, seconds: int = 0, message: str = "it happened") -> Event:
    return Event(START + timedelta(seconds=seconds), name, "failed", message, service="hub", source="main", hint="do")


def test_events_are_newest_first_limited_and_filtered(catalog: SqliteCatalog) -> None:
    told = [event("run.failed", 1), event("run.succeeded", 2), event("runaway.seen", 3), event("source.failed", 4)]
    for one in told:
        catalog.add_event(one)
    assert catalog.events() == told[::-1]
    assert catalog.events(limit=1) == [told[3]]
    assert catalog.events(name="run.*") == [told[1], told[0]]
    assert catalog.events(name="run.failed") == [told[0]]
    assert catalog.events(name="source") == []


def test_the_same_event_twice_is_one(catalog: SqliteCatalog) -> None:
    for _ in range(2):
        catalog.add_event(event("run.failed"))
    catalog.add_event(event("run.failed", message="another file: \udcff\n'%s'"))
    assert len(catalog.events()) == 2
    assert catalog.events()[0].message == "another file: \udcff\n'%s'"


def test_the_last_check_is_that_of_a_repository_as_a_whole(catalog: SqliteCatalog) -> None:
    assert catalog.last_check("local") is None
    first = CheckRecord(START, "local", "", "5%", ("pack x is broken",), 1.5)
    later = CheckRecord(START + timedelta(days=7), "local", "", "5%", ())
    point = CheckRecord(START + timedelta(days=9), "local", "hub.default@x", "all", ())
    for one in (first, later, point):
        catalog.add_check(one)
    assert catalog.last_check("local") == later
    assert catalog.last_check("offsite") is None


def test_values_are_kept_and_replaced(catalog: SqliteCatalog) -> None:
    assert catalog.get("forget.last.local") is None
    catalog.put("forget.last.local", "one")
    catalog.put("forget.last.local", "two \udcff")
    assert catalog.get("forget.last.local") == "two \udcff"


def test_the_outbox_keeps_until_delivered(catalog: SqliteCatalog, path: str) -> None:
    first = catalog.queue("ops", "hub failed", "body\nwith 100% of 'quotes'", "failed", START)
    second = catalog.queue("ops", "hub recovered", "", "recovered", START + timedelta(hours=1))
    catalog.undelivered(first, "no route")
    catalog.undelivered(first, "still no route")
    with SqliteCatalog(path) as another:
        assert another.outbox() == [
            OutboxEntry(
                first, "ops", "hub failed", "body\nwith 100% of 'quotes'", "failed", START, 2, "still no route"
            ),
            OutboxEntry(second, "ops", "hub recovered", "", "recovered", START + timedelta(hours=1), 0),
        ]
    catalog.delivered(first)
    catalog.delivered(second)
    assert catalog.outbox() == []
    assert catalog.queue("ops", "new", "", "info", START) > second
