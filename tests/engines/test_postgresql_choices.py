"""PostgreSQL: which databases, which tables' rows, definitions or rows alone, upkeep, configuration files."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines.postgresql import ENGINE
from orchestrator.engines.postgresql.configuration import archive, unpack
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.engines.postgresql.tools import _RESTRICT, NEWEST, choose
from orchestrator.model.engine import Item
from orchestrator.model.errors import Precondition, RestoreFailed, ToolMissing
from orchestrator.model.execution import Address, Completed, Executor, Exit
from tests.engines.conformance import HOSTILE, assert_told, errors
from tests.engines.recording import RecordingUndo
from tests.engines.servers.postgresql import SUPERUSER, PostgresServer
from tests.engines.test_postgresql import databases, made, source_of
from tests.engines.test_postgresql_own import bring, data_item, good, session

SHOP = """
CREATE SCHEMA audit; CREATE SCHEMA "Odd.One";
CREATE TABLE customer (id int PRIMARY KEY, name text); CREATE TABLE orders (id int PRIMARY KEY, customer int
  REFERENCES customer); CREATE TABLE session (id int PRIMARY KEY); CREATE TABLE audit.log (what text);
CREATE TABLE audit.old (what text); CREATE TABLE "Odd.One"."it's ""a*" (a int); CREATE TABLE "it's ""a*b" (a int);
CREATE TABLE measure (at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE measure_1 PARTITION OF measure FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE measure_2 PARTITION OF measure FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE MATERIALIZED VIEW names AS SELECT name FROM customer;
INSERT INTO customer SELECT n, 'n' || n FROM generate_series(1, 5) n; INSERT INTO orders VALUES (1, 1), (2, 2);
INSERT INTO session SELECT generate_series(1, 7); INSERT INTO audit.log VALUES ('x');
INSERT INTO audit.old VALUES ('y');
INSERT INTO "Odd.One"."it's ""a*" VALUES (1); INSERT INTO "it's ""a*b" VALUES (1), (2);
INSERT INTO measure SELECT date '2026-01-01' + n FROM generate_series(0, 50) n;
REFRESH MATERIALIZED VIEW names; SELECT lo_from_bytea(7001, 'abc');
"""
FULL = {
    "public.customer": 5,
    "public.orders": 2,
    "public.session": 7,
    "audit.log": 1,
    "audit.old": 1,
    '"Odd.One"."it\'s ""a*"': 1,
    'public."it\'s ""a*b"': 2,
    "public.measure_1": 31,
    "public.measure_2": 20,
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="class")
def shop(server: PostgresServer) -> Iterator[PostgresServer]:
    with made(server, "shop", SHOP):
        yield server


def rows(counts: Any) -> dict[str, int]:
    return {name: count for name, count in counts.items() if not name.startswith("#")}


def definitions(server: PostgresServer, database: str) -> str:
    return server.dump(database, "--schema-only")


@pytest.fixture(scope="class")
def several(server: PostgresServer) -> Iterator[None]:
    with made(server, "shop_a", "SELECT 1"):
        for name in ("shop_b", "shop_old", "other", *HOSTILE):
            server.psql(f"CREATE DATABASE {ident(name)}")
        yield


@pytest.mark.usefixtures("several")
class TestDatabases:
    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ({"include": ["shop_*"]}, {"shop_a", "shop_b", "shop_old"}),
            ({"include": ["shop_*", "other"], "exclude": ["*_old"]}, {"shop_a", "shop_b", "other"}),
            ({"include": list(HOSTILE)}, set(HOSTILE)),
            ({"include": ["shop_?"]}, {"shop_a", "shop_b"}),
        ],
    )
    def test_patterns_choose(
        self, given: dict[str, Any], wanted: set[str], server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        facts = ENGINE.probe(source_of(server, database="all", **given), at, undo)
        assert {item.name for item in facts.items if item.role == "data"} == wanted

    @pytest.mark.parametrize("given", [{"include": ["shop_*", "shp_*"]}, {"include": ["shop_a"], "exclude": ["shop*"]}])
    def test_a_pattern_that_means_nothing_is_an_error(
        self, given: dict[str, Any], server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        with pytest.raises(Precondition) as caught:
            ENGINE.probe(source_of(server, database="all", **given), at, undo)
        assert_told(caught.value)

    def test_one_of_many_comes_back(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        server.psql("CREATE TABLE t AS SELECT 7 AS a", "shop_b")
        facts = ENGINE.probe(source_of(server, database="all", include=["shop_?"]), at, undo)
        item = next(item for item in facts.items if item.name == "shop_b")
        taken = good(item, at, undo)
        assert bring(item, taken.data, "b again", at, undo).name == "b again"
        assert not errors(ENGINE.verify(item, "b again", taken.end.counts, at, undo))


class TestTables:
    @pytest.mark.parametrize(
        ("form", "given", "kept"),
        [
            (
                "plain",
                {"exclude_tables": ["session", "audit.*"]},
                {*FULL} - {"public.session", "audit.log", "audit.old"},
            ),
            ("custom", {"tables": ["customer", "orders"]}, {"public.customer", "public.orders"}),
            pytest.param(
                "plain", {"tables": ["audit.*"], "exclude_tables": ["*.old"]}, {"audit.log"}, marks=pytest.mark.slow
            ),
            ("plain", {"tables": ["measure"], "exclude_tables": ["measure_2"]}, {"public.measure_1"}),
            pytest.param(
                "custom",
                {"exclude_tables": ["Odd.One.it's \"a*"]},
                {*FULL} - {'"Odd.One"."it\'s ""a*"'},
                marks=pytest.mark.slow,
            ),
            ("plain", {"tables": ["it's \"a*b"]}, {'public."it\'s ""a*b"'}),
        ],
    )
    def test_their_rows_come_back_and_all_definitions(
        self, form: str, given: Any, kept: set[str], shop: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        item = data_item(source_of(shop, database="shop", format=form, **given), at, undo)
        taken = good(item, at, undo)
        assert rows(taken.end.counts) == {name: count if name in kept else 0 for name, count in FULL.items()}
        bring(item, taken.data, "again", at, undo)
        try:
            assert not errors(ENGINE.verify(item, "again", taken.end.counts, at, undo))
            assert definitions(shop, "again") == definitions(shop, "shop")
            some = min(kept)
            shop.psql(f"TRUNCATE {some} CASCADE", "again")
            assert errors(ENGINE.verify(item, "again", taken.end.counts, at, undo))
            shop.psql("INSERT INTO session VALUES (99)", "again")
            assert errors(ENGINE.verify(item, "again", taken.end.counts, at, undo))
        finally:
            shop.psql("DROP DATABASE again")

    def test_what_is_left_out_is_not_expected(self, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        shop.psql("CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)", "shop")
        try:
            sizes = [
                data_item(source_of(shop, database="shop", **given), at, undo).bytes or 0
                for given in ({}, {"tables": ["*"]}, {"exclude_tables": ["big"]}, {"content": "schema"})
            ]
        finally:
            shop.psql("DROP TABLE big", "shop")
        assert min(sizes[:2]) > 3_000_000 > 600_000 > max(sizes[2:])

    @pytest.mark.parametrize("given", [{"tables": ["customer", "ordres"]}, {"exclude_tables": ["session", "logs.*"]}])
    def test_a_pattern_that_matches_nothing_is_an_error(
        self, given: Any, shop: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        source = source_of(shop, database="shop", **given)
        with pytest.raises(Precondition, match=r"no table matches '(ordres|logs\.\*)'") as caught:
            ENGINE.probe(source, at, undo)
        assert_told(caught.value)
        with pytest.raises(Precondition), ENGINE.dump(Item(source, "shop", "sql"), at, undo):
            pass

    def test_rows_without_what_they_refer_to_are_refused(
        self, shop: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        with pytest.raises(Precondition, match=r"rows of public\.orders refer to public\.customer") as caught:
            ENGINE.probe(source_of(shop, database="shop", exclude_tables=["customer"]), at, undo)
        assert_told(caught.value)


class TestContent:
    @pytest.mark.parametrize("form", ["plain", pytest.param("custom", marks=pytest.mark.slow)])
    def test_definitions_alone(self, form: str, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = data_item(source_of(shop, database="shop", content="schema", format=form), at, undo)
        taken = good(item, at, undo)
        assert rows(taken.end.counts) == dict.fromkeys(FULL, 0)
        assert "#large objects" not in taken.end.counts
        bring(item, taken.data, "again", at, undo)
        try:
            assert not errors(ENGINE.verify(item, "again", taken.end.counts, at, undo))
            assert definitions(shop, "again") == definitions(shop, "shop")
            assert shop.psql("SELECT count(*) FROM customer", "again") == "0"
        finally:
            shop.psql("DROP DATABASE again")

    @pytest.mark.parametrize("form", ["plain", pytest.param("custom", marks=pytest.mark.slow)])
    def test_rows_alone_are_for_tables_that_are_there(
        self, form: str, shop: PostgresServer, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        source = source_of(shop, database="shop", content="data", format=form, exclude_tables=["session"])
        facts = ENGINE.probe(source, at, undo)
        assert ["content: data" in finding.message for finding in facts.findings] == [True]
        item = next(item for item in facts.items if item.role == "data")
        taken = good(item, at, undo)
        assert rows(taken.end.counts) == FULL | {"public.session": 0}
        with pytest.raises(RestoreFailed, match="holds rows and no tables") as caught:
            bring(item, taken.data, "again", at, undo)
        assert_told(caught.value)
        assert "'again'" not in databases(shop)
        # the hint's own command
        shop.psql("CREATE DATABASE again")
        try:
            shop.psql(definitions(shop, "shop"), "again")
            file = tmp_path / "rows"
            file.write_bytes(taken.data)
            hint = str(caught.value.hint)
            words = hint[hint.index(" then ") + 6 :].replace("FILE", str(file)).replace("NAME", "again").split()
            place = ["-h", shop.socket, "-p", str(shop.port), "-U", SUPERUSER]
            subprocess.run([str(shop.bin / words[0]), *words[1:], *place], check=True, capture_output=True, timeout=60)
            assert shop.psql("SELECT count(*), (SELECT count(*) FROM session) FROM customer", "again") == "5|0"
        finally:
            shop.psql("DROP DATABASE again")


class TestUpkeep:
    def test_it_is_done_before_the_dump(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "shop", "CREATE TABLE t AS SELECT generate_series(1, 100) AS a; DELETE FROM t"):
            for kind, column in (("analyze", "analyze_count"), ("vacuum", "vacuum_count")):
                item = data_item(source_of(server, database="shop", upkeep=kind), at, undo)
                assert good(item, at, undo).end.findings == ()
                done = f"SELECT {column} > 0 FROM pg_stat_all_tables WHERE relname = 't'"
                for _ in range(100):
                    if server.psql(done, "shop") == "t":
                        break
                assert server.psql(done, "shop") == "t"

    def test_what_may_not_be_done_is_a_warning(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        server.psql("CREATE ROLE weak LOGIN; GRANT pg_read_all_data TO weak")
        try:
            with made(server, "shop", "CREATE TABLE t AS SELECT 1 AS a"):
                item = data_item(source_of(server, database="shop", user="weak", upkeep="vacuum"), at, undo)
                (note,) = good(item, at, undo).end.findings
            assert note.level == "warning"
            assert "VACUUM (ANALYZE) before the dump left out 1 tables" in note.message
            assert note.hint
            with made(server, "shop", "CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t OWNER TO weak"):
                item = data_item(source_of(server, database="shop", user="weak", upkeep="analyze"), at, undo)
                assert good(item, at, undo).end.findings == (), "the server's own tables are nobody's matter"
        finally:
            server.psql("DROP ROLE weak")

    def test_its_time_is_limited(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "shop", "CREATE TABLE t AS SELECT 1 AS a"):
            source = source_of(server, database="shop", upkeep="vacuum", upkeep_limit="1s")
            item = data_item(source, at, undo)
            with session(server, "shop") as blocker:
                # a lock that VACUUM waits for and a dump does not
                blocker.execute("LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
                (note,) = good(item, at, undo).end.findings
            assert "took longer than 1 s" in note.message
            assert "upkeep_limit" in str(note.hint)


class TestConfiguration:
    def test_files_are_stored_and_compared(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        extra = server.data / "conf.d"
        extra.mkdir(exist_ok=True)
        (extra / "ours.conf").write_text("work_mem = '5MB'\n")
        main = server.data / "postgresql.conf"
        main.write_text(main.read_text() + f"include_dir = '{extra}'\n")
        for path in (extra, extra / "ours.conf"):
            os.chown(path, server.data.stat().st_uid, -1)
        server.psql("SELECT pg_reload_conf()")
        source = source_of(server, database="postgres", configuration=True)
        facts = ENGINE.probe(source, at, undo)
        assert [item.role for item in facts.items] == ["globals", "globals", "data"]
        item = facts.items[0]
        assert (item.name, item.extension) == ("configuration", "tar")
        first, second = (good(item, at, undo) for _ in range(2))
        assert first.data == second.data
        with tarfile.open(fileobj=io.BytesIO(first.data)) as tar:
            tar.extractall(tmp_path, filter="data")
        for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf", "conf.d/ours.conf"):
            stored = tmp_path / "configuration" / str(server.data / name).lstrip("/")
            assert stored.read_bytes() == (server.data / name).read_bytes()
        assert first.end.counts[f"file {main}"] == main.stat().st_size
        (note,) = bring(item, first.data, item.name, at, undo).findings
        assert note.message == "the server's configuration files are those of then"
        before = main.read_text()
        main.write_text(before + "# changed\n")
        (extra / "ours.conf").unlink()
        changed, gone = bring(item, first.data, item.name, at, undo).findings
        assert (str(main) in changed.message, "ours.conf" in gone.message) == (True, True)
        assert main.read_text() == before + "# changed\n", "a live file was written"
        assert ENGINE.verify(item, item.name, first.end.counts, at, undo) == ()
        with pytest.raises(RestoreFailed):
            bring(item, b"no archive" * 100, item.name, at, undo)

    def test_missing_rights_are_told_and_the_hint_gives_them(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        server.psql("CREATE ROLE weak LOGIN; GRANT pg_read_all_data TO weak")
        try:
            source = source_of(server, database="postgres", user="weak", configuration=True)
            facts = ENGINE.probe(source, at, undo)
            assert [item.name for item in facts.items] == ["globals", "postgres"]
            note = next(finding for finding in facts.findings if "configuration files" in finding.message)
            assert note.level == "warning"
            server.psql(str(note.hint).partition(", in the database")[0])
            facts = ENGINE.probe(source, at, undo)
            assert facts.items[0].name == "configuration"
            good(facts.items[0], at, undo)
        finally:
            server.psql("REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text) FROM weak; DROP ROLE weak")

    def test_an_archive_of_many_names(self) -> None:
        files = {f"/etc/{'x' * 200}/ü\n.conf": b"\0\xff", "/a": b""}
        assert unpack(archive(files)) == files


class _Installed:
    """Where tools run, with these versions of pg_dump at these places."""

    place = "container db"

    def __init__(self, versions: dict[str, str]) -> None:
        self.versions = versions
        self.asked: list[str] = []

    def which(self, tool: str) -> str | None:
        self.asked.append(tool)
        return tool if tool in self.versions else None

    def run(self, argv: list[str], **_: object) -> Completed:
        return Completed(Exit(0), f"pg_dump (PostgreSQL) {self.versions[argv[0]]}".encode())

    def address(self, address: Address) -> Address:
        return address


class TestTools:
    """A server's own version before all, then what PATH has, then the oldest that is newer."""

    @pytest.mark.parametrize(
        ("installed", "chosen"),
        [
            ({"/usr/lib/postgresql/15/bin/pg_dump": "15.3", "pg_dump": "17.1"}, "/usr/lib/postgresql/15/bin/pg_dump"),
            ({"pg_dump": "15.18", "/usr/lib/postgresql/17/bin/pg_dump": "17.1"}, "pg_dump"),
            ({"pg_dump": "18.1", "/usr/pgsql-16/bin/pg_dump": "16.2"}, "/usr/pgsql-16/bin/pg_dump"),
            ({"pg_dump": "16.1"}, "pg_dump"),
        ],
    )
    def test_what_fits_is_chosen(self, installed: dict[str, str], chosen: str, undo: RecordingUndo) -> None:
        at: Any = _Installed(installed)
        at.place = f"container {chosen} of {sorted(installed)}"
        assert choose(at, undo, 150018).path("pg_dump") == chosen
        asked = len(at.asked)
        assert choose(at, undo, 150018).path("pg_dump") == chosen
        assert len(at.asked) == asked, "the answer is not kept"

    @pytest.mark.parametrize(
        ("installed", "said"), [({"pg_dump": "14.9"}, "pg_dump 14 in container db is older"), ({}, "is not in any")]
    )
    def test_none_fits(self, installed: dict[str, str], said: str, undo: RecordingUndo) -> None:
        at: Any = _Installed(installed)
        with pytest.raises(ToolMissing, match=said) as caught:
            choose(at, undo, 150018)
        assert_told(caught.value)
        assert "leave out container" in str(caught.value.hint)
        assert len(at.asked) <= 2 * NEWEST + 1

    def test_restrict_key_is_known_by_version(self, undo: RecordingUndo) -> None:
        for major, minor in _RESTRICT.items():
            for given, known in ((minor, True), (minor - 1, False)):
                at: Any = _Installed({"pg_dump": f"{major}.{given}"})
                at.place = f"{major}.{given}"
                assert choose(at, undo, major * 10000).restricts is known
