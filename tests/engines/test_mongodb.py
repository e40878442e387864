"""The engine mongodb: the conformance suite on a real server, read by the driver and by a program."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import bson
import pymongo
import pytest
from bson import json_util

from orchestrator.engines.mongodb import Options
from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import (
    Precondition,
    ResguardoError,
    RightsMissing,
    ServerUnreachable,
    ToolMissing,
)
from orchestrator.model.execution import Executor
from orchestrator.model.secret import Secret
from tests.engines.conformance import StreamConformance, assert_told, read_all
from tests.engines.recording import RecordingUndo
from tests.engines.servers import mongodump
from tests.engines.servers.mongodb import PASSWORD, MongoServer

# What a server refuses in a database's name cannot be tested; in a collection's nearly all is allowed.
HOSTILE = ("quo'te", "new\nline", "-dash", "--eval=1", "ünï-日本", "100%s%41", "x=y&host=evil", "(id);`id`", "N" * 63)
HOSTILE_COLLECTIONS = (
    "with space",
    "quo'te\"d",
    "new\nline",
    "-dash",
    "ünï-日本",
    "a..b",
    "back\\slash/",
)


@pytest.fixture(scope="module")
def server() -> Iterator[MongoServer]:
    with MongoServer() as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[MongoServer]:
    """A server that asks who one is."""
    with MongoServer(auth=True) as running, running.client(login=True) as client:
        client.admin.command("createUser", "bk", pwd="b:k", roles=["backup"])
        client.shop.command("createUser", "weak", pwd="weak", roles=[])
        yield running


def options(server: MongoServer, **more: Any) -> Options:
    given = {"host": "127.0.0.1", "port": server.port} | more
    given = {key: value for key, value in given.items() if value is not None}
    return Options.model_validate(given, context={"directory": "/"})


def source_of(server: MongoServer, secret: str = PASSWORD, timeout: float = 60.0, **more: Any) -> Source:
    return Source("shop", "main", "mongodb", "default", timeout, options(server, **more), lambda _ref: Secret(secret))


def fill(database: Any, *, large: bool = False) -> None:
    """Make what a rich database holds, as far as the smallest test server has it."""
    database.customer.insert_many(
        [
            {
                "_id": n,
                "name": f"nämé {n}",
                "tags": ["a", n % 7],
                "at": [n % 90, n % 45],
                "n": bson.Int64(n),
                "f": n / 3,
            }
            for n in range(200)
        ]
    )
    database.customer.create_indexes(
        [
            pymongo.IndexModel([("name", 1)], unique=True, name="by name"),
            pymongo.IndexModel([("tags", -1), ("n", 1)], sparse=True),
            pymongo.IndexModel([("at", "2d")], min=-200, max=200),
            pymongo.IndexModel([("f", 1)], partialFilterExpression={"n": {"$gt": 10}}),
            pymongo.IndexModel([("c", 1)], collation={"locale": "fr", "strength": 2}),
            pymongo.IndexModel([("h", 1)], hidden=True),
        ]
    )
    database.command("create", "capped", capped=True, size=100_000, max=50)
    database.capped.insert_many([{"_id": n} for n in range(10)])
    schema = {"$jsonSchema": {"required": ["total"], "properties": {"total": {"bsonType": "int"}}}}
    database.command("create", "orders", validator=schema, validationLevel="moderate", validationAction="error")
    database.orders.insert_one({"_id": 1, "total": 5})
    database.command("create", "german", collation={"locale": "de", "strength": 2})
    database.command("create", "rich", viewOn="orders", pipeline=[{"$match": {"total": {"$gt": 3}}}])
    database.command("create", "measure", timeseries={"timeField": "t", "metaField": "m", "granularity": "hours"})
    database.measure.insert_many([{"_id": n, "t": datetime(2026, 1, 1, n, tzinfo=UTC), "m": 1, "v": n} for n in (1, 2)])
    for name in HOSTILE_COLLECTIONS:
        database.command({"insert": name, "documents": [{"_id": 1, "of": name}]})
    database.account.insert_many([{"_id": n, "balance": 100} for n in range(20)])
    database.audit.insert_one({"_id": "first"})
    if large:
        database.bulk.insert_many([{"_id": n, "t": os.urandom(500_000).hex()} for n in range(9)])


def content(server: MongoServer, name: str) -> object:
    """Everything: each collection's options and indexes, and its documents as bytes, in their order."""
    raw = bson.codec_options.CodecOptions(document_class=bson.raw_bson.RawBSONDocument)
    with server.client() as client:
        found = {}
        database = client.get_database(name, codec_options=raw)
        for each in client[name].list_collections():
            if each["name"].startswith("system."):
                continue
            find = {"find": each["name"]}
            documents = [bytes(x.raw) for x in database.cursor_command(find, codec_options=raw)]
            indexes = [dict(x) for x in client[name].cursor_command({"listIndexes": each["name"]})]
            for index in indexes:
                index.pop("ns", None)
            kept = [each["type"], each["options"], [] if each["type"] == "view" else indexes]
            found[each["name"]] = (json_util.dumps(kept, json_options=json_util.CANONICAL_JSON_OPTIONS), documents)
        return found


def drop_all(server: MongoServer) -> None:
    with server.client() as client:
        for name in client.list_database_names():
            if name not in {"admin", "local", "config"}:
                client.drop_database(name)


@contextmanager
def made(server: MongoServer, name: str, *, large: bool = False) -> Iterator[str]:
    with server.client() as client:
        fill(client[name], large=large)
    try:
        yield name
    finally:
        drop_all(server)


class TestByDriver(StreamConformance):
    engine_name = "mongodb"
    hostile = HOSTILE
    broken: ClassVar[Mapping[str, type[ResguardoError] | None]] = {
        "no such database": Precondition,
        "wrong password": RightsMissing,
        "no such user": RightsMissing,
        "no password": RightsMissing,
        "no rights": RightsMissing,
        "no server": ServerUnreachable,
        "no mongodump": ToolMissing,
        "no such authority": Precondition,
    }
    more: ClassVar[Mapping[str, Any]] = {"dumper": "driver"}

    @pytest.fixture(autouse=True)
    def _servers(self, server: MongoServer, guarded: MongoServer) -> None:
        self.server, self.guarded = server, guarded

    @contextmanager
    def make_source(self, tmp: Path, *, name: str = "shop", large: bool = False) -> Iterator[Source]:
        with made(self.server, name, large=large):
            yield source_of(self.server, database=name, globals=False, **self.more)

    @contextmanager
    def make_broken(self, label: str, tmp: Path) -> Iterator[Source]:
        more: dict[str, Any] = {"database": "shop", **self.more}
        login = {"user": "bk", "password": {"env": "X"}}
        server, secret = self.guarded, "b:k"
        if label == "no such database":
            more |= {"database": "absent", **login}
        elif label == "wrong password":
            more, secret = more | login, "wrong"
        elif label == "no such user":
            more |= login | {"user": "absent"}
        elif label == "no rights":
            more |= login | {"user": "weak", "auth_database": "shop"}
            secret = "weak"
        elif label == "no server":
            more |= {"port": 1}
        elif label == "no mongodump":
            more |= login | {"dumper": "mongodump", "tools": str(tmp)}
        elif label == "no such authority":
            more |= {"tls": {"ca": str(tmp / "absent.pem")}}
        with server.client(login=True) as client:
            client.shop.things.insert_one({"_id": 1})
        try:
            yield source_of(server, secret=secret, **more)
        finally:
            with server.client(login=True) as client:
                client.drop_database("shop")

    def item_of(self, source: Source) -> Item:
        return Item(source, source.options.database, "archive")

    def new_name(self, tmp: Path, name: str) -> str:
        return name.replace(" ", "_")[-63:]

    def exists(self, item: Item, name: str) -> bool:
        with self.server.client() as client:
            return name in client.list_database_names()

    def fingerprint(self, item: Item, name: str | None) -> object:
        return content(self.server, item.name if name is None else name)

    def change_original(self, item: Item) -> None:
        with self.server.client() as client:
            client[item.name].audit.insert_one({"_id": "changed"})

    def plant_difference(self, item: Item, name: str) -> None:
        with self.server.client() as client:
            client[name].customer.delete_one({"_id": 17})

    def state(self, source: Source) -> object:
        if source.options.user or source.options.port == self.guarded.port:
            with self.guarded.client(login=True) as client:
                return client.list_database_names()
        with self.server.client() as client:
            newest = client.local["oplog.rs"].find_one({"op": {"$ne": "n"}}, sort=[("$natural", -1)])
            return client.list_database_names(), newest

    @contextmanager
    def write_load(self, item: Item) -> Iterator[Callable[[], int]]:
        """Two threads move money and note it, in transactions: the sum of all balances stays, audit grows with it."""
        over, done = threading.Event(), [0, 0]
        first = threading.Barrier(3)

        def write(number: int) -> None:
            with self.server.client() as client, client.start_session() as session:
                database = client[item.name]

                def move(session: Any) -> None:
                    ours = number * 5  # others' documents would conflict
                    pair = {"_id": ours + done[number] % 5}, {"_id": 10 + ours + done[number] * 7 % 5}
                    for query, amount in zip(pair, (-3, 3), strict=True):
                        database.account.update_one(query, {"$inc": {"balance": amount}}, session=session)
                    database.audit.insert_one({"_id": f"{number} {done[number]}", "moved": 3}, session=session)

                first.wait(20)
                while not over.is_set():
                    session.with_transaction(move)
                    done[number] += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            first.wait(20)
            yield lambda: sum(done)
        finally:
            over.set()
            for thread in threads:
                thread.join(20)

    def assert_invariant(self, item: Item, name: str) -> None:
        with self.server.client() as client:
            balances = {x["_id"]: x["balance"] for x in client[name].account.find()}
            moved = client[name].audit.count_documents({"moved": 3})
        assert sum(balances.values()) == 2000
        assert sum(balance - 100 for number, balance in balances.items() if number >= 10) == moved * 3

    def test_swap_puts_new_in_place_and_keeps_old(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        """A server cannot rename a database: it is refused before and while it is tried, and nothing changes."""
        (refused,) = self.engine.original(item, at).findings
        assert refused.level == "error"
        _, name = self.restored(item, at, undo, tmp_path)
        before = self.fingerprint(item, None), self.fingerprint(item, name)
        with pytest.raises(ResguardoError) as caught:
            self.engine.swap(item, name, "shop_before_20260102T030405Z", at, undo)
        assert_told(caught.value)
        assert (self.fingerprint(item, None), self.fingerprint(item, name)) == before
        assert not self.exists(item, "shop_before_20260102T030405Z")

    def test_swap_never_replaces_what_was_kept_before(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        pytest.skip("does not apply: nothing is swapped in a MongoDB server, so nothing is kept")

    def test_dump_stopped_midway_leaves_nothing(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        """The producer is a thread of ours: it ends with the dump."""
        with self.large_dump(at, undo, tmp_path) as dump:
            assert dump.production.is_alive()
        assert not dump.production.is_alive()
        undo.assert_clean()

    def test_killed_producer_is_told(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with MongoServer() as own, made(own, "shop", large=True):
            item = Item(source_of(own, database="shop", **self.more), "shop", "archive")
            with self.engine.dump(item, at, undo) as dump:
                assert os.read(dump.fd, 100)
                own.kill()
                read_all(dump.fd)
                assert dump.finish().error
            own.start()


@pytest.mark.slow  # test_mongodb_container.py has the short form
class TestByDriverInContainer(TestByDriver):
    places = ("container",)


@pytest.mark.slow  # each dump starts a Python; test_mongodb_own.py has the short form
class TestByProgram(TestByDriver):
    """A program of mongodump's arguments and format reads the server: a stand-in, since that cannot be had."""

    @pytest.fixture(autouse=True)
    def _program(self, tmp_path: Path) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        script = folder / "mongodump"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {mongodump.__file__} "$@"\n')
        script.chmod(0o755)
        self.more = {"dumper": "mongodump", "tools": str(folder)}  # type: ignore[misc]

    def test_dump_under_writes_is_consistent(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        """Without a snapshot nobody promises that: it is said, and what came is restored as it came."""
        with self.write_load(item):
            taken = self.take(item, at, undo)
        assert taken.end.error == ""
        assert not taken.end.counts_exact
        assert any("each collection is of its own moment" in finding.message for finding in taken.end.findings)

    def test_dump_stopped_midway_leaves_nothing(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        StreamConformance.test_dump_stopped_midway_leaves_nothing(self, at, undo, tmp_path)

    def test_killed_producer_is_told(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        StreamConformance.test_killed_producer_is_told(self, at, undo, tmp_path)
