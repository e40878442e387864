"""The engine sqlite: the conformance suite on live database files, and what is SQLite's own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from orchestrator.engines._sqlite_helper import work
from orchestrator.engines.sqlite import COMPANIONS, Options, SqliteEngine, _look
from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import Precondition, ResguardoError, RestoreFailed
from orchestrator.model.execution import Executor
from orchestrator.model.owner import Owner
from orchestrator.model.secret import Secret
from tests.engines.conformance import PipeData, StreamConformance, assert_told, errors
from tests.engines.nobody import as_nobody
from tests.engines.recording import RecordingUndo

ENGINE = SqliteEngine()

SCHEMA = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE, extra BLOB, score REAL, odd);
CREATE TABLE "we""ird 'table'
;" (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer ON DELETE CASCADE,
    price INTEGER, twice INTEGER GENERATED ALWAYS AS (price * 2) STORED, thrice AS (price * 3) VIRTUAL);
CREATE TABLE tag (name TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;
CREATE TABLE strict_one (i INTEGER, t TEXT, b BLOB, a ANY) STRICT;
CREATE TABLE counter (id INTEGER PRIMARY KEY AUTOINCREMENT, seen INTEGER);
CREATE INDEX partial_one ON customer (score) WHERE score > 1;
CREATE INDEX expression_one ON customer (lower(name));
CREATE VIEW rich AS SELECT name FROM customer WHERE score > 100;
CREATE VIRTUAL TABLE page USING fts5 (title, body, tokenize = 'porter');
CREATE TRIGGER count_tags AFTER INSERT ON tag BEGIN INSERT INTO counter (seen) VALUES (new.n); END;
PRAGMA application_id = 1234567;
PRAGMA user_version = 42;
"""


def fill(
    path: Path | str, *, wal: bool = True, page_size: int = 4096, encoding: str = "UTF-8", large: bool = False
) -> None:
    """Make a database with one of everything."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute(f"PRAGMA encoding = '{encoding}'")
        db.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
        db.executescript(SCHEMA)
        rows = [
            (n, f"nämé {n}\n'\"", bytes([0, n % 256, 255, 0]), n / 7, [None, n, str(n), b"\0x", 1.5][n % 5])
            for n in range(300)
        ]
        db.executemany("INSERT INTO customer VALUES (?, ?, ?, ?, ?)", rows)
        weird = '"we""ird \'table\'\n;"'
        db.executemany(f"INSERT INTO {weird} (customer, price) VALUES (?, ?)", [(n, n * 10) for n in range(300)])
        db.executemany("INSERT INTO tag VALUES (?, ?)", [(f"tag {n}", n) for n in range(50)])
        db.executemany(
            "INSERT INTO strict_one VALUES (?, ?, ?, ?)", [(n, "t\0x", b"\0", [n, str(n)][n % 2]) for n in range(9)]
        )
        db.executemany("INSERT INTO page VALUES (?, ?)", [(f"page {n}", f"running words {n}") for n in range(40)])
        if large:
            db.execute("CREATE TABLE bulk (id INTEGER PRIMARY KEY, data BLOB)")
            db.executemany("INSERT INTO bulk (data) VALUES (?)", [(os.urandom(65536),) for _ in range(160)])
        db.commit()


def content(path: str) -> object:
    """Everything in a database file by value and type, read from a copy so that the original is left alone."""
    with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)) as db:
        db.execute("BEGIN")
        schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
        pragmas = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "page_size", "encoding", "journal_mode", "auto_vacuum")
        }
        tables = [name for kind, name, _, _ in schema if kind == "table"]
        quoted = {name: '"' + name.replace('"', '""') + '"' for name in tables}
        rows = {
            name: sorted(
                [
                    tuple((type(value).__name__, value) for value in row)
                    for row in db.execute(f"SELECT * FROM {quoted[name]}")
                ],
                key=repr,
            )
            for name in tables
        }
        found = (
            db.execute("SELECT title FROM page WHERE page MATCH 'run' ORDER BY title").fetchall()
            if "page" in tables
            else []
        )
        return schema, pragmas, rows, found


def _quoted(path: str) -> str:
    return "".join(f"%{byte:02x}" if byte != 0x2F else "/" for byte in os.fsencode(path))


def no_secret(_: object) -> Secret:
    raise AssertionError("SQLite has no secrets")


def source_of(path: Path | str, **options: object) -> Source:
    validated = Options.model_validate({"path": str(path), "busy": "0.5s", **options}, context={"directory": "/"})
    return Source("shop", "main", "sqlite", "default", 60.0, validated, no_secret)


class Opening:
    """An executor; with the last program that it runs somebody opens a file, and goes on to use it."""

    def __init__(self, at: Executor, path: str) -> None:
        self._at = at
        self._path = path
        self._files: list[int] = []

    def run(self, *args: Any, **more: Any) -> Any:
        done = self._at.run(*args, **more)
        self._files.append(os.open(self._path, os.O_RDONLY))
        return done

    def close(self) -> None:
        for file in self._files:
            os.close(file)


class TestSqlite(StreamConformance):
    engine_name = "sqlite"
    broken: ClassVar[Mapping[str, type[ResguardoError] | None]] = {
        "missing": Precondition,
        "directory": Precondition,
        "below a file": Precondition,
        "dangling link": Precondition,
        "fifo": Precondition,
        "empty": Precondition,
        "a few bytes": Precondition,
        "text": None,
        "encrypted": None,
        "damaged page": None,
        "cut": None,
        "missing index entry": None,
        "broken reference": None,
        "exclusively locked": None,
        "hot journal": None,
    }

    @contextmanager
    def make_source(self, tmp: Path, *, name: str = "shop", large: bool = False) -> Iterator[Source]:
        path = tmp / f"{name}.db"
        fill(path, large=large)
        yield source_of(path)

    @contextmanager
    def make_broken(self, label: str, tmp: Path) -> Iterator[Source]:
        path = tmp / "broken.db"
        with _breakers[label](path) or _nothing():
            yield source_of(path / "x" if label == "below a file" else path)

    def item_of(self, source: Source) -> Item:
        return Item(source, os.path.basename(source.options.path), "db")

    def new_name(self, tmp: Path, name: str) -> str:
        return str(tmp / f"{name}.db")

    def exists(self, item: Item, name: str) -> bool:
        return any(os.path.lexists(name + companion) for companion in ("", *COMPANIONS))

    def fingerprint(self, item: Item, name: str | None) -> object:
        path = name or item.source.options.path
        before = {companion: os.path.exists(path + companion) for companion in COMPANIONS}
        found = content(path)
        for companion in ("-wal", "-shm"):  # what reading leaves behind
            if not before[companion] and os.path.exists(path + companion):
                os.unlink(path + companion)
        return found

    def change_original(self, item: Item) -> None:
        with closing(sqlite3.connect(item.source.options.path)) as db:
            db.execute("UPDATE customer SET name = 'someone else' WHERE id = 7")
            db.commit()

    def plant_difference(self, item: Item, name: str) -> None:
        with closing(sqlite3.connect(name)) as db:
            db.execute("DELETE FROM tag WHERE name = 'tag 7'")
            db.commit()

    def state(self, source: Source) -> object:
        folder = os.path.dirname(source.options.path)
        if not os.path.isdir(folder):
            return os.lstat(folder).st_mtime_ns
        return {
            entry.name: (entry.stat(follow_symlinks=False).st_size, entry.stat(follow_symlinks=False).st_mtime_ns)
            for entry in os.scandir(folder)
        }

    @contextmanager
    def write_load(self, item: Item) -> Iterator[Callable[[], int]]:
        path = item.source.options.path
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)")
            db.executemany("INSERT INTO account (balance) VALUES (?)", [(1000,)] * 500)
            db.commit()
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) for _ in range(2)]
        try:
            for writer in writers:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"writing\n"
            yield lambda: _transactions(path)
        finally:
            for writer in writers:
                writer.terminate()
                writer.communicate()

    def assert_invariant(self, item: Item, name: str) -> None:
        with closing(sqlite3.connect(name)) as db:
            assert db.execute("SELECT sum(balance), count(*) FROM account").fetchone() == (500_000, 500)
            moved, noted = db.execute(
                "SELECT (SELECT count(*) FROM counter WHERE seen = -1), (SELECT n FROM tag WHERE name = 'moves')"
            ).fetchone()
            assert moved == noted

    # --- SQLite's own ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("wal", [True, False])
    @pytest.mark.parametrize(("page_size", "encoding"), [(512, "UTF-8"), (65536, "UTF-16le"), (8192, "UTF-16be")])
    def test_every_kind_of_file(
        self, wal: bool, page_size: int, encoding: str, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        path = tmp_path / "kind.db"
        fill(path, wal=wal, page_size=page_size, encoding=encoding)
        item = self.main_item(ENGINE.probe(source_of(path), at, undo))
        assert item.bytes == path.stat().st_size
        before = self.state(item.source)
        taken, name = self.restored(item, at, undo, tmp_path)
        assert self.state(item.source) != before  # only the restored file is new
        os.rename(name, tmp_path.parent / f"{tmp_path.name}-elsewhere.db")
        assert self.state(item.source) == before
        assert self.fingerprint(item, str(tmp_path.parent / f"{tmp_path.name}-elsewhere.db")) == self.fingerprint(
            item, None
        )
        assert taken.data[18:20] == path.read_bytes()[18:20]

    def test_a_probe_starts_no_process_and_opens_nothing(
        self, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        path = tmp_path / "watched.db"
        fill(path)
        opened = subprocess.run(
            [sys.executable, "-c", PROBE, str(path)], check=True, capture_output=True, text=True, timeout=60
        ).stdout
        assert opened == f"{path.stat().st_size} []\n"

    def test_image_alone_is_the_database(self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        plain = tmp_path / "plain.db"
        before = self.fingerprint(item, None)
        plain.write_bytes(self.take(item, at, undo).data)
        assert self.fingerprint(item, str(plain)) == before

    def test_what_is_only_in_the_wal_is_taken(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        with closing(sqlite3.connect(item.source.options.path)) as db:
            db.execute("INSERT INTO tag VALUES ('only in the wal', 1)")
            db.commit()
            assert b"only in the wal" not in Path(item.source.options.path).read_bytes()
            taken = self.take(item, at, undo)
            assert b"only in the wal" in taken.data
            assert taken.end.counts["tag"] == 51

    def test_dump_under_writes_without_wal(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        path = tmp_path / "journal.db"
        fill(path, wal=False)
        item = self.item_of(source_of(path, busy="30s"))
        with self.write_load(item) as committed:
            before = committed()
            taken = self.take(item, at, undo)
            assert committed() > before
        assert taken.end.error == ""
        name = self.bring(item, taken, self.new_name(tmp_path, "restored"), at, undo).name
        self.assert_invariant(item, name)
        assert not errors(ENGINE.verify(item, name, taken.end.counts, at, undo))

    def test_counts_are_of_tables_that_store_rows(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        counts = self.take(item, at, undo).end.counts
        assert counts["customer"] == 300
        assert counts["we\"ird 'table'\n;"] == 300
        assert counts["strict_one"] == 9
        assert counts["page_content"] == 40
        assert "page" not in counts
        assert "sqlite_sequence" not in counts

    def test_name_that_is_not_utf8(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.db")
        fill(tmp_path / "plain.db")
        os.rename(tmp_path / "plain.db", path)
        item = self.main_item(ENGINE.probe(source_of(path), at, undo))
        _, name = self.restored(item, at, undo, tmp_path)
        assert content(name) == content(path)

    def test_cut_image_is_refused_even_when_vouched_for(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        taken = self.take(item, at, undo)
        name = self.new_name(tmp_path, "restored")
        for size in (0, 50, 4096, len(taken.data) - 1):
            with PipeData(taken.data[:size]) as data, pytest.raises(RestoreFailed, match="no whole database"):
                ENGINE.restore(item, data, name, at, undo)
            assert not self.exists(item, name)
            assert not [entry for entry in os.listdir(tmp_path) if "resguardo" in entry]

    def test_quick_check_stores_broken_references_and_says_so(
        self, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        path = tmp_path / "broken.db"
        _break_reference(path)
        item = self.item_of(source_of(path, check="quick"))
        taken, name = self.restored(item, at, undo, tmp_path)
        assert taken.end.error == ""
        assert [finding.level for finding in taken.end.findings] == ["warning"]
        assert "1 rows of" in taken.end.findings[0].message
        found = ENGINE.verify(item, name, taken.end.counts, at, undo)
        assert [finding.level for finding in found] == ["warning"]

    def test_application_collation_needs_the_quick_check(
        self, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        path = tmp_path / "own.db"
        with closing(sqlite3.connect(path)) as db:
            db.create_collation("own", lambda a, b: (a > b) - (a < b))
            db.executescript(
                "CREATE TABLE t (a TEXT COLLATE own); CREATE INDEX i ON t (a); INSERT INTO t VALUES ('x'), ('y');"
            )
        told = self.take(self.item_of(source_of(path)), at, undo).end
        assert "own" in told.error
        assert "check: quick" in str(told.findings[0].hint)
        taken, name = self.restored(self.item_of(source_of(path, check="quick")), at, undo, tmp_path)
        assert taken.end.counts == {"t": 2}
        assert Path(name).exists()

    def test_messages_name_file_fault_and_remedy(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        said = {}
        for label in self.broken:
            folder = tmp_path / label.replace(" ", "_")
            folder.mkdir()
            with self.make_broken(label, folder) as source:
                said[label] = self.take_problem(self.item_of(source), at, undo)
                assert source.options.path in said[label]
        assert "no such file" in said["missing"]
        assert "is empty" in said["empty"]
        for label in ("a few bytes", "text", "encrypted"):
            assert "not an SQLite database" in said[label]
        assert "locked" in said["exclusively locked"]
        assert "transaction" in said["hot journal"]
        assert "refer to rows" in said["broken reference"]
        assert "missing from index" in said["missing index entry"]

    @pytest.mark.root
    def test_rights_that_do_not_suffice(self) -> None:
        with tempfile.TemporaryDirectory(prefix="resguardo-") as name:
            folder, path, out = Path(name), f"{name}/shop.db", f"{name}/out"
            fill(path)
            os.mkdir(out)
            for every in (name, out):
                os.chmod(every, 0o755)
            wal = as_nobody(lambda: work("dump", [path, out, "1", "full"]))
            assert "to write in its directory" in wal
            assert "'kind': 'rights'" in wal
            os.chmod(path, 0o600)
            assert (
                as_nobody(lambda: _look(path))
                == f"RightsMissing: {path!r}: cannot be read\nHINT: run as its owner or as root"
            )
            assert "'kind': 'rights'" in as_nobody(lambda: work("dump", [path, out, "1", "full"]))
            os.chmod(folder, 0o700)
            assert as_nobody(lambda: _look(path)).startswith("RightsMissing")

    def test_swap_is_refused_while_in_use(self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        _, name = self.restored(item, at, undo, tmp_path)
        path = item.source.options.path
        user = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert user.stdout is not None
        assert user.stdout.readline() == b"open\n"
        before = self.state(item.source)
        try:
            (foretold,) = ENGINE.original(item, at).findings
            assert f"({user.pid})" in foretold.message
            assert foretold.level == "warning"
            with pytest.raises(Precondition, match=f"in use by .*{user.pid}") as caught:
                ENGINE.swap(item, name, self.new_name(tmp_path, "kept"), at, undo)
            assert_told(caught.value)
            assert self.state(item.source) == before
        finally:
            user.communicate()

    def test_who_opens_it_while_it_is_swapped_is_told(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        _, name = self.restored(item, at, undo, tmp_path)
        path = item.source.options.path
        subprocess.run([sys.executable, "-c", LATE, path], check=True)
        late = Opening(at, path)
        try:
            kept = ENGINE.swap(item, name, self.new_name(tmp_path, "kept"), cast("Executor", late), undo)
        finally:
            late.close()
        (found,) = errors(kept.findings)
        assert f"({os.getpid()})" in found.message
        assert repr(kept.name) in found.message
        assert found.hint is not None

    def test_swap_keeps_what_was_only_in_the_wal(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        _, name = self.restored(item, at, undo, tmp_path)
        path = item.source.options.path
        crashed = LATE
        subprocess.run([sys.executable, "-c", crashed, path], check=True)
        assert os.path.getsize(f"{path}-wal")
        kept = ENGINE.swap(item, name, self.new_name(tmp_path, "kept"), at, undo).name
        assert kept is not None
        assert not os.path.exists(f"{path}-wal")
        with closing(sqlite3.connect(kept)) as db:
            assert db.execute("SELECT n FROM tag WHERE name = 'late'").fetchone() == (1,)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT n FROM tag WHERE name = 'late'").fetchone() is None

    def test_swap_replaces_a_damaged_file_and_keeps_its_companions(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        taken, name = self.restored(item, at, undo, tmp_path)
        path = item.source.options.path
        Path(path).write_bytes(b"no database any more")
        Path(f"{path}-wal").write_bytes(b"junk")
        kept = ENGINE.swap(item, name, self.new_name(tmp_path, "kept"), at, undo).name
        assert Path(f"{kept}").read_bytes() == b"no database any more"
        assert Path(f"{kept}-wal").read_bytes() == b"junk"
        assert not os.path.exists(f"{path}-wal")
        assert not errors(ENGINE.verify(item, path, taken.end.counts, at, undo))

    def test_swap_into_a_lost_files_place(self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        content_before = self.fingerprint(item, None)
        _, name = self.restored(item, at, undo, tmp_path)
        os.unlink(item.source.options.path)
        assert ENGINE.swap(item, name, self.new_name(tmp_path, "kept"), at, undo).name is None
        assert self.fingerprint(item, None) == content_before

    @pytest.mark.root
    def test_swap_keeps_owner_and_mode(self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        path = item.source.options.path
        os.chown(path, 1234, 4321)
        os.chmod(path, 0o640)
        _, name = self.restored(item, at, undo, tmp_path)
        assert (os.stat(name).st_mode & 0o7777, os.stat(name).st_uid) == (0o600, os.geteuid())
        ENGINE.swap(item, name, self.new_name(tmp_path, "kept"), at, undo)
        status = os.stat(path)
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 4321, 0o640)

    @pytest.mark.root
    def test_lost_file_gets_its_owner_and_mode_back(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        path = item.source.options.path
        os.chown(path, 1234, 4321)
        os.chmod(path, 0o4640)
        taken = self.take(item, at, undo)
        assert taken.end.owner == Owner("", "", 1234, 4321, "4640")
        os.unlink(path)
        known = replace(item, owner=taken.end.owner)
        name = self.bring(known, taken, self.new_name(tmp_path, "new"), at, undo).name
        ENGINE.swap(known, name, self.new_name(tmp_path, "kept"), at, undo)
        status = os.stat(path)
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 4321, 0o640)

    @pytest.mark.root
    def test_lost_file_without_a_known_owner_takes_its_folders_and_says_so(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        path = item.source.options.path
        _, name = self.restored(item, at, undo, tmp_path)
        os.unlink(path)
        os.chown(os.path.dirname(path), 1234, 4321)
        (note,) = ENGINE.swap(item, name, self.new_name(tmp_path, "kept"), at, undo).findings
        assert note.level == "warning"
        assert "1234:4321" in note.message
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (1234, 4321)

    def test_relative_names_lie_beside_the_source(
        self, item: Item, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        name = self.bring(item, self.take(item, at, undo), "beside.db", at, undo).name
        assert name == str(tmp_path / "beside.db")
        assert ENGINE.swap(item, "beside.db", "old.db", at, undo).name == str(tmp_path / "old.db")


PROBE = """
import sys
from pathlib import Path
from orchestrator.engines.sqlite import ENGINE, Options
from orchestrator.model.engine import Source
options = Options.model_validate({"path": sys.argv[1]}, context={"directory": "/"})
source = Source("shop", "main", "sqlite", "default", 60.0, options, lambda _: None)
seen = []
ENGINE.probe(source, None, None)
watched = ("open", "subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork")
sys.addaudithook(lambda event, arguments: seen.append((event, arguments)) if event in watched else None)
print(ENGINE.probe(source, None, None).items[0].bytes, seen)
"""

LATE = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("INSERT INTO tag VALUES ('late', 1)")
db.commit()
os._exit(0)
"""

CRASH = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN")
db.execute("UPDATE customer SET name = hex(randomblob(2000))")
os._exit(0)
"""

HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
print("open", flush=True)
sys.stdin.read()
"""

WRITER = """
import random, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("PRAGMA synchronous = OFF")
db.execute("INSERT OR IGNORE INTO tag VALUES ('moves', 0)")
first = True
while True:
    a, b = random.sample(range(1, 501), 2)
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE account SET balance = balance - 7 WHERE id = ?", (a,))
    db.execute("INSERT INTO counter (seen) VALUES (-1)")
    db.execute("UPDATE account SET balance = balance + 7 WHERE id = ?", (b,))
    db.execute("UPDATE tag SET n = n + 1 WHERE name = 'moves'")
    db.execute("COMMIT")
    if first:
        print("writing", flush=True)
        first = False
    time.sleep(0.001)  # without a breath in between the locks of SQLite's journal may starve a reader for ever
"""


def _transactions(path: str) -> int:
    with closing(sqlite3.connect(path, timeout=30)) as db:
        found: int = db.execute("SELECT n FROM tag WHERE name = 'moves'").fetchone()[0]
        return found


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _damage_page(path: Path) -> None:
    fill(path, wal=False)
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 64] = os.urandom(64)
    path.write_bytes(data)


def _cut(path: Path) -> None:
    fill(path, wal=False)
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def _lose_index_entry(path: Path) -> None:
    fill(path, wal=False)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, 'score > 1', 'score > 0') WHERE name = 'partial_one'")
        db.commit()


def _break_reference(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM customer WHERE id = 5")
        db.commit()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fill(path, wal=False)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield


def _hot_journal(path: Path) -> None:
    fill(path, wal=False)
    subprocess.run([sys.executable, "-c", CRASH, str(path)], check=True)
    assert os.path.getsize(f"{path}-journal")


_breakers: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "directory": lambda path: path.mkdir(),
    "below a file": lambda path: (path.write_bytes(b"x"), None)[1],
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "fifo": os.mkfifo,
    "empty": lambda path: path.touch(),
    "a few bytes": lambda path: (path.write_bytes(b"SQLite format 3\0"), None)[1],
    "text": lambda path: (path.write_text("just some notes\n" * 100), None)[1],
    "encrypted": lambda path: (path.write_bytes(os.urandom(8192)), None)[1],
    "damaged page": _damage_page,
    "cut": _cut,
    "missing index entry": _lose_index_entry,
    "broken reference": _break_reference,
    "exclusively locked": _locked,
    "hot journal": _hot_journal,
}
