"""SQLite databases as rich as the field's: dumped, restored, dumped again byte for byte; and what must not be taken."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orchestrator.engines.sqlite import SqliteEngine
from orchestrator.model.engine import Item
from orchestrator.model.errors import DataDamaged, DumpFailed, ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor, StreamReport
from orchestrator.runs.store import vouched
from tests.engines.conformance import PipeData, Taken, assert_told, errors, read_all, trailer_problem
from tests.engines.recording import RecordingUndo
from tests.engines.test_sqlite import source_of

ENGINE = SqliteEngine()
SCHEMA = r"""
PRAGMA application_id = 1296253769;
PRAGMA user_version = -7;
CREATE TABLE customer (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE UNIQUE ON CONFLICT ABORT,
  mail TEXT CHECK (mail LIKE '%@%'), born TEXT DEFAULT (date('now')), score REAL DEFAULT 1e-300, photo BLOB, any_kind,
  lower_name TEXT GENERATED ALWAYS AS (lower(name)) STORED, twice REAL AS (score * 2) VIRTUAL);
CREATE TABLE "or""der's
[table]; --" (
  customer INTEGER NOT NULL REFERENCES customer (id) ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED,
  number INTEGER, total NUMERIC, PRIMARY KEY (customer, number DESC)) WITHOUT ROWID;
CREATE TABLE typed (i INT PRIMARY KEY, r REAL, t TEXT, b BLOB, a ANY) STRICT;
CREATE TABLE typed_too (k TEXT PRIMARY KEY, v ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE audit (what TEXT, who TEXT, at TEXT);
CREATE TABLE empty (a, b, c);
CREATE TABLE wide (WIDE);
CREATE INDEX dear ON "or""der's
[table]; --" (total DESC) WHERE total > 100;
CREATE INDEX by_expression ON customer (substr(mail, instr(mail, '@') + 1) COLLATE RTRIM, score + 1);
CREATE UNIQUE INDEX of_generated ON customer (lower_name);
CREATE VIEW rich (name, sum) AS WITH t AS (SELECT customer, sum(total) AS s FROM "or""der's
[table]; --" GROUP BY 1) SELECT name, s FROM customer JOIN t ON id = customer WHERE s > 50;
CREATE TRIGGER note_insert AFTER INSERT ON customer WHEN new.score > 1
  BEGIN INSERT INTO audit VALUES ('insert', new.name, 'then; END'); END;
CREATE TRIGGER note_update BEFORE UPDATE OF name ON customer BEGIN
  SELECT RAISE(ABORT, 'names stay') WHERE old.name = 'fixed'; INSERT INTO audit VALUES ('update', old.name, ''); END;
CREATE TRIGGER instead INSTEAD OF INSERT ON rich BEGIN INSERT INTO audit VALUES ('view', new.name, ''); END;
CREATE VIRTUAL TABLE page USING fts5 (title, body, tokenize = "unicode61 remove_diacritics 2", prefix = '2 3');
CREATE VIRTUAL TABLE bare USING fts5 (body, content = '');
CREATE VIRTUAL TABLE linked USING fts5 (name, content = 'customer', content_rowid = 'id');
CREATE VIRTUAL TABLE place USING rtree (id, left, right, bottom, top, +label);
"""
WIDE = ", ".join(f"column_{n} INTEGER DEFAULT {n}" for n in range(900))
ORDERS = '"or""der\'s\n[table]; --"'


def rich(path: Path, *, wal: bool = True, seed: int = 1) -> None:
    """Make the database; with `wal` what was written last is in the -wal of a killed process alone."""
    choice = random.Random(seed)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        db.execute("PRAGMA foreign_keys = ON")
        db.executescript(SCHEMA.replace("WIDE", WIDE))
        kinds = [None, 0, -(2**63), 2**63 - 1, 1.5, float("inf"), 5e-324, "", "text\0with zero", b"", b"\0\xff"]
        db.executemany(
            "INSERT INTO customer (name, mail, score, photo, any_kind) VALUES (?, ?, ?, ?, ?)",
            [
                (
                    f"Nämé {n} 日本 '\"",
                    f"{n}@host{n % 7} ",
                    n / 7,
                    choice.randbytes(n * 7 % 5000),
                    kinds[n % len(kinds)],
                )
                for n in range(400)
            ],
        )
        db.executemany(
            f"INSERT INTO {ORDERS} VALUES (?, ?, ?)",
            [(1 + n % 400, n, [n, n / 3, str(n), None][n % 4]) for n in range(2000)],
        )
        db.executemany(
            "INSERT INTO typed VALUES (?, ?, ?, ?, ?)",
            [(n, float(n), f"t{n}", bytes([n % 256]), kinds[1:][n % 10]) for n in range(200)],
        )
        db.executemany("INSERT INTO typed_too VALUES (?, ?)", [(f"k{n}", kinds[1:][n % 10]) for n in range(200)])
        db.execute("INSERT INTO wide DEFAULT VALUES")
        db.executemany(
            "INSERT INTO page VALUES (?, ?)", [(f"title {n}", f"words wörds running {n}") for n in range(300)]
        )
        db.executemany("INSERT INTO bare (rowid, body) VALUES (?, ?)", [(n, f"unstored {n}") for n in range(50)])
        db.execute("INSERT INTO linked (linked) VALUES ('rebuild')")
        db.executemany(
            "INSERT INTO place VALUES (?, ?, ?, ?, ?, ?)", [(n, n, n + 1, -n, 1 - n, f"p{n}") for n in range(200)]
        )
        db.execute("INSERT INTO rich VALUES ('through the view', 1)")
        db.execute("DELETE FROM page WHERE rowid % 10 = 0")
        db.execute("DELETE FROM typed WHERE i % 13 = 0")  # pages and cells that are free
        db.execute("ANALYZE")
        db.commit()
    if wal:
        code = (
            "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('PRAGMA wal_autocheckpoint = 0');"
            "d.execute(\"INSERT INTO audit VALUES ('in the wal', 'alone', '')\"); d.commit(); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
        assert os.path.getsize(f"{path}-wal") > 0


def content(path: Path | str) -> tuple[object, ...]:
    """Everything by value and type: schema, properties, rows with their rowids, statistics, searches."""
    with closing(sqlite3.connect(path)) as db:
        schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid").fetchall()
        names = ("application_id", "user_version", "encoding", "page_size", "auto_vacuum", "journal_mode")
        properties = [db.execute(f"PRAGMA {name}").fetchone() for name in names]
        rows = {}
        for kind, name, _, sql in schema:
            if kind == "table" and "content = ''" not in (sql or ""):
                quoted = '"' + name.replace('"', '""') + '"'
                hidden = [row[1] for row in db.execute(f"PRAGMA table_xinfo({quoted})") if row[6] != 1]
                columns = ", ".join('"' + column.replace('"', '""') + '"' for column in hidden)
                types = ", ".join(f'typeof("{column}")' for column in hidden)
                rows[name] = sorted(db.execute(f"SELECT {columns}, {types} FROM {quoted}"), key=repr)
        searches = [
            db.execute("SELECT rowid, title, highlight(page, 1, '<', '>') FROM page WHERE page MATCH 'wo*'").fetchall(),
            db.execute("SELECT rowid, rank FROM bare WHERE bare MATCH 'unstored' ORDER BY rowid").fetchall(),
            db.execute("SELECT rowid FROM linked WHERE linked MATCH 'name' ORDER BY rowid").fetchall(),
            db.execute("SELECT id, label FROM place WHERE left > 10 AND right < 20 ORDER BY id").fetchall(),
            db.execute("SELECT * FROM rich ORDER BY 1").fetchall(),
            db.execute("SELECT seq FROM sqlite_sequence").fetchall(),
        ]
        assert len(searches[0]) > 200
        return schema, properties, rows, searches


def item_of(path: Path, **options: object) -> Item:
    return Item(source_of(path, **options), path.name, "db")


def take(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    with ENGINE.dump(item, at, undo) as dump:
        data = read_all(dump.fd)
        return Taken(data, dump.finish(), dump.trailer)


def good(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    taken = take(item, at, undo)
    assert taken.end.error == ""
    assert taken.end.counts_exact
    assert not trailer_problem(taken.data, taken.trailer)
    return taken


def bring(item: Item, data: bytes, to: Path, at: Executor, undo: RecordingUndo, *, damaged: bool = False) -> Path:
    with PipeData(data, damaged=damaged) as pipe:
        return Path(ENGINE.restore(item, pipe, str(to), at, undo).name)


@contextmanager
def elsewhere(path: Path, folder: Path) -> Iterator[Path]:
    """A copy to look at: reading a WAL database makes files beside it."""
    folder.mkdir()
    for companion in ("", "-wal"):
        if os.path.exists(f"{path}{companion}"):
            shutil.copy(f"{path}{companion}", folder / f"look{companion}")
    yield folder / "look"
    shutil.rmtree(folder)


@pytest.mark.parametrize("wal", [True, False])
def test_everything_comes_back(wal: bool, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    rich(tmp_path / "shop.db", wal=wal)
    item = item_of(tmp_path / "shop.db")
    with elsewhere(tmp_path / "shop.db", tmp_path / "x") as look:
        before = content(look)
    taken = good(item, at, undo)
    assert taken.end.counts["or\"der's\n[table]; --"] == 2000
    assert taken.end.counts["audit"] == len(before[2]["audit"])  # type: ignore[call-overload]
    back = bring(item, taken.data, tmp_path / "back.db", at, undo)
    assert not errors(ENGINE.verify(item, str(back), taken.end.counts, at, undo))
    with elsewhere(back, tmp_path / "x") as look:
        assert content(look) == before
        with closing(sqlite3.connect(look)) as db:
            assert ("in the wal", "alone", "") in db.execute("SELECT * FROM audit").fetchall() or not wal
            db.execute("INSERT INTO customer (name, mail, score) VALUES ('new', 'a@b', 5)")
            assert db.execute("SELECT count(*) FROM audit WHERE who = 'new'").fetchone() == (1,)
            with pytest.raises(sqlite3.IntegrityError):
                db.execute("INSERT INTO typed VALUES ('no number', 1.0, 't', x'00', 1)")
            for table in ("page", "linked"):
                db.execute(f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")
            assert db.execute("SELECT rtreecheck('place')").fetchone() == ("ok",)


@pytest.mark.parametrize("wal", [True, False])
def test_a_dump_of_what_was_restored_is_the_same(wal: bool, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    rich(tmp_path / "shop.db", wal=wal)
    first = good(item_of(tmp_path / "shop.db"), at, undo)
    back = bring(item_of(tmp_path / "shop.db"), first.data, tmp_path / "back.db", at, undo)
    second = good(item_of(back), at, undo)
    assert second.data == first.data
    assert second.end.counts == first.end.counts
    again = bring(item_of(back), second.data, tmp_path / "again.db", at, undo)
    assert good(item_of(again), at, undo).data == first.data


def test_cut_dumps_are_never_stored_nor_restored(at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    rich(tmp_path / "shop.db")
    item = item_of(tmp_path / "shop.db")
    taken = good(item, at, undo)
    seed = random.randrange(1 << 30)
    choice = random.Random(seed)
    for size in [choice.randrange(len(taken.data)) for _ in range(8)] + [0, len(taken.data) - 1]:
        cut = taken.data[:size]
        with pytest.raises(DumpFailed):
            vouched(StreamReport(size, "", trailer_problem(cut, taken.trailer)), taken.end)
        for damaged in (False, True):
            with pytest.raises((RestoreFailed, DataDamaged)):
                bring(item, cut, tmp_path / "back.db", at, undo, damaged=damaged)
            assert not (tmp_path / "back.db").exists(), f"seed {seed}: cut at {size} of {len(taken.data)}"


def test_cut_databases_are_never_taken(at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    rich(tmp_path / "whole.db", wal=False)
    whole = (tmp_path / "whole.db").read_bytes()
    seed = random.randrange(1 << 30)
    choice = random.Random(seed)
    for size in [choice.randrange(len(whole)) for _ in range(8)] + [0, len(whole) - 1]:
        path = tmp_path / "cut.db"
        path.write_bytes(whole[:size])
        try:
            problem = take(item_of(path), at, undo).end.error
        except ResguardoError as error:
            assert_told(error)
            problem = error.message
        assert problem, f"seed {seed}: a database cut at {size} of {len(whole)} bytes was taken"


@pytest.mark.parametrize("wal", [True, False])
def test_a_file_that_is_replaced_gives_one_of_both(
    wal: bool, at: Executor, undo: RecordingUndo, tmp_path: Path
) -> None:
    """While an application puts new databases in the place of old ones, each dump is whole: the one or the other."""
    images = []
    for seed in (1, 2):
        made = tmp_path / f"made {seed}"
        rich(made, wal=False, seed=seed)
        if wal:
            with closing(sqlite3.connect(made)) as db:
                db.execute("PRAGMA journal_mode = WAL")
        images.append(good(item_of(made), at, undo).data)
    path, over, turns = tmp_path / "shop.db", threading.Event(), [0]
    path.write_bytes(images[0])

    def replace() -> None:
        while not over.is_set():
            turns[0] += 1
            (tmp_path / "next").write_bytes(images[turns[0] % 2])
            (tmp_path / "next").rename(path)
            over.wait(0.002)

    replacing = threading.Thread(target=replace)
    replacing.start()
    found: list[int | None] = []
    try:
        for _ in range(6):
            before = turns[0]
            taken = take(item_of(path), at, undo)
            assert turns[0] > before, "nothing was replaced meanwhile"
            if taken.end.error:
                found.append(None)
                continue
            assert taken.data in images, "a mixture was taken"
            assert vouched(StreamReport(len(taken.data), str(taken.end.sha256)), taken.end) == taken.end
            found.append(images.index(taken.data))
    finally:
        over.set()
        replacing.join()
    assert {0, 1} & set(found), "no dump was possible"


def test_a_file_that_is_replaced_while_its_dump_is_read(at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
    rich(tmp_path / "shop.db", wal=False, seed=1)
    rich(tmp_path / "other.db", wal=False, seed=2)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        db.execute("CREATE TABLE bulk AS WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 64) "
                   "SELECT i, randomblob(65536) FROM n")  # fmt: skip
        db.commit()
    item = item_of(tmp_path / "shop.db")
    whole = good(item, at, undo).data
    with ENGINE.dump(item, at, undo) as dump:
        first = os.read(dump.fd, 1000)
        (tmp_path / "other.db").rename(tmp_path / "shop.db")
        assert first + read_all(dump.fd) == whole
        assert dump.finish().error == ""
