"""What is MongoDB's own: types byte for byte, rights, moments, users, servers that fail, bad archives."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.engines.mongodb import ENGINE, Options
from orchestrator.engines.mongodb.archive import BUCKETS, Entry, Prelude, Reader, block, end, prelude
from orchestrator.engines.mongodb.catalogue import from_json, to_json
from orchestrator.engines.mongodb.connection import Server, connect, target_of
from orchestrator.engines.mongodb.crc64 import crc64
from orchestrator.engines.mongodb.incoming import Incoming
from orchestrator.engines.mongodb.mongodump import arguments
from orchestrator.engines.mongodb.producing import Production, Sink
from orchestrator.engines.mongodb.restore import MARK, claim
from orchestrator.model.engine import Item, Restored, Source
from orchestrator.model.errors import (
    DataDamaged,
    Interrupted,
    Precondition,
    ResguardoError,
    RestoreFailed,
    ServerUnreachable,
)
from orchestrator.model.execution import Address, Executor
from orchestrator.model.secret import Secret
from orchestrator.model.waiting import poll
from tests.engines.conformance import PipeData, Taken, assert_told, errors, read_all, trailer_problem
from tests.engines.recording import RecordingUndo
from tests.engines.servers import mongodump
from tests.engines.servers.cutting import CuttingProxy
from tests.engines.servers.docker import Box
from tests.engines.servers.mongodb import PASSWORD, ROOT, MongoServer, lacking
from tests.engines.servers.relay import Relay
from tests.engines.test_mongodb import content, drop_all, made, source_of

TERM = b"\xff\xff\xff\xff"
NOT_TO_BE_HAD = "in no distribution that scripts/test can use; one on PATH runs this test"


@pytest.fixture(scope="module")
def server() -> Iterator[MongoServer]:
    with MongoServer() as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[MongoServer]:
    with MongoServer(auth=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _empty(server: MongoServer) -> Iterator[None]:
    yield
    drop_all(server)


def take(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    with ENGINE.dump(item, at, undo) as dump:
        data = read_all(dump.fd)
        return Taken(data, dump.finish(), dump.trailer)


def good(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    taken = take(item, at, undo)
    assert not taken.end.error
    assert not trailer_problem(taken.data, taken.trailer)
    return taken


def bring(item: Item, data: bytes, to: str, at: Executor, undo: RecordingUndo) -> Restored:
    with PipeData(data) as pipe:
        return ENGINE.restore(item, pipe, to, at, undo)


def item_of(server: MongoServer, name: str = "shop", **more: Any) -> Item:
    return Item(source_of(server, database=name, globals=False, **more), name, "archive")


def databases(server: MongoServer) -> list[str]:
    with server.client() as client:
        return sorted(set(client.list_database_names()) - {"admin", "config", "local"})


def stand_in(folder: Path) -> str:
    script = folder / "mongodump"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {mongodump.__file__} "$@"\n')
    script.chmod(0o755)
    return str(folder)


EVERY_TYPE = {
    "_id": bson.ObjectId("6b01c5697f759aad403d33da"),
    "double": 1.5,
    "zero": -0.0,
    "nan": float("nan"),
    "infinite": float("-inf"),
    "string": "nä\0mé",
    "object": {"b": 1, "a": {"": []}},
    "array": [1, "two", [3.0], {"four": None}],
    "binary": b"\0\xff",
    "uuid": bson.Binary(bytes(range(16)), 4),
    "custom": bson.Binary(b"x", 128),
    "boolean": False,
    "date": datetime(1969, 12, 31, 23, 59, tzinfo=UTC),
    "null": None,
    "regex": bson.Regex("^a.*", "imx"),
    "code": bson.Code("return 1"),
    "int32": -1,
    "int64": bson.Int64(1),
    "timestamp": bson.Timestamp(5, 6),
    "empty timestamp": bson.Timestamp(0, 0),
    "decimal": bson.Decimal128("1.10"),
    "decimal nan": bson.Decimal128("NaN"),
    "smallest": bson.MinKey(),
    "greatest": bson.MaxKey(),
}


def insert_raw(server: MongoServer, name: str, collection: str, document: bytes) -> None:
    raw = bson.raw_bson.RawBSONDocument(document)
    with server.client() as client:
        command = {"insert": collection, "bypassDocumentValidation": True, "bypassEmptyTsReplacement": True}
        told = client[name].command(command | {"documents": [raw]})
        assert told["n"] == 1, told


def test_every_type_comes_back_byte_for_byte(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    insert_raw(server, "shop", "types", bson.encode(EVERY_TYPE))
    for number, value in enumerate(EVERY_TYPE.values()):
        # no server takes those as _id, and to all of them one NaN is as good as another
        if not isinstance(value, list | bson.Regex) and str(value) != "NaN":
            insert_raw(server, "shop", "ids", bson.encode({"_id": value, "n": number}))
    before: Any = content(server, "shop")
    assert before["types"][1] == [bson.encode(EVERY_TYPE)], "the server itself keeps it otherwise"
    assert len(before["ids"][1]) == len(EVERY_TYPE) - 3
    item = item_of(server)
    taken = good(item, at, undo)
    assert bson.encode(EVERY_TYPE) in taken.data
    bring(item, taken.data, "back", at, undo)
    assert content(server, "back") == before


def test_deprecated_types_come_back_byte_for_byte(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    if "secantusd-py" in server.program:
        lacking("keeping deprecated types as they are")
    old = b"\x06undefined\0" + b"\x0esymbol\0\x02\0\0\0s\0" + b"\x0cpointer\0\x02\0\0\0c\0" + b"o" * 12
    inside = b"\x10_id\0\x01\0\0\0" + old + b"\x10twice\0\x01\0\0\0\x10twice\0\x02\0\0\0"
    insert_raw(server, "shop", "old", (len(inside) + 5).to_bytes(4, "little") + inside + b"\0")
    before = content(server, "shop")
    item = item_of(server)
    bring(item, good(item, at, undo).data, "back", at, undo)
    assert content(server, "back") == before


@pytest.mark.slow
def test_largest_document(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    empty = len(bson.encode({"_id": 1, "b": b""}))
    insert_raw(server, "shop", "large", bson.encode({"_id": 1, "b": b"\xa5" * ((16 << 20) - empty)}))
    item = item_of(server)
    taken = good(item, at, undo)
    bring(item, taken.data, "back", at, undo)
    assert content(server, "back") == content(server, "shop")


def test_a_validator_is_not_asked_about_what_was_stored(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with server.client() as client:
        client.shop.command("create", "strict", validator={"$jsonSchema": {"required": ["a"]}})
    insert_raw(server, "shop", "strict", bson.encode({"_id": 1, "invalid": True}))
    item = item_of(server)
    bring(item, good(item, at, undo).data, "back", at, undo)
    assert content(server, "back") == content(server, "shop")


@pytest.mark.parametrize(
    "index",
    [
        {"key": {"a": 1, "b": -1}},
        {"key": {"a": 1.0, "b": bson.Int64(-1)}, "name": "other numbers"},
        {"key": {"u": 1}, "unique": True, "sparse": True, "name": "ünï \"'"},
        {"key": {"t": 1}, "expireAfterSeconds": 3_000_000},
        {"key": {"p": 1}, "partialFilterExpression": {"at": {"$gt": datetime(2020, 1, 1, tzinfo=UTC)}}},
        {"key": {"$**": 1}, "wildcardProjection": {"a": 1}},
        {"key": {"a.$**": 1}},
        {"key": {"g": "2dsphere"}},
        {"key": {"l": "2d"}, "bits": 20, "min": -10, "max": 10},
        {"key": {"c": 1}, "collation": {"locale": "sv", "caseLevel": True}},
        {"key": {"h": 1}, "hidden": True},
    ],
    ids=str,
)
def test_index_kinds(index: dict[str, Any], server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    _index_comes_back(index, server, at, undo)


@pytest.mark.parametrize(
    "index",
    [
        {"key": {"t": "text", "u": "text"}, "weights": {"t": 5}, "default_language": "german"},
        {"key": {"a": "hashed"}},
    ],
    ids=str,
)
def test_index_kinds_of_a_full_server(
    index: dict[str, Any], server: MongoServer, at: Executor, undo: RecordingUndo
) -> None:
    lacking("an index of this kind")
    _index_comes_back(index, server, at, undo)


def _index_comes_back(index: dict[str, Any], server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with server.client() as client:
        client.shop.things.insert_one({"_id": 1, "a": 1})
        client.shop.command({"createIndexes": "things", "indexes": [{"name": "it"} | index]})
    item = item_of(server)
    taken = good(item, at, undo)
    assert taken.end.counts["$indexes things"] == 2
    assert not bring(item, taken.data, "back", at, undo).findings
    assert content(server, "back") == content(server, "shop")
    with server.client() as client:
        client.back.things.drop_index(index.get("name", "it"))
    assert errors(ENGINE.verify(item, "back", taken.end.counts, at, undo))


@pytest.mark.parametrize(
    "options",
    [
        {"capped": True, "size": 4096, "max": 7},
        {"validator": {"a": {"$type": "int"}}, "validationLevel": "off", "validationAction": "warn"},
        {"collation": {"locale": "de", "strength": 1}},
        {"clusteredIndex": {"key": {"_id": 1}, "unique": True, "name": "mine"}},
        {"changeStreamPreAndPostImages": {"enabled": True}},
        {"expireAfterSeconds": 500_000, "timeseries": {"timeField": "t", "granularity": "minutes"}},
        {"viewOn": "nothing", "pipeline": [{"$match": {"a": {"$gt": 1.0}}}], "collation": {"locale": "fr"}},
        {"storageEngine": {"wiredTiger": {"configString": "block_compressor=zlib"}}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_collection_options(options: dict[str, Any], server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with server.client() as client:
        client.shop.command("create", "things", **options)
    item = item_of(server)
    taken = good(item, at, undo)
    assert not bring(item, taken.data, "back", at, undo).findings
    assert content(server, "back") == content(server, "shop")
    assert not errors(ENGINE.verify(item, "back", taken.end.counts, at, undo))


def normal(data: bytes) -> tuple[object, list[bytes]]:
    """An archive without the names and UUIDs that a restore must change."""
    reader = Reader()
    events = reader.feed(data)
    reader.close()
    (said,) = [event for event in events if isinstance(event, Prelude)]
    told = []
    for entry in said.entries:
        metadata = from_json(entry.metadata)
        metadata.pop("uuid", None)
        told.append((entry.collection, entry.type, to_json(metadata)))
    return told, [event.data for event in events if not isinstance(event, Prelude) and hasattr(event, "data")]


def test_dump_of_a_restored_dump_is_the_same(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with made(server, "shop"):
        first = good(item_of(server), at, undo)
        bring(item_of(server), first.data, "back", at, undo)
        second = good(item_of(server, "back"), at, undo)
    assert normal(first.data) == normal(second.data)
    assert first.end.counts == second.end.counts


def test_a_program_reads_the_same(server: MongoServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    with made(server, "shop"):
        taken = good(item_of(server, dumper="mongodump", tools=stand_in(tmp_path)), at, undo)
        assert taken.end.counts == good(item_of(server, dumper="driver"), at, undo).end.counts
        assert taken.end.counts_exact, "nobody wrote meanwhile, and the oplog tells so"
        bring(item_of(server), taken.data, "back", at, undo)
        assert content(server, "back") == content(server, "shop")


@pytest.mark.skipif(shutil.which("mongodump") is None, reason=f"impossible here: mongodump is {NOT_TO_BE_HAD}")
def test_the_real_mongodump(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with made(server, "shop"):
        taken = good(item_of(server, dumper="mongodump"), at, undo)
        bring(item_of(server), taken.data, "back", at, undo)
        assert content(server, "back") == content(server, "shop")


@pytest.mark.skipif(shutil.which("mongorestore") is None, reason=f"impossible here: mongorestore is {NOT_TO_BE_HAD}")
def test_the_real_mongorestore(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with made(server, "shop"):
        taken = good(item_of(server, dumper="driver"), at, undo)
        argv = ["mongorestore", "--archive", f"--port={server.port}", "--nsFrom=shop.*", "--nsTo=back.*"]
        done = subprocess.run([*argv, "--stopOnError"], input=taken.data, capture_output=True, check=True, timeout=60)
        assert b" 0 document(s) failed" in done.stderr
        assert content(server, "back") == content(server, "shop")


def test_the_program_fails(server: MongoServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    script = tmp_path / "mongodump"
    script.write_text("#!/bin/sh\necho '2026-11-21T00:00:00.000+0000\tFailed: out of luck' >&2\nexit 1\n")
    script.chmod(0o755)
    with made(server, "shop"):
        taken = take(item_of(server, dumper="mongodump", tools=str(tmp_path)), at, undo)
    assert taken.end.error == "database 'shop': mongodump failed (exit code 1): Failed: out of luck"


@pytest.mark.parametrize("cut", [1, 4, 30, 500])
def test_the_program_ends_well_and_its_archive_is_cut(
    cut: int, server: MongoServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    with made(server, "shop"):
        (tmp_path / "whole").write_bytes(good(item_of(server), at, undo).data[:-cut])
        script = tmp_path / "mongodump"
        script.write_text(f"#!/bin/sh\ncat {tmp_path}/whole\n")
        script.chmod(0o755)
        taken = take(item_of(server, dumper="mongodump", tools=str(tmp_path)), at, undo)
    assert "not a whole archive" in taken.end.error


def test_a_program_inside_a_container(
    server: MongoServer, at: Executor, undo: RecordingUndo, sidecar: Box, tmp_path: Path
) -> None:
    with made(server, "shop"):
        whole = good(item_of(server), at, undo)
        (tmp_path / "whole").write_bytes(whole.data)
        script = tmp_path / "mongodump"
        script.write_text(f"#!/bin/sh\necho $0 $* >{tmp_path}/said\ncat {tmp_path}/whole\n")
        script.chmod(0o755)
        item = item_of(server, dumper="mongodump", tools=str(tmp_path))
        taken = good(item, sidecar.executor(), undo)
    assert taken.data == whole.data
    assert f"--host=127.0.0.1:{server.port}" in (tmp_path / "said").read_text()


def test_passwords_are_no_arguments(at: Executor, guarded: MongoServer) -> None:
    source = source_of(guarded, user=ROOT, password={"env": "X"}, dumper="mongodump")
    given, secrets = arguments(target_of(source, at), "shop")
    assert not any(PASSWORD in word for word in given)
    assert "--config={secret:config}" in given
    assert secrets == {"config": b'password: "su per:se\\\\cret\'\\"%@/"\n'}


def test_a_program_logs_in(guarded: MongoServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    with guarded.client(login=True) as client:
        client.shop.things.insert_one({"_id": 1})
    more = {"user": ROOT, "password": {"env": "X"}, "dumper": "mongodump", "tools": stand_in(tmp_path)}
    source = source_of(guarded, database="shop", **more)
    assert ENGINE.probe(source, at, undo).tool == "mongodump 0.0.1"
    assert good(Item(source, "shop", "archive"), at, undo).end.counts["things"] == 1


# --- bad archives ----------------------------------------------------------------------------------------------------


def test_cut_anywhere_nothing_is_restored(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with made(server, "shop"):
        item = item_of(server)
        data = good(item, at, undo).data
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        for place in [chance.randrange(len(data)) for _ in range(10)]:
            with pytest.raises((DataDamaged, RestoreFailed)) as caught:
                bring(item, data[:place], "back", at, undo)
            assert databases(server) == ["shop"], f"seed {seed}: cut at {place}: {caught.value}"


def archive(*documents: bytes, metadata: str = "{}", entry: Entry | None = None, crc: int | None = None) -> bytes:
    entry = entry or Entry("shop", "things", metadata)
    data = b"".join(documents)
    checksum = crc64(data) if crc is None else crc
    return prelude([entry], "8", "x") + block(entry.namespace) + data + TERM + end(entry.namespace, checksum)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (archive(bson.encode({"_id": 1}), crc=5), "checksum"),
        (archive(bson.encode({"_id": 1})) + TERM, "without a header"),
        (archive(bson.encode({"_id": 1})) + b"\0", "in the middle"),
        (b"\0" + archive(), "begins with"),
        (archive(bson.encode({"_id": 1}), bson.encode({"_id": 1})), "things"),
        (archive(metadata="{"), "described"),
        (archive(entry=Entry("", "oplog", "{}")) + b"", ""),
        (prelude([Entry("a", "x", "{}"), Entry("b", "x", "{}")], "8", "x"), "2 databases"),
    ],
    ids=["checksum", "terms", "trailing", "magic", "twice the same _id", "metadata", "oplog", "two databases"],
)
def test_what_is_bad_leaves_nothing(
    data: bytes, said: str, server: MongoServer, at: Executor, undo: RecordingUndo
) -> None:
    if not said:
        assert bring(item_of(server), data, "back", at, undo).name == "back"
        return
    with pytest.raises(ResguardoError) as caught:
        bring(item_of(server), data, "back", at, undo)
    assert said in caught.value.message
    assert_told(caught.value)
    assert databases(server) == []


def test_what_a_server_does_not_keep_is_said(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    told = to_json({"options": {"capped": True, "size": 4096}, "indexes": [], "collectionName": "things"})
    found = bring(item_of(server), archive(bson.encode({"_id": 1}), metadata=told), "back", at, undo).findings
    assert [finding.message for finding in found] == [
        'index \'_id_\' of \'things\' is not as it was: {"key": {"_id": {"$numberInt": "1"}}, "name": "_id_"}'
    ]


def test_the_servers_own_collections_are_left_out(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    data = archive(bson.encode({"_id": "admin.x"}), entry=Entry("admin", "system.users", "{}"))
    (finding,) = bring(item_of(server), data, "back", at, undo).findings
    assert "'system.users' is the server's own" in finding.message
    with server.client() as client:
        assert client.back.list_collection_names() == []


def test_buckets_go_back_as_buckets_or_not_at_all(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    """Not every server takes them; one that does keeps each. What is refused leaves nothing."""
    options = {"timeseries": {"timeField": "t", "granularity": "hours", "bucketMaxSpanSeconds": 2592000}}
    metadata = to_json({"options": options, "collectionName": "measure", "type": "timeseries"})
    entry, name = Entry("shop", "measure", metadata, "timeseries"), BUCKETS + "measure"
    when = datetime(2026, 1, 1, tzinfo=UTC)
    control = {"version": 1, "min": {"_id": 1, "t": when}, "max": {"_id": 1, "t": when}}
    columns = {"_id": {"0": 1}, "t": {"0": when}}
    bucket = bson.encode({"_id": bson.ObjectId("695bb880f759aad403d33da0"), "control": control, "data": columns})
    data = prelude([entry], "8", "x") + block(("shop", name)) + bucket + TERM + end(("shop", name), crc64(bucket))
    try:
        bring(item_of(server), data, "back", at, undo)
    except RestoreFailed as refused:
        assert_told(refused)
        assert databases(server) == []
        return
    with server.client() as client:
        assert client.back[name].count_documents({}) == 1


# --- names, marks, limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a/b", 'a"b', "a$b", "a\\b", "a\0b", "x" * 64, "admin", "local"])
def test_names_that_no_server_takes(name: str, server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with pytest.raises(RestoreFailed) as caught:
        bring(item_of(server), archive(), name, at, undo)
    assert_told(caught.value)


def test_a_name_that_differs_in_case_alone(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with server.client() as client:
        client.Shop.things.insert_one({"_id": 1})
    with pytest.raises(RestoreFailed, match="'Shop' exists already"):
        bring(item_of(server), archive(), "shop", at, undo)


def test_a_killed_restore_is_recognised(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with server.client() as client:
        client.back.create_collection(MARK)
        client.back.things.insert_one({"_id": 1})
    found = errors(ENGINE.verify(item_of(server), "back", {"things": 1}, at, undo))
    assert found[0].message == "the restore of 'back' did not come to its end"
    with pytest.raises(RestoreFailed) as caught:
        bring(item_of(server), archive(), "back", at, undo)
    assert caught.value.hint == "when no restore is under way, drop it: db.getSiblingDB('back').dropDatabase()"


def test_of_two_restores_one_is_refused(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    """Both saw that the name is free; the one that comes second leaves what the first has made."""
    with connect(target_of(source_of(server), at)) as session:
        claim(session, "back", "first")
        with pytest.raises(RestoreFailed, match="another restore is making database 'back'"):
            claim(session, "back", "second")
    with server.client() as client:
        assert client.back[MARK].find_one() == {"_id": 1, "by": "first"}


def test_a_database_that_others_made_just_before(server: MongoServer, at: Executor) -> None:
    """It was not there when we looked: the mark goes away again, and what is theirs stays."""
    with server.client() as client:
        client.back.theirs.insert_one({"_id": 1})
        with (
            connect(target_of(source_of(server), at)) as session,
            pytest.raises(RestoreFailed, match="others have just made database 'back', with 'theirs' in it"),
        ):
            claim(session, "back", "token")
        assert client.back.list_collection_names() == ["theirs"]


def test_what_others_put_into_a_restore_outlives_its_failure(
    server: MongoServer, at: Executor, undo: RecordingUndo
) -> None:
    class Meanwhile(PipeData):
        def _feed(self) -> None:
            whole, self._data = self._data, self._data[:-10]
            super()._feed()
            with server.client() as client:
                until = time.monotonic() + 20
                while "things" not in client.back.list_collection_names() and time.monotonic() < until:
                    time.sleep(0.01)
                client.back.theirs.insert_one({"_id": 1})
            self._data = whole[-10:]
            super()._feed()

    bad = archive(bson.encode({"_id": 1}), crc=5)
    with Meanwhile(bad) as data, pytest.raises(RestoreFailed, match="with 'theirs' in it, which others made") as caught:
        ENGINE.restore(item_of(server), data, "back", at, undo)
    assert_told(caught.value)
    with server.client() as client:
        assert client.back.list_collection_names() == ["theirs"]


def test_an_answer_that_is_lost_at_the_end(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    """The mark is gone, and nobody knows: the database is told of, not dropped."""
    with CuttingProxy(server.port, b"drop\0", "after") as proxy:
        with pytest.raises(RestoreFailed) as caught:
            bring(Item(source_of(server, port=proxy.port), "shop", "archive"), archive(), "back", at, undo)
        assert proxy.cut.is_set()
    assert "'back' is there without a mark" in caught.value.message
    assert databases(server) == ["back"]


def test_what_expired_since_is_no_error(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with server.client() as client:
        client.shop.things.insert_many([{"_id": 1}, {"_id": 2}])
        client.shop.things.create_index("at", expireAfterSeconds=100)
    item = item_of(server)
    taken = good(item, at, undo)
    bring(item, taken.data, "back", at, undo)
    with server.client() as client:
        client.back.things.delete_one({"_id": 1})
    (found,) = ENGINE.verify(item, "back", taken.end.counts, at, undo)
    assert (found.level, found.message) == (
        "warning",
        "'back': 1 documents of 'things' have expired since they were stored",
    )


# --- moments ---------------------------------------------------------------------------------------------------------


def test_without_a_replica_set_each_collection_is_of_its_own_moment(at: Executor, undo: RecordingUndo) -> None:
    with MongoServer(standalone=True) as alone:
        with alone.client() as client:
            client.shop.things.insert_one({"_id": 1})
        facts = ENGINE.probe(source_of(alone, dumper="driver"), at, undo)
        assert [finding.message for finding in facts.findings] == [
            "no replica set: each collection is of its own moment"
        ]
        taken = good(item_of(alone, dumper="driver"), at, undo)
        assert any("own moment" in finding.message for finding in taken.end.findings) != taken.end.counts_exact
        source = source_of(alone, dumper="driver", consistency="snapshot")
        with pytest.raises(Precondition) as caught:
            ENGINE.probe(source, at, undo)
        assert_told(caught.value)
        with pytest.raises(Precondition):
            take(Item(source, "shop", "archive"), at, undo)


def test_one_moment_or_said_that_it_is_not(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    """With `collection` the oplog tells whether somebody wrote; with a snapshot it does not matter."""
    with made(server, "shop"):
        quiet = good(item_of(server, consistency="collection"), at, undo)
        assert quiet.end.counts_exact
        assert not quiet.end.findings
        for consistency, exact in (("collection", False), ("snapshot", True)):
            item = item_of(server, consistency=consistency)
            with ENGINE.dump(item, at, undo) as dump:
                with server.client() as client:
                    client.shop.account.insert_one({"_id": consistency})
                read_all(dump.fd)
                end_of = dump.finish()
            assert end_of.counts_exact is exact
            assert bool(end_of.findings) is not exact


def test_a_snapshot_is_one(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    """What is written while a dump waits for its reader is not in it, whichever collection it is in."""
    with made(server, "shop", large=True), server.client() as client:
        client.shop.zlast.insert_one({"_id": 1})
        with ENGINE.dump(item_of(server, consistency="snapshot"), at, undo) as dump:
            client.shop.zlast.insert_one({"_id": 2})
            client.shop.account.delete_many({})
            read_all(dump.fd)
            counts = dump.finish().counts
    assert (counts["zlast"], counts["account"]) == (1, 20)


def test_a_collection_that_is_renamed_meanwhile_is_told(
    server: MongoServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    """Read by name, it is there neither before nor after; without a snapshot nothing else would tell."""
    with made(server, "shop", large=True), server.client() as client:
        client.shop.zlast.insert_one({"_id": 1})
        for more in ({"dumper": "driver"}, {"dumper": "mongodump", "tools": stand_in(tmp_path)}):
            with ENGINE.dump(item_of(server, consistency="collection", **more), at, undo) as dump:
                client.shop.zlast.rename("aaa")
                read_all(dump.fd)
                assert "renamed during the dump, such as 'aaa'" in dump.finish().error
            client.shop.aaa.rename("zlast")


def test_a_transaction_that_is_ended_is_told(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with (
        made(server, "shop", large=True),
        server.client() as client,
        ENGINE.dump(item_of(server, consistency="snapshot"), at, undo) as dump,
    ):
        assert os.read(dump.fd, 100)
        client.admin.command("killAllSessions", [])
        read_all(dump.fd)
        end_of = dump.finish()
    assert "the server ended the transaction that was read" in end_of.error
    assert "consistency" in (end_of.findings[0].hint or "")


# --- rights and people -----------------------------------------------------------------------------------------------


@pytest.fixture
def people(guarded: MongoServer) -> Iterator[MongoServer]:
    with guarded.client(login=True) as client:
        client.drop_database("shop")
        client.shop.things.insert_one({"_id": 1})
        client.admin.command("createUser", "bk", pwd="bk", roles=["backup"])
        client.admin.command("createUser", "rs", pwd="rs", roles=["root"])
        client.shop.command("createUser", "clerk", pwd="clerk", roles=["readWrite"])
        privilege = {"resource": {"db": "shop", "collection": "things"}, "actions": ["find"]}
        client.shop.command("createRole", "reader", privileges=[privilege], roles=[])
    yield guarded
    with guarded.client(login=True) as client:
        for database, user in (("admin", "bk"), ("admin", "rs"), ("shop", "clerk")):
            client[database].command("dropUser", user)
        for info in client.shop.command("rolesInfo", 1)["roles"]:
            client.shop.command("dropRole", info["role"])
        for name in set(client.list_database_names()) - {"admin", "local", "config"}:
            client.drop_database(name)


def known(server: MongoServer, secrets: dict[str, str], **more: Any) -> Source:
    source = source_of(server, **more)
    return replace(source, resolve=lambda reference: Secret(secrets[reference.env]))


def test_the_role_backup_suffices_to_dump(people: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    source = known(people, {"BK": "bk"}, user="bk", password={"env": "BK"}, globals=False)
    facts = ENGINE.probe(source, at, undo)
    assert [item.name for item in facts.items] == ["shop"]
    taken = good(facts.items[0], at, undo)
    with pytest.raises(ResguardoError) as caught:
        bring(facts.items[0], taken.data, "back", at, undo)
    assert_told(caught.value)
    with people.client(login=True) as client:
        assert "back" not in client.list_database_names()


DOCUMENTED = ("restore", "readWriteAnyDatabase", "dbAdminAnyDatabase")


def test_the_rights_that_are_documented_suffice(people: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with people.client(login=True) as client:
        client.admin.command("createUser", "least", pwd="least", roles=[{"role": "read", "db": "shop"}])
        client.admin.command("createUser", "brings", pwd="brings", roles=list(DOCUMENTED))
    try:
        secrets = {"L": "least", "B": "brings"}
        users = {"user": "least", "password": {"env": "L"}, "restore_user": "brings", "restore_password": {"env": "B"}}
        source = known(people, secrets, database="shop", globals=False, **users)
        (item,) = ENGINE.probe(source, at, undo).items
        taken = good(item, at, undo)
        bring(item, taken.data, "back", at, undo)
        assert not errors(ENGINE.verify(item, "back", taken.end.counts, at, undo))
    finally:
        with people.client(login=True) as client:
            for name in ("least", "brings"):
                client.admin.command("dropUser", name)


def test_another_user_restores(people: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    secrets = {"BK": "bk", "RS": "rs"}
    both = {"user": "bk", "password": {"env": "BK"}, "restore_user": "rs", "restore_password": {"env": "RS"}}
    item = Item(known(people, secrets, database="shop", **both), "shop", "archive")
    taken = good(item, at, undo)
    assert bring(item, taken.data, "back", at, undo).name == "back"
    assert not errors(ENGINE.verify(item, "back", taken.end.counts, at, undo))


def test_users_and_roles(people: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    source = known(people, {"RS": "rs"}, user="rs", password={"env": "RS"})
    item = ENGINE.probe(source, at, undo).items[0]
    assert (item.role, item.name, item.extension) == ("globals", "globals", "json")
    taken = good(item, at, undo)
    assert taken.end.counts == {
        "user admin.bk": 1,
        "user admin.root": 1,
        "user admin.rs": 1,
        "user shop.clerk": 1,
        "role shop.reader": 1,
    }
    assert not bring(item, taken.data, "globals", at, undo).findings, "nothing is missing yet"
    with people.client(login=True) as client:
        client.shop.command("dropUser", "clerk")
        client.shop.command("dropRole", "reader")
    found = bring(item, taken.data, "globals", at, undo).findings
    with people.client(login=True) as client:
        (role,) = client.shop.command("rolesInfo", "reader", showPrivileges=True)["roles"]
        assert role["privileges"][0]["actions"] == ["find"]
        clerks = client.shop.command("usersInfo", "clerk")["users"]
        if not clerks:
            assert "user 'shop.clerk' did not come back" in found[0].message
            assert found[0].level == "error", "it was asked for, and is not there"
            assert not ENGINE.verify(item, "globals", taken.end.counts, at, undo), "it is told once"
            client.shop.command("createUser", "clerk", pwd="clerk", roles=["readWrite"])
    with pymongo.MongoClient("127.0.0.1", people.port, username="clerk", password="clerk", authSource="shop") as client:
        assert client.shop.things.count_documents({}) == 1
    assert not errors(ENGINE.verify(item, "globals", taken.end.counts, at, undo))


def test_a_wrong_name_or_port_is_told_in_one_line(people: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        ENGINE.probe(source_of(people, replica_set="nobodys"), at, undo)
    assert "no member of the replica set 'nobodys'" in caught.value.message
    assert "Topology" not in caught.value.message
    assert "replica_set" in str(caught.value.hint)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_cut_globals_change_nothing(share: float, people: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    source = known(people, {"RS": "rs"}, user="rs", password={"env": "RS"})
    item = ENGINE.probe(source, at, undo).items[0]
    data = good(item, at, undo).data
    with people.client(login=True) as client:
        client.shop.command("dropRole", "reader")
    with pytest.raises(RestoreFailed):
        bring(item, data[: int(len(data) * share)], "globals", at, undo)
    with people.client(login=True) as client:
        assert client.shop.command("rolesInfo", "reader")["roles"] == []


# --- servers that fail -----------------------------------------------------------------------------------------------


def test_a_frozen_server_ends_a_dump(at: Executor, undo: RecordingUndo) -> None:
    with MongoServer() as own, made(own, "shop", large=True):
        item = Item(source_of(own, timeout=2.0, database="shop", dumper="driver"), "shop", "archive")
        began = time.monotonic()
        with ENGINE.dump(item, at, undo) as dump:
            own.freeze()
            try:
                end_of = dump.finish()
            finally:
                own.thaw()
        assert "took longer than 2 s" in end_of.error
        assert time.monotonic() - began < 20


def test_told_to_stop_while_restoring(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with made(server, "shop"):
        item = item_of(server)
        data = good(item, at, undo).data
        interrupts = Interrupts()
        stopped = replace(item, source=replace(item.source, wait=interrupts.wait))

        class Slow(PipeData):
            def finish(self, consumer: Any = None) -> None:
                interrupts.trigger(signal.SIGTERM)
                super().finish(consumer)

        with Slow(data) as pipe, pytest.raises(Interrupted):
            ENGINE.restore(stopped, pipe, "back", at, undo)
        assert databases(server) == ["shop"]


def test_a_lost_server_while_restoring_is_told(at: Executor, undo: RecordingUndo) -> None:
    with MongoServer() as own:
        item = item_of(own)
        documents = [bson.encode({"_id": n, "b": b"x" * 10_000}) for n in range(900)]
        whole = archive(*documents)

        class Killing(PipeData):
            def _feed(self) -> None:
                half, self._data = self._data, self._data[: len(self._data) // 2]
                super()._feed()
                own.kill()
                self._data = half[len(half) // 2 :]
                super()._feed()

        with Killing(whole) as pipe, pytest.raises(ResguardoError) as caught:
            ENGINE.restore(item, pipe, "back", at, undo)
        assert_told(caught.value)
        assert "'back' is still there" in caught.value.message


def test_an_address_where_nobody_listens(
    closed_port: int, server: MongoServer, at: Executor, undo: RecordingUndo
) -> None:
    began = time.monotonic()
    with pytest.raises(ServerUnreachable, match="connection refused"):
        ENGINE.probe(source_of(server, port=closed_port), at, undo)
    assert time.monotonic() - began < 3


# --- what is configured ----------------------------------------------------------------------------------------------


def test_all_databases_but_the_servers_own(server: MongoServer, at: Executor, undo: RecordingUndo) -> None:
    with server.client() as client:
        for name in ("one", "two", "test_1", "admin"):
            client[name].things.insert_one({"_id": 1})
    try:
        facts = ENGINE.probe(source_of(server, exclude=["test_*"]), at, undo)
        assert [item.name for item in facts.items] == ["admin", "one", "two"]
        assert facts.tool.startswith("pymongo ")
        assert re.fullmatch(r"MongoDB \d+\.\d+\.\d+\S*", facts.server)
        taken = good(facts.items[0], at, undo)
        assert taken.end.counts == {"things": 1, "$indexes things": 1}
    finally:
        with server.client() as client:
            client.admin.things.drop()


def test_included_databases_are_taken_and_each_pattern_must_match(
    server: MongoServer, at: Executor, undo: RecordingUndo
) -> None:
    with server.client() as client:
        for name in ("one", "shop_1", "shop_2"):
            client[name].things.insert_one({"_id": 1})
    more: dict[str, Any] = {"globals": False, "exclude": ["*_2"]}
    facts = ENGINE.probe(source_of(server, include=["shop_*"], **more), at, undo)
    assert [item.name for item in facts.items] == ["shop_1"]
    with pytest.raises(Precondition, match="include: no database matches 'stock'") as caught:
        ENGINE.probe(source_of(server, include=["shop_*", "stock"], **more), at, undo)
    assert_told(caught.value)


def test_a_programs_version_is_asked_for_once(
    server: MongoServer, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    script = tmp_path / "mongodump"
    script.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\necho mongodump version: 100.9.4\n")
    script.chmod(0o755)
    with server.client() as client:
        client.shop.things.insert_one({"_id": 1})
    for _ in range(2):
        source = source_of(server, database="shop", globals=False, dumper="mongodump", tools=str(tmp_path))
        assert ENGINE.probe(source, at, undo).tool == "mongodump 100.9.4"
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"database": "one", "exclude": ["x"]}, "exclude"),
        ({"database": "one", "include": ["x"]}, "include"),
        ({"include": [""]}, "include"),
        ({"exclude": [""]}, "exclude"),
        ({"tls": {"mode": "prefer"}}, "prefer is not possible"),
        ({"tls": {"mode": "disable", "ca": "/a"}}, "disable goes without"),
        ({"consistency": "snapshot", "dumper": "mongodump"}, "snapshot"),
        ({"socket": "/run/mongo"}, r"\.sock"),
        ({"socket": "/run/m.sock", "replica_set": "rs0"}, "replica_set"),
    ],
)
def test_options_that_contradict(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Options.model_validate(given, context={"directory": "/"})


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, "disable"),
        ({"ca": "/a"}, "verify-full"),
        ({"cert": "/c", "key": "/k"}, "require"),
        ({"ca": "/a", "mode": "verify-ca"}, "verify-ca"),
    ],
    ids=str,
)
def test_files_of_tls_mean_tls(given: dict[str, str], mode: str, server: MongoServer) -> None:
    assert source_of(server, tls=given).options.tls.sslmode == mode


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates for 127.0.0.1 of X.509 version 3; `both` holds a client's and its key."""
    folder = tmp_path_factory.mktemp("tls")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    signed = ["-addext", "subjectAltName=IP:127.0.0.1", "-CA", "ca.pem", "-CAkey", "ca.key"]
    for name, more in (("ca", []), ("server", signed), ("client", signed)):
        argv = [*new, "-days", "2", "-subj", f"/CN={name}", *more, "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(argv, check=True, capture_output=True, timeout=60, cwd=folder)
    (folder / "both").write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())
    return folder


def test_tls(certificates: Path, at: Executor, undo: RecordingUndo) -> None:
    place = {name: str(certificates / name) for name in ("ca.pem", "server.pem", "server.key", "client.pem", "both")}
    flags = ["--tls-cert-file", place["server.pem"], "--tls-key-file", place["server.key"]]
    flags += ["--tls-ca-file", place["ca.pem"], "--tls-require-client-cert"]
    with MongoServer(flags=flags) as own:
        with own.client(tls=True, tlsCAFile=place["ca.pem"], tlsCertificateKeyFile=place["both"]) as client:
            client.shop.things.insert_one({"_id": 1})
        pair = {"cert": place["client.pem"], "key": str(certificates / "client.key")}
        ours = {"ca": place["ca.pem"], **pair}
        ENGINE.probe(source_of(own, tls=pair), at, undo)  # without an authority: encrypted, whoever it is
        facts = ENGINE.probe(source_of(own, tls=ours), at, undo)
        assert good(next(item for item in facts.items if item.name == "shop"), at, undo).end.counts["things"] == 1
        with pytest.raises(ServerUnreachable):
            ENGINE.probe(source_of(own, tls={"ca": place["ca.pem"]}), at, undo)


def test_a_socket_under_any_name(server: MongoServer, at: Executor, tmp_path: Path) -> None:
    """The driver takes a path for a socket only if it ends in .sock; one inside a container has another name for us."""
    before = set(os.listdir(tempfile.gettempdir()))
    with Relay(str(tmp_path / "m.sock"), server.port):
        fd = os.open(tmp_path / "m.sock", os.O_PATH)
        try:
            target = target_of(source_of(server, host=None, port=None, socket=str(tmp_path / "m.sock")), at)
            for name in (str(tmp_path / "m.sock"), f"/proc/self/fd/{fd}"):
                with connect(replace(target, reached=Address(socket=name))) as session:
                    assert session.command("admin", {"ping": 1})["ok"] == 1
        finally:
            os.close(fd)
    left = {name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("resguardo-mongodb-")}
    assert not left


# --- what nobody may wait for, or lose -------------------------------------------------------------------------------


def test_told_to_stop_while_nobody_takes_the_connection(server: MongoServer, at: Executor, tmp_path: Path) -> None:
    """A server whose queue is full holds up whoever knocks: not beyond the end of the run."""
    path = str(tmp_path / "m.sock")
    interrupts = Interrupts()
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket(socket.AF_UNIX) as first:
        deaf.bind(path)
        deaf.listen(0)
        first.connect(path)
        source = replace(source_of(server, host=None, port=None, socket=path), wait=interrupts.wait)
        interrupts.trigger(signal.SIGTERM)
        began = time.monotonic()
        with pytest.raises(Interrupted), connect(target_of(source, at)):
            pass
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("broken", ["absent", "garbage"])
def test_a_wrong_certificate_file_leaves_nothing_open(
    broken: str, server: MongoServer, certificates: Path, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    """The driver reads the files when its client is made, before anything is asked."""
    (tmp_path / "garbage").write_text("no certificate\n")
    ours = {"cert": str(certificates / "client.pem"), "key": str(certificates / "client.key")}
    with Relay(str(tmp_path / "m.sock"), server.port):
        target = target_of(source_of(server, tls={"ca": str(tmp_path / broken), **ours}), at)
        before = open_files(), set(os.listdir(tempfile.gettempdir()))
        with pytest.raises(Precondition) as caught:
            Server(replace(target, reached=Address(socket=str(tmp_path / "m.sock") + "et")))
        assert_told(caught.value)
        left = {name for name in set(os.listdir(tempfile.gettempdir())) - before[1] if "resguardo-mongodb" in name}
        assert (open_files(), left) == (before[0], set())


def open_files() -> list[str]:
    """Where the descriptors lead that hold a certificate."""
    fds = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(fd) for fd in fds if os.path.lexists(fd) and "resguardo-mongodb" in os.readlink(fd)]


def test_an_error_that_nobody_foresaw_is_said() -> None:
    def fails(sink: Sink) -> None:
        raise ZeroDivisionError("nobody foresaw that")

    production = Production(fails, ExitStack())
    production.start()
    assert production.wait(poll, 10)
    production.close()
    assert production.error == "ZeroDivisionError: nobody foresaw that"


def test_bytes_whose_verdict_failed_are_not_good() -> None:
    class Failing(PipeData):
        def finish(self, consumer: Any = None) -> None:
            super().finish(consumer)
            raise ZeroDivisionError("nobody foresaw that")

    with Failing(b"all of it") as data, Incoming(data, poll) as incoming:
        assert incoming.read() == b"all of it"
        with pytest.raises(ZeroDivisionError):
            incoming.read()
