"""A program that leaves something out of its archive, and ends well: the dump is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.model.execution import Executor
from tests.engines.recording import RecordingUndo
from tests.engines.servers.mongodb import MongoServer
from tests.engines.test_mongodb import drop_all
from tests.engines.test_mongodb_own import good, item_of, take

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[MongoServer]:
    with MongoServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _shop(server: MongoServer) -> Iterator[None]:
    with server.client() as client:
        client.shop.orders.insert_many([{"_id": number} for number in range(100)])
        client.shop.orders.create_index("name")
        client.shop.customers.insert_one({"_id": 1})
        client.shop.command("create", "empty")
        client.shop.command("create", "view", viewOn="orders", pipeline=[])
        yield
    drop_all(server)


def program(folder: Path, change: str) -> str:
    """A stand-in for mongodump, of which something is changed. Return its folder."""
    script = folder / "mongodump"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.engines.servers import mongodump\n{change}\nmongodump.main()\n"
    )
    script.chmod(0o755)
    return str(folder)


WITHOUT = """
from pymongo.database import Database
listed = Database.list_collections
Database.list_collections = lambda self: [each for each in listed(self) if each["name"] not in {names!r}]
"""
FEWER = """
from pymongo.database import Database
asked = Database.cursor_command
def fewer(self, command, **more):
    return asked(self, command | ({"limit": 7} if command.get("find") == "orders" else {}), **more)
Database.cursor_command = fewer
"""
NO_INDEX = """
described = mongodump.described
def less(database, each):
    found = described(database, each)
    metadata = mongodump.json.loads(found["metadata"])
    metadata["indexes"] = metadata["indexes"][:1]
    return found | {"metadata": mongodump.json.dumps(metadata)}
mongodump.described = less
"""
WRITES = """
end = mongodump.header
def header(database, name, crc, *, last):
    if last and name == "orders":
        with mongodump.connect(mongodump.arguments()) as client:
            client[database].orders.insert_one({})
            client[database].late.insert_one({})
            client[database].customers.drop()
    return end(database, name, crc, last=last)
mongodump.header = header
"""


@pytest.mark.parametrize(
    ("change", "problem", "oplog"),
    [
        (WITHOUT.format(names={"orders"}), "the dump lacks the collection 'orders'", True),
        (WITHOUT.format(names={"orders", "view"}), "the dump lacks 2 collections, the first is 'orders'", True),
        (WITHOUT.format(names={"view"}), "the dump lacks the collection 'view'", True),
        (WITHOUT.format(names={"empty"}), "the dump lacks the collection 'empty'", True),
        (FEWER, "the dump holds 7 documents of 'orders' instead of 100", True),
        (FEWER, "the dump holds 7 documents of 'orders' instead of 100", False),
        (NO_INDEX, "the dump lacks the index 'name_1' of 'orders'", True),
    ],
)
def test_something_is_left_out(
    oplog: bool,
    change: str,
    problem: str,
    server: MongoServer,
    at: Executor,
    undo: RecordingUndo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not oplog:
        monkeypatch.setattr("orchestrator.engines.mongodb.moment.Oplog._newest", lambda _self: None)
    taken = take(item_of(server, dumper="mongodump", tools=program(tmp_path, change)), at, undo)
    assert taken.end.error == f"database 'shop': {problem}"
    assert [found.level for found in taken.end.findings] == ["error"]


@pytest.mark.parametrize("oplog", [True, False])
def test_what_others_change_meanwhile_is_no_fault(
    oplog: bool,
    server: MongoServer,
    at: Executor,
    undo: RecordingUndo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not oplog:
        monkeypatch.setattr("orchestrator.engines.mongodb.moment.Oplog._newest", lambda _self: None)
    taken = good(item_of(server, dumper="mongodump", tools=program(tmp_path, WRITES)), at, undo)
    assert taken.end.counts["orders"] == 100
    assert not taken.end.counts_exact
