"""Databases as rich as real ones, dumped while they are written to, restored under new names and compared exactly."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from orchestrator.engines.postgresql import ENGINE
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.model.engine import Item
from orchestrator.model.execution import Executor
from tests.engines.conformance import HOSTILE, Taken, errors
from tests.engines.recording import RecordingUndo
from tests.engines.servers.postgresql import SUPERUSER, PostgresServer
from tests.engines.test_postgresql import content, drop_all, source_of
from tests.engines.test_postgresql_own import bring, data_item, good

ROLES = """
CREATE ROLE "the owner"; CREATE ROLE "o'ther"; CREATE ROLE "a;reader" LOGIN;
"""
RICH = (Path(__file__).parent / "servers" / "rich_postgresql.sql").read_text()
KINDS = {
    "#tables", "#partitioned tables", "#views", "#materialized views", "#sequences", "#foreign tables", "#indexes",
    "#constraints", "#constraints not validated", "#triggers", "#policies", "#functions", "#types", "#schemas",
    "#extensions", "#event triggers", "#publications", "#large objects",
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        place = running.root / "other disk"
        place.mkdir()
        shutil.chown(place, running.data.owner(), running.data.group())
        running.psql(f"CREATE TABLESPACE \"other disk\" LOCATION '{place}'")
        running.psql(ROLES)
        yield running


@contextmanager
def rich(server: PostgresServer, name: str) -> Iterator[str]:
    server.psql(f'CREATE DATABASE {ident(name)} OWNER "the owner"')
    try:
        server.psql(RICH, name)
        yield name
    finally:
        drop_all(server)


def large_objects(server: PostgresServer, database: str) -> str:
    """What is in them, since pg_dump's text is compared elsewhere."""
    query = "SELECT loid, md5(string_agg(data, '' ORDER BY pageno)) FROM pg_largeobject GROUP BY 1 ORDER BY 1"
    return server.psql(query, database)


def by_value(server: PostgresServer, database: str) -> dict[str, object]:
    """Every table's columns with their types and collations, and its rows as text, past pg_dump."""
    found: dict[str, object] = {}
    with psycopg.connect(host=server.socket, port=server.port, user=SUPERUSER, dbname=database) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', nspname, relname), c.oid FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind IN ('r', 'm') AND relispopulated AND nspname !~ '^(pg_|inform)'"
        )
        for name, oid in tables.fetchall():
            columns = connection.execute(
                "SELECT attname, format_type(atttypid, atttypmod), attcollation::regcollation::text FROM pg_attribute"
                " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                [oid],
            )
            rows = connection.execute(f'SELECT t::text COLLATE "C" FROM ONLY {name} t ORDER BY 1'.encode())
            found[name] = columns.fetchall(), rows.fetchall()
    return found


@contextmanager
def writing(server: PostgresServer, database: str) -> Iterator[Callable[[], int]]:
    """Move money and note it, in transactions that keep an invariant; yields how many there were."""
    over, done, first = threading.Event(), [0], threading.Event()

    def write() -> None:
        with psycopg.connect(host=server.socket, port=server.port, user=SUPERUSER, dbname=database) as connection:
            while not over.is_set():
                connection.execute("UPDATE account SET balance = balance - 3 WHERE id = %s", [1 + done[0] % 10])
                connection.execute("UPDATE account SET balance = balance + 3 WHERE id = %s", [11 + done[0] % 10])
                connection.execute("INSERT INTO journal VALUES ('moved')")
                connection.commit()
                done[0] += 1
                first.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert first.wait(20)
        yield lambda: done[0]
    finally:
        over.set()
        writer.join(20)


INVARIANT = """SELECT sum(balance) = 2000,
  sum(balance) FILTER (WHERE id > 10) - 1000 = 3 * (SELECT count(*) FROM journal) FROM account"""


def round_trip(item: Item, taken: Taken, server: PostgresServer, at: Executor, undo: RecordingUndo, name: str) -> Taken:
    """Restore as `name`, check it, and dump that as if it were the original."""
    bring(item, taken.data, name, at, undo)
    assert not errors(ENGINE.verify(item, name, taken.end.counts, at, undo))
    again = Item(source_of(server, database=name, format=item.source.options.format), name, item.extension)
    return good(again, at, undo)


@pytest.mark.parametrize(("form", "name"), [("plain", HOSTILE[1]), ("custom", HOSTILE[2])])
def test_everything_comes_back(form: str, name: str, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
    with rich(server, name):
        item = data_item(source_of(server, database=name, format=form), at, undo)
        with writing(server, name) as written:
            before = written()
            taken = good(item, at, undo)
            assert written() > before, "nothing was written meanwhile"
        assert {key for key in taken.end.counts if key.startswith("#") and "extension " not in key} >= KINDS
        copy = f"{name} back"
        bring(item, taken.data, copy, at, undo)
        assert not errors(ENGINE.verify(item, copy, taken.end.counts, at, undo))
        assert server.psql(INVARIANT, copy) == "t|t"
        # once nothing is written any more: exactly equal, and a difference is seen
        server.psql(f"DROP DATABASE {ident(copy)}")
        taken = good(item, at, undo)
        bring(item, taken.data, copy, at, undo)
        if form == "plain":
            assert content(server, copy) == content(server, name)
        assert server.dump(copy) == server.dump(name)
        assert by_value(server, copy) == by_value(server, name)
        assert large_objects(server, copy) == large_objects(server, name)
        server.psql("UPDATE measure SET v = v + 1e-16 WHERE at = '2026-01-02'", copy)
        assert by_value(server, copy) != by_value(server, name)
        server.psql("SELECT lo_put(9004, 3, 'x')", copy)
        assert large_objects(server, copy) != large_objects(server, name)


def test_a_restored_database_dumps_to_the_same_bytes(server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
    """The database's own name occurs nowhere in a dump, so that one restored under a new name gives the same."""
    with rich(server, "shop"):
        item = data_item(source_of(server, database="shop"), at, undo)
        first = good(item, at, undo)
        second = round_trip(item, first, server, at, undo, "shop back")
        assert unkeyed(second.data) == unkeyed(first.data)
        assert second.end.counts == first.end.counts
        server.psql("INSERT INTO cache VALUES (2)", "shop back")
        changed = good(Item(source_of(server, database="shop back"), "shop back", "sql"), at, undo)
        assert unkeyed(changed.data) != unkeyed(first.data)


def unkeyed(data: bytes) -> str:
    """A dump's digest without psql's restrict key, which differs from database to database."""
    lines = (line for line in data.splitlines(keepends=True) if not line.startswith((b"\\restrict ", b"\\unrestrict ")))
    return hashlib.sha256(b"".join(lines)).hexdigest()
