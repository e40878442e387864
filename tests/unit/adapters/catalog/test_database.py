"""The file itself: private, migrated, shared by threads and processes, unharmed by kills, clear when damaged."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.adapters.catalog import SqliteCatalog, set_aside
from orchestrator.adapters.catalog.database import Database
from orchestrator.adapters.catalog.migrate import MIGRATIONS
from orchestrator.model.errors import Precondition
from orchestrator.model.point import State
from orchestrator.model.record import Event
from tests.unit.adapters.catalog.builders import START, manifest, record

VERSION_1 = Path(__file__).with_name("version1.sql")
ROOT = Path(__file__).parents[4]


def script(body: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", body, *arguments]


def modes(folder: str) -> dict[str, int]:
    return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(folder)}


def test_the_file_and_its_logs_are_private(catalog: SqliteCatalog, path: str) -> None:
    catalog.put("a", "b")
    found = modes(os.path.dirname(path))
    assert found == {"catalog.db": 0o600, "catalog.db-wal": 0o600, "catalog.db-shm": 0o600}
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_a_file_open_to_others_is_closed_to_them(path: str) -> None:
    SqliteCatalog(path).close()
    os.chmod(path, 0o644)
    SqliteCatalog(path).close()
    assert modes(os.path.dirname(path))["catalog.db"] == 0o600


def test_a_link_in_the_catalogs_place_is_not_followed(path: str, tmp_path: Path) -> None:
    os.makedirs(os.path.dirname(path))
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(Precondition, match=r"catalog .*: "):
        SqliteCatalog(path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "content", [b"this is not a database, by far\n" * 300, b"SQLite format 3\x00" + b"\xff" * 9000]
)
def test_what_is_no_database_is_said_with_the_remedy(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(content)
    with pytest.raises(Precondition) as caught:
        SqliteCatalog(path)
    assert path in caught.value.message
    assert "resguardo catalog rebuild" in (caught.value.hint or "")
    assert caught.value.exit_code == 4
    assert Path(path).read_bytes() == content


def test_damage_met_later_is_said_with_the_remedy(path: str) -> None:
    with SqliteCatalog(path) as catalog, catalog.batch():
        for number in range(200):
            catalog.add_point(manifest(number), "local", {"dumps": "d"}, f"c{number}")
    content = bytearray(Path(path).read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xa5" * 200
    Path(path).write_bytes(content)
    with pytest.raises(Precondition, match=r"malformed|corrupt") as caught, SqliteCatalog(path) as catalog:
        catalog.points()
    assert "resguardo catalog rebuild" in (caught.value.hint or "")


def test_another_programs_database_is_left_alone(path: str) -> None:
    os.makedirs(os.path.dirname(path))
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    before = Path(path).read_bytes()
    with pytest.raises(Precondition, match="another program"):
        SqliteCatalog(path)
    assert Path(path).read_bytes() == before


def test_a_newer_catalog_is_refused(path: str) -> None:
    SqliteCatalog(path).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO migration VALUES (99, 0, '9.0')")
    with pytest.raises(Precondition, match="its version is 99") as caught:
        SqliteCatalog(path)
    assert "newer resguardo" in (caught.value.hint or "")


def test_a_catalog_without_its_migration_table_is_said(path: str) -> None:
    SqliteCatalog(path).close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TABLE migration")
    with pytest.raises(Precondition, match="table migration") as caught:
        SqliteCatalog(path)
    assert "resguardo catalog rebuild" in (caught.value.hint or "")


def test_set_aside_keeps_what_was_there(path: str) -> None:
    assert set_aside(path, START) is None
    with SqliteCatalog(path) as catalog:
        catalog.put("a", "b")
        kept = set_aside(path, START)
    assert kept == f"{path}.20240229T010203Z"
    with SqliteCatalog(path) as catalog:
        assert catalog.get("a") is None
    with SqliteCatalog(kept) as old:
        assert old.get("a") == "b"


def make(path: str, statements: str) -> None:
    os.makedirs(os.path.dirname(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)


def test_a_catalog_of_version_1_is_read_by_this_program(path: str) -> None:
    make(path, VERSION_1.read_text())
    with SqliteCatalog(path) as catalog:
        (point,) = catalog.points()
        assert (point.id, point.state, point.bytes) == (manifest().point, State.PROVEN, 1000)
        assert dict(point.snapshots) == {"dumps": "d1", "commit": "c1"}
        assert catalog.newest_manifest("local") == manifest()
        assert [run.id for run in catalog.runs()] == [record().id]
        assert catalog.get("forget.last.local") == "yesterday"


def test_damage_that_was_known_before_causes_and_parts_were_kept_stays(path: str) -> None:
    make(path, VERSION_1.read_text())
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("UPDATE point SET damaged = 1")
        known = [("damage.local", '{"part": "3/20", "error": "pack 12"}'), ("damage.offsite", "")]
        old.executemany("INSERT INTO value (key, value) VALUES (?, ?)", known)
    with SqliteCatalog(path) as catalog:
        assert [point.damaged for point in catalog.points()] == [True]
        assert catalog.get("damage.local") == '{"3/20":"pack 12"}'
        assert catalog.get("damage.offsite") == ""
        catalog.set_missing(manifest().point, "local", missing=False)
        assert [point.damaged for point in catalog.points()] == [True]


def migrations_with(folder: Path, sql: str) -> str:
    shutil.copytree(MIGRATIONS, folder)
    newest = max(int(name.removesuffix(".sql")) for name in os.listdir(folder))
    (folder / f"{newest + 1:04}.sql").write_text(sql)
    return str(folder)


def test_a_later_migration_is_applied_once_and_keeps_the_data(path: str, tmp_path: Path) -> None:
    make(path, VERSION_1.read_text())
    later = migrations_with(tmp_path / "migrations", "ALTER TABLE value ADD COLUMN note TEXT;\nDROP VIEW runs;\n")
    for _ in range(2):
        with Database(path, later) as database:
            assert database.rows("SELECT key, value, note FROM value") == [("forget.last.local", "yesterday", None)]
            versions = [version for (version,) in database.rows("SELECT version FROM migration ORDER BY version")]
            assert versions == list(range(1, len(os.listdir(later)) + 1))


def test_a_migration_that_fails_halfway_changes_nothing(path: str, tmp_path: Path) -> None:
    make(path, VERSION_1.read_text())
    broken = migrations_with(tmp_path / "migrations", "DROP TABLE outbox;\nDROP TABLE never_was;\n")
    with pytest.raises(sqlite3.OperationalError, match="never_was"):
        Database(path, broken)
    with SqliteCatalog(path) as catalog:
        assert catalog.outbox() == []
        assert len(catalog.points()) == 1


WRITER = """
import sys
from orchestrator.adapters.catalog import SqliteCatalog
from tests.unit.adapters.catalog.builders import manifest
catalog = SqliteCatalog(sys.argv[1])
for number in range(10_000):
    with catalog.batch():
        catalog.add_point(manifest(number), "local", {"dumps": "d"}, f"c{number}")
        print("inside", number, flush=True)
        catalog.put("last", str(number))
    print("committed", number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 4, 17, 40])
def test_a_killed_writer_loses_nothing_committed_and_leaves_nothing_half(path: str, lines: int) -> None:
    """The pipe holds the writer back: it is killed inside a transaction (odd lines) or just after one (even)."""
    process = subprocess.Popen(script(WRITER, path), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    with process, process.stdout as output:
        said = [output.readline() for _ in range(lines)]
        process.kill()
        said += output.readlines()
    assert process.returncode == -signal.SIGKILL
    committed = [int(line.split()[1]) for line in said if line.startswith("committed") and line.endswith("\n")]
    with SqliteCatalog(path) as catalog:
        stored = sorted(int(point.snapshots["commit"][1:]) for point in catalog.points())
        assert stored == list(range(len(stored)))
        assert len(stored) >= len(committed)
        assert catalog.get("last") == (str(stored[-1]) if stored else None)
        assert catalog._db.row("PRAGMA integrity_check") == ("ok",)
        assert catalog._db.rows("PRAGMA foreign_key_check") == []
        catalog.add_point(manifest(20_000), "local", {}, "next")


MANY = """
import sys
from orchestrator.adapters.catalog import SqliteCatalog
from orchestrator.model.record import Event
from tests.unit.adapters.catalog.builders import START
sys.stdin.read()
with SqliteCatalog(sys.argv[1]) as catalog:
    for number in range(100):
        catalog.add_event(Event(START, "test.written", "info", f"{sys.argv[2]} {number}"))
        count = int(catalog.get(sys.argv[2]) or 0)
        catalog.put(sys.argv[2], str(count + 1))
"""


def test_processes_that_create_and_write_at_once_wait_for_each_other(path: str) -> None:
    names = ["one", "two", "three"]
    crowd = [
        subprocess.Popen(script(MANY, path, name), stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        for name in names
    ]
    for process in crowd:
        assert process.stdin
        process.stdin.close()
    for process in crowd:
        assert process.stderr
        with process.stderr as errors:
            complaint = errors.read()
        assert process.wait(60) == 0, complaint.decode()
    with SqliteCatalog(path) as catalog:
        assert [catalog.get(name) for name in names] == ["100"] * 3
        assert len(catalog.events(limit=1000)) == 300
        newest = len([name for name in os.listdir(MIGRATIONS) if name.endswith(".sql")])
        versions = catalog._db.rows("SELECT version FROM migration ORDER BY version")
        assert versions == [(number,) for number in range(1, newest + 1)]


def test_threads_share_one_catalog(catalog: SqliteCatalog) -> None:
    errors: list[BaseException] = []

    def work(lane: int) -> None:
        try:
            for number in range(40):
                catalog.add_event(Event(START, "test.written", "info", f"{lane} {number}"))
                with catalog.batch():
                    catalog.put("total", str(int(catalog.get("total") or 0) + 1))
                catalog.points()
        except BaseException as error:  # noqa: BLE001  (shown by the assertion below)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert catalog.get("total") == "160"
    assert len(catalog.events(limit=1000)) == 160


def test_a_reader_sees_the_last_committed_state_while_a_writer_is_at_work(catalog: SqliteCatalog, path: str) -> None:
    catalog.put("key", "old")
    with SqliteCatalog(path) as reader:
        with catalog.batch():
            catalog.put("key", "new")
            assert reader.get("key") == "old"
        assert reader.get("key") == "new"


def test_an_interrupt_inside_a_transaction_rolls_it_back(catalog: SqliteCatalog) -> None:
    def interrupted() -> None:
        with catalog.batch():
            catalog.put("key", "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert catalog.get("key") is None
    catalog.put("key", "whole")
    assert catalog.get("key") == "whole"


def test_opening_needs_no_slow_module() -> None:
    body = "import sys, orchestrator.adapters.catalog\nprint(*sys.modules)"
    done = subprocess.run(script(body), capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "sqlite3" in loaded
    assert not loaded & {"pydantic", "rich", "statistics", "psycopg", "docker", "apprise", "subprocess"}


def test_the_age_of_time_does_not_matter(catalog: SqliteCatalog) -> None:
    for when in (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)):
        catalog.mark_seen("local", when)
        assert catalog.seen("local") == when
