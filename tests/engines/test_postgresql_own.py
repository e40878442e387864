"""What is PostgreSQL's own: rights, globals, the database itself, failing servers, swap."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.engines.postgresql import ENGINE, Options
from orchestrator.engines.postgresql.connection import connect
from orchestrator.engines.postgresql.dump import Holder
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.engines.postgresql.restore import UNFINISHED
from orchestrator.engines.postgresql.roles import plan, statements
from orchestrator.engines.postgresql.target import target_of
from orchestrator.model.engine import DumpEnd, Item, Restored, Source
from orchestrator.model.errors import (
    DumpFailed,
    Interrupted,
    Precondition,
    ResguardoError,
    RestoreFailed,
    RightsMissing,
    ServerUnreachable,
)
from orchestrator.model.execution import Executor
from orchestrator.model.secret import Secret
from tests.engines.conformance import PipeData, Taken, assert_told, errors, read_all, trailer_problem
from tests.engines.recording import RecordingUndo
from tests.engines.servers.cutting import CuttingProxy
from tests.engines.servers.postgresql import PASSWORD, SUPERUSER, PostgresServer
from tests.engines.test_postgresql import LARGE, PROPERTIES, SCHEMA, content, databases, drop_all, made, source_of


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


def take(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    with ENGINE.dump(item, at, undo) as dump:
        data = read_all(dump.fd)
        return Taken(data, dump.finish(), dump.trailer)


def good(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    taken = take(item, at, undo)
    assert not taken.end.error
    assert not trailer_problem(taken.data, taken.trailer)
    return taken


def bring(item: Item, data: bytes, to: str, at: Executor, undo: RecordingUndo, *, damaged: bool = False) -> Restored:
    with PipeData(data, damaged=damaged) as pipe:
        return ENGINE.restore(item, pipe, to, at, undo)


def data_item(source: Source, at: Executor, undo: RecordingUndo) -> Item:
    return next(item for item in ENGINE.probe(source, at, undo).items if item.role == "data")


def session(server: PostgresServer, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(host=server.socket, port=server.port, user=SUPERUSER, dbname=database)


@pytest.fixture
def least(server: PostgresServer) -> Iterator[None]:
    server.psql(r"CREATE ROLE bk LOGIN BYPASSRLS PASSWORD 'b:k\p'; GRANT pg_read_all_data, pg_monitor TO bk;")
    yield
    server.psql("DROP ROLE bk")


@pytest.mark.usefixtures("least")
class TestRights:
    def test_least_rights_dump_everything(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        sql = (
            SCHEMA
            + "ALTER TABLE customer ENABLE ROW LEVEL SECURITY; SELECT lo_unlink(oid) FROM pg_largeobject_metadata"
        )
        with made(server, "shop", sql):
            over_tcp: dict[str, Any] = {"socket": None, "host": "127.0.0.1", "user": "bk", "password": {"env": "X"}}
            source = source_of(server, secret=r"b:k\p", database="shop", **over_tcp)
            facts = ENGINE.probe(source, at, undo)
            (note,) = facts.findings
            assert (note.level, note.message) == ("info", "restoring needs restore_user: bk may not create databases")
            assert facts.server.startswith(f"PostgreSQL {server.bin.parts[-2]}.")
            assert [item.role for item in facts.items] == ["globals", "data"]
            good(facts.items[0], at, undo)
            taken = good(facts.items[1], at, undo)
            assert not taken.end.findings
            counts = taken.end.counts
            wanted = {
                "public.customer": 300,
                "public.measure_1": 31,
                "public.child": 1,
                "public.parent": 1,
                "#triggers": 1,
            }
            assert {key: counts[key] for key in wanted} == wanted
            assert "public.measure" not in counts
            bring(Item(source_of(server, database="shop"), "shop", "sql"), taken.data, "again", at, undo)
            assert content(server, "again")[0] == content(server, "shop")[0]

    def test_restoring_takes_another_role(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "shop", "CREATE TABLE t AS SELECT 1 AS a"):
            item = data_item(source_of(server, user="bk", database="shop"), at, undo)
            taken = good(item, at, undo)
            with pytest.raises(RestoreFailed, match="permission denied to create database") as caught:
                bring(item, taken.data, "again", at, undo)
            assert "restore_user" in (caught.value.hint or "")
            able = Item(source_of(server, user="bk", database="shop", restore_user=SUPERUSER), "shop", "sql")
            bring(able, taken.data, "again", at, undo)
            assert not errors(ENGINE.verify(able, "again", taken.end.counts, at, undo))

    def test_the_restoring_role_needs_its_own_password(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        with made(server, "shop", "CREATE TABLE t AS SELECT 1 AS a"):
            over_tcp: dict[str, Any] = {"socket": None, "host": "127.0.0.1", "user": "bk", "password": {"env": "X"}}
            source = source_of(server, secret=r"b:k\p", database="shop", restore_user=SUPERUSER, **over_tcp)
            (note,) = ENGINE.probe(source, at, undo).findings
            assert note.message.startswith(f"restore_user {SUPERUSER} has no restore_password")
            taken = good(data_item(source, at, undo), at, undo)
            with pytest.raises(RightsMissing, match="no password supplied") as caught:
                bring(Item(source, "shop", "sql"), taken.data, "again", at, undo)
            assert (caught.value.hint or "").startswith("set restore_password in services.yml")

    def test_secrets_reach_no_argument_vector(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "shop", LARGE):
            source = source_of(server, socket=None, host="127.0.0.1", password={"env": "X"}, database="shop")
            with ENGINE.dump(data_item(source, at, undo), at, undo) as dump:
                seen = b""
                while b"COPY public.bulk" not in seen:  # what comes first is our header: pg_dump may not yet be there
                    seen += (block := os.read(dump.fd, 1000))
                    assert block, dump.finish()
                pid = next(process.pid for process in undo.living())
                words = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
                assert b"--snapshot=" in words
                assert b"PGPASSFILE=" in words
                assert b"su per" not in words


def test_all_lists_what_accepts_connections_and_is_wanted(
    server: PostgresServer, at: Executor, undo: RecordingUndo
) -> None:
    names = ["globals", "test_a", "Test_b", "with\nline", "host=evil dbname=x", "test"]
    with made(server, "shop", "SELECT 1"):
        for name in names:
            server.psql(f"CREATE DATABASE {ident(name)}")
        server.psql("CREATE DATABASE closed ALLOW_CONNECTIONS false")
        server.psql("CREATE DATABASE mold IS_TEMPLATE true")
        facts = ENGINE.probe(source_of(server, database="all", exclude=["test_*", "postgres"]), at, undo)
        server.psql("ALTER DATABASE mold IS_TEMPLATE false")
    found = [(item.name, item.role) for item in facts.items]
    wanted = {"globals", "Test_b", "with\nline", "host=evil dbname=x", "test", "shop"}
    assert found[0] == ("globals+", "globals")
    assert set(found[1:]) == {(name, "data") for name in wanted}
    assert all(item.bytes for item in facts.items)


def test_settings_of_the_user_change_nothing(server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
    settings = {
        "datestyle": "'German, DMY'",
        "standard_conforming_strings": "off",
        "array_nulls": "off",
        "intervalstyle": "sql_standard",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
        "timezone": "'Asia/Kolkata'",
    }
    table = r"""CREATE TABLE t AS SELECT ARRAY[1, NULL, 3] AS a, 1 / 3.0::float8 AS f,
        timestamptz '2026-03-04 05:06:07+02' AS t,
        interval '1 mon -2 days 03:04:05.678' AS i, '\x00ff5c27'::bytea AS b, E'back\\slash \'q' AS s"""
    with made(server, "shop", table):
        before = content(server, "shop")
        try:
            server.psql("".join(f"ALTER ROLE postgres SET {name} = {value};" for name, value in settings.items()))
            item = data_item(source_of(server, database="shop"), at, undo)
            taken = good(item, at, undo)
            assert bring(item, taken.data, "again", at, undo).findings == ()
            assert not errors(ENGINE.verify(item, "again", taken.end.counts, at, undo))
        finally:
            server.psql("ALTER ROLE postgres RESET ALL")
        assert content(server, "again") == before


SPECIAL = r"""
CREATE ROLE "own'er"; CREATE ROLE reader
;;CREATE DATABASE special TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER "own'er"
  CONNECTION LIMIT 7
;;ALTER DATABASE special SET search_path TO "$user", public, 'Odd Schema'
;;ALTER DATABASE special SET work_mem TO '7MB'; ALTER DATABASE special SET default_transaction_read_only TO on
;;ALTER ROLE reader IN DATABASE special SET statement_timeout TO '5s'; COMMENT ON DATABASE special IS 'it''s \\ special'
;;REVOKE ALL ON DATABASE special FROM PUBLIC; GRANT CONNECT ON DATABASE special TO reader WITH GRANT OPTION
;;CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'
"""


class TestDatabaseItself:
    """Encoding, locale, owner, settings, grants: what a dump without --create does not hold."""

    @pytest.fixture(autouse=True)
    def _special(self, server: PostgresServer) -> Iterator[None]:
        for statement in SPECIAL.split("\n;;"):
            server.psql(statement)
        writable = "SET default_transaction_read_only = off; SET client_encoding = 'UTF8';"
        server.psql(f"{writable} CREATE TABLE public.t AS SELECT 'nämé'::text AS a", "special")
        server.psql("CREATE TABLE t AS SELECT 'ä'::text AS a UNION SELECT 'z'", "sorted")
        yield
        drop_all(server)
        server.psql('DROP ROLE "own\'er"; DROP ROLE reader')

    @pytest.mark.parametrize("name", ["special", "sorted"])
    def test_plain_brings_all_of_it_back(
        self, name: str, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        item = data_item(source_of(server, database=name), at, undo)
        taken = good(item, at, undo)
        assert bring(item, taken.data, "again", at, undo).findings == ()
        assert content(server, "again") == content(server, name)
        assert "7MB" in content(server, "special")[1], "the comparison does not see settings"
        assert not errors(ENGINE.verify(item, "again", taken.end.counts, at, undo))

    @pytest.mark.parametrize("name", ["special", "sorted"])
    def test_custom_brings_encoding_and_locale_back(
        self, name: str, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        item = data_item(source_of(server, database=name, format="custom"), at, undo)
        taken = good(item, at, undo)
        assert [finding.level for finding in bring(item, taken.data, "again", at, undo).findings] == ["warning"]
        own, again = (server.psql(PROPERTIES, each).split("|")[:6] for each in (name, "again"))
        assert own == again
        assert server.dump("again", "--no-owner") == server.dump(name, "--no-owner")

    @pytest.mark.parametrize("form", ["plain", "custom"])
    @pytest.mark.parametrize(
        ("since", "attributes"),
        [
            (16, "LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ICU_RULES '&V << w <<< W'"),
            (17, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
        ],
        ids=["rules", "builtin"],
    )
    def test_newer_kinds_of_locale_come_back(
        self, since: int, attributes: str, form: str, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        if int(server.bin.parts[-2]) < since:
            pytest.skip(f"does not apply: PostgreSQL {since} brought this")
        server.psql(f"CREATE DATABASE newer TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' {attributes}")
        item = data_item(source_of(server, database="newer", format=form), at, undo)
        bring(item, good(item, at, undo).data, "again", at, undo)
        own, again = (server.psql(PROPERTIES, each).split("|")[:6] for each in ("newer", "again"))
        assert own == again
        assert own[4]

    def test_a_dump_of_another_make_is_restored_and_said(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        server.psql(SCHEMA, "sorted")
        item = Item(source_of(server, database="sorted"), "sorted", "sql")
        restored = bring(item, server.dump("sorted").encode(), "again", at, undo)
        assert [finding.message for finding in restored.findings] == [
            "the dump does not tell the encoding and locale of 'again': it has the server's default ones"
        ]
        assert content(server, "again")[0] == content(server, "sorted")[0]

    def test_a_missing_owner_is_said(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = data_item(source_of(server, database="special"), at, undo)
        data = good(item, at, undo).data.replace(b'"owner": "own\'er"', b'"owner": "nobody"')
        restored = bring(item, data, "again", at, undo)
        assert ["nobody" in finding.message for finding in restored.findings] == [True]


class TestRestore:
    def test_psql_alone_restores_a_plain_dump(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "shop", SCHEMA):
            taken = good(Item(source_of(server, database="shop"), "shop", "sql"), at, undo)
            server.psql("CREATE DATABASE byhand TEMPLATE template0")
            argv = [
                str(server.bin / "psql"),
                "-X1",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                server.socket,
                "-p",
                str(server.port),
            ]
            argv += ["-U", SUPERUSER, "-d", "byhand", "-f", "-"]
            subprocess.run(argv, input=taken.data, check=True, capture_output=True, timeout=60)
            assert content(server, "byhand")[0] == content(server, "shop")[0]

    def test_damaged_custom_dump_leaves_no_database(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        with made(server, "shop", SCHEMA):
            item = Item(source_of(server, database="shop", format="custom"), "shop", "pgdump")
            taken = good(item, at, undo)
            before = databases(server)
            for share in (0.0, 0.001, 0.5, 0.99, 1.0):
                with pytest.raises(ResguardoError):
                    bring(item, taken.data[: int(len(taken.data) * share)], "again", at, undo, damaged=True)
                assert databases(server) == before

    def test_data_without_their_end_are_refused(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        with made(server, "shop", LARGE):
            item = Item(source_of(server, database="shop"), "shop", "sql")
            taken = good(item, at, undo)
            with pytest.raises(RestoreFailed, match="end mark"):
                bring(item, taken.data[:-400_000], "again", at, undo)
            assert "'again'" not in databases(server)

    def test_failing_sql_leaves_no_database(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "shop", LARGE):
            item = Item(source_of(server, database="shop"), "shop", "sql")
            data = good(item, at, undo).data.replace(b"COPY public.bulk", b"SELECT 1/0; COPY public.bulk")
            with pytest.raises(RestoreFailed, match="division by zero"):
                bring(item, data, "again", at, undo)
            assert "'again'" not in databases(server)

    def test_a_name_too_long_is_refused(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = Item(source_of(server, database="postgres"), "postgres", "sql")
        with pytest.raises(RestoreFailed, match="cannot name a database"):
            bring(item, b"", "ü" * 32, at, undo)


ROLES = """CREATE ROLE "te;am'"; CREATE ROLE ann LOGIN PASSWORD 'old'; GRANT "te;am'" TO ann;
CREATE ROLE bob IN ROLE "te;am'";
ALTER ROLE ann SET work_mem TO '9MB'; COMMENT ON ROLE ann IS 'a;b'"""


class TestGlobals:
    @pytest.fixture(autouse=True)
    def _roles(self, server: PostgresServer) -> Iterator[None]:
        server.psql(ROLES)
        yield
        server.psql('DROP ROLE IF EXISTS ann; DROP ROLE IF EXISTS bob; DROP ROLE "te;am\'"')

    def test_only_what_is_missing_is_added(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = ENGINE.probe(source_of(server, database="postgres"), at, undo).items[0]
        taken = good(item, at, undo)
        assert taken.end.counts["role ann"] == 1
        before = server.dump_globals()
        assert bring(item, taken.data, "globals", at, undo).findings == ()
        assert server.dump_globals() == before
        server.psql("DROP ROLE ann; REVOKE \"te;am'\" FROM bob; ALTER ROLE bob LOGIN PASSWORD 'new'")
        password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'bob'"
        changed = server.psql(password)
        assert errors(ENGINE.verify(item, "globals", taken.end.counts, at, undo))
        findings = bring(item, taken.data, "globals", at, undo).findings
        assert not errors(ENGINE.verify(item, "globals", taken.end.counts, at, undo))
        assert [(finding.level, "bob" in finding.message) for finding in findings] == [("info", True)]
        assert server.psql(password) == changed
        assert server.psql("SELECT pg_has_role('bob', $$te;am'$$, 'MEMBER')") == "f"
        server.psql('ALTER ROLE bob NOLOGIN PASSWORD NULL; GRANT "te;am\'" TO bob')
        assert server.dump_globals() == before

    def test_damaged_globals_change_nothing(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = ENGINE.probe(source_of(server, database="postgres"), at, undo).items[0]
        data = good(item, at, undo).data.replace(b"CREATE ROLE", b"CREATE ROLE fresh; CREATE ROLE", 1)
        with pytest.raises(ResguardoError):
            bring(item, data, "globals", at, undo, damaged=True)
        assert server.psql("SELECT count(*) FROM pg_roles WHERE rolname = 'fresh'") == "0"

    def test_without_passwords_when_they_cannot_be_read(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        server.psql("CREATE ROLE weak LOGIN")
        try:
            item = ENGINE.probe(source_of(server, database="postgres", user="weak"), at, undo).items[0]
            taken = good(item, at, undo)
        finally:
            server.psql("DROP ROLE weak")
        assert b"CREATE ROLE ann" in taken.data
        assert b"PASSWORD" not in taken.data
        assert [finding.level for finding in taken.end.findings] == ["warning"]


def test_statements_are_cut_where_they_end() -> None:
    script = "-- a;b\n\\restrict x\nCREATE ROLE \"a;\"\"b\";\nCOMMENT ON ROLE c IS E'\\';''x';SET a = 'b;c';\n"
    assert list(statements(script)) == ['CREATE ROLE "a;""b"', "COMMENT ON ROLE c IS E'\\';''x'", "SET a = 'b;c'"]


def test_plan_leaves_tablespaces_and_says_so() -> None:
    planned = plan("CREATE ROLE a;CREATE TABLESPACE t OWNER a LOCATION '/x';GRANT a TO b;", ["b"], [])
    assert planned.run == ("CREATE ROLE a", "GRANT a TO b")
    assert "TABLESPACE" in planned.findings[0].message


class TestFailures:
    """Each has a server of its own, which is made to fail."""

    @pytest.fixture
    def own(self) -> Iterator[PostgresServer]:
        with PostgresServer() as server:
            server.psql("CREATE DATABASE shop")
            server.psql(LARGE, "shop")
            yield server

    @contextmanager
    def under_way(self, own: PostgresServer, at: Executor, undo: RecordingUndo) -> Iterator[Any]:
        with ENGINE.dump(data_item(source_of(own, database="shop"), at, undo), at, undo) as dump:
            seen = b""
            while b"COPY public.bulk" not in seen:  # what comes first is our header: pg_dump may not yet be connected
                seen += (block := os.read(dump.fd, 1000))
                assert block, dump.finish()
            yield dump

    def ended(self, dump: Any) -> DumpEnd:
        read_all(dump.fd)
        end: DumpEnd = dump.finish()
        assert end.error
        return end

    def test_cut_at_random_places(self, own: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        seed = int.from_bytes(os.urandom(4))
        print(f"seed {seed}")
        chance = random.Random(seed)
        for form in ("plain", "custom"):
            item = data_item(source_of(own, database="shop", format=form), at, undo)
            size = len(good(item, at, undo).data)
            for place in sorted(chance.randrange(1, size - (2 << 20)) for _ in range(5)):
                with ENGINE.dump(item, at, undo) as dump:
                    data = b""
                    while len(data) < place:
                        data += os.read(dump.fd, min(1 << 16, place - len(data)))
                    for process in undo.living():
                        os.kill(process.pid, signal.SIGKILL)
                    data += read_all(dump.fd)
                    assert "signal 9" in dump.finish().error
                assert form == "custom" or trailer_problem(data, dump.trailer)
                with pytest.raises(RestoreFailed):
                    bring(item, data, "again", at, undo)  # even where its digest is not known
                assert "'again'" not in databases(own)

    def test_server_stopped_midway(self, own: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with self.under_way(own, at, undo) as dump:
            own.kill()
            assert any(finding.hint for finding in self.ended(dump).findings)

    @pytest.mark.parametrize("whose", ["application_name = 'pg_dump'", "application_name = 'resguardo'"])
    def test_backend_terminated_midway(
        self, whose: str, own: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        with self.under_way(own, at, undo) as dump:
            query = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {whose}"
            assert own.psql(query) == "1"
            self.ended(dump)

    def test_frozen_server_holds_nobody(self, own: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with self.under_way(own, at, undo):
            own.freeze()
            began = time.monotonic()
        assert time.monotonic() - began < 15
        undo.assert_clean()
        with pytest.raises(ServerUnreachable) as caught:
            ENGINE.probe(source_of(own, database="shop"), at, undo)
        assert_told(caught.value)
        own.freeze(thaw=True)
        good(data_item(source_of(own, database="shop"), at, undo), at, undo)

    @pytest.mark.parametrize("connected", [True, False])
    def test_a_signal_ends_the_wait_for_a_frozen_server(
        self, connected: bool, own: PostgresServer, at: Executor
    ) -> None:
        interrupts = Interrupts()
        target = target_of(replace(source_of(own), wait=interrupts.wait), at)
        with ExitStack() as stack:
            one = stack.enter_context(connect(target, "shop")) if connected else None
            own.freeze()
            threading.Timer(0.3, interrupts.trigger, (signal.SIGTERM,)).start()
            began = time.monotonic()
            with pytest.raises(Interrupted) as told:
                _ = one.execute("SELECT 1") if one else connect(target, "shop")
            assert time.monotonic() - began < 3
            assert told.value.exit_code == 143
        own.freeze(thaw=True)

    def test_what_is_being_changed_is_not_interrupted(self, own: PostgresServer, at: Executor) -> None:
        interrupts = Interrupts()
        with connect(target_of(replace(source_of(own), wait=interrupts.wait), at), "shop") as one:
            one.steady()
            interrupts.trigger(signal.SIGTERM)
            assert one.value("SELECT 1") == 1

    def test_a_query_has_a_limit_of_ours(self, own: PostgresServer, at: Executor) -> None:
        with connect(target_of(source_of(own), at), "shop") as one:
            own.freeze()
            began = time.monotonic()
            with pytest.raises(ServerUnreachable, match=r"no answer within 0\.5 s"):
                one.execute("SELECT 1", limit=0.5)
            assert time.monotonic() - began < 5

    def test_a_probe_waits_for_a_lock_as_long_as_it_may(
        self, own: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        own.psql("CREATE ROLE bk LOGIN BYPASSRLS; GRANT pg_read_all_data TO bk")
        source = source_of(own, database="shop", user="bk", lock_timeout="1s")
        with session(own, "shop") as blocker:
            blocker.execute("LOCK TABLE bulk IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            with pytest.raises(DumpFailed, match=r"database .shop.: .* 1 s were not enough") as caught:
                ENGINE.probe(source, at, undo)
            assert time.monotonic() - began < 10
            pid = blocker.info.backend_pid
        assert caught.value.hint is not None
        assert f"session {pid} of {SUPERUSER}" in caught.value.hint
        assert "has locked public.bulk" in caught.value.hint

    def test_locked_table(self, own: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = data_item(source_of(own, database="shop", lock_timeout="1s"), at, undo)
        with session(own, "shop") as blocker:
            blocker.execute("LOCK TABLE bulk IN ACCESS EXCLUSIVE MODE")
            end = take(item, at, undo).end
            pid = blocker.info.backend_pid
        assert "timeout" in end.error
        assert f"session {pid} of {SUPERUSER}" in (end.findings[0].hint or "")
        assert "raise lock_timeout" in (end.findings[0].hint or "")

    def test_deadline(self, own: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = data_item(source_of(own, database="shop", timeout=2.0), at, undo)
        with ENGINE.dump(item, at, undo) as dump:
            assert os.read(dump.fd, 100)
            assert "took too long" in dump.finish().error  # nobody reads, so it cannot end

    def test_server_dies_while_restoring(self, own: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        item = data_item(source_of(own, database="shop"), at, undo)
        data = good(item, at, undo).data.replace(b"COPY public.bulk", b"SELECT pg_sleep(60);COPY public.bulk")

        def stop() -> None:
            sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            while own.psql(sleeping) != "1":
                time.sleep(0.05)
            own.kill()

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(RestoreFailed) as caught:
            bring(item, data, "again", at, undo)
        stopper.join()
        assert "'again' is still there" in str(caught.value)
        assert caught.value.hint == 'DROP DATABASE "again"'
        own.start()
        found = errors(ENGINE.verify(item, "again", {}, at, undo))
        assert ["did not come to its end" in finding.message for finding in found] == [True]


class TestVerify:
    def test_damaged_indexes_are_found(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        sql = """CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i'; CREATE TABLE t AS SELECT
          generate_series(1, 50) AS a; CREATE INDEX te ON t (public.f(a)); CREATE INDEX tb ON t (a);"""
        with made(server, "shop", sql):
            item = data_item(source_of(server, database="shop"), at, undo)
            counts = good(item, at, undo).end.counts
            assert ENGINE.verify(item, "shop", counts, at, undo) == []
            server.psql("CREATE OR REPLACE FUNCTION f(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -i'", "shop")
            found = errors(ENGINE.verify(item, "shop", counts, at, undo))
            assert ["public.te" in finding.message for finding in found] == [True]
            server.psql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tb'::regclass", "shop")
            found = errors(ENGINE.verify(item, "shop", {}, at, undo))
            assert any("tb is not valid" in finding.message for finding in found)
            assert server.psql("SELECT count(*) FROM pg_extension", "shop") == "1"

    def test_a_missing_role_is_told_with_its_remedy(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        server.psql('CREATE ROLE "gone one"')
        try:
            for sql in ('CREATE TABLE t (); ALTER TABLE t OWNER TO "gone one"', "SELECT 1"):
                with made(server, "shop", sql):
                    if sql == "SELECT 1":
                        server.psql('GRANT CONNECT ON DATABASE shop TO "gone one"')
                    item = data_item(source_of(server, database="shop"), at, undo)
                    data = good(item, at, undo).data
                server.psql('DROP ROLE "gone one"')
                if sql == "SELECT 1":
                    (note,) = bring(item, data, "back", at, undo).findings
                    server.psql("DROP DATABASE back")
                    hint = note.hint
                else:
                    with pytest.raises(RestoreFailed) as caught:
                        bring(item, data, "back", at, undo)
                    hint = caught.value.hint
                assert "--globals" in str(hint)
                server.psql('CREATE ROLE "gone one"')
        finally:
            server.psql('DROP ROLE IF EXISTS "gone one"')

    def test_every_difference_counts(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        changes = (
            "DROP TRIGGER note_it ON orders",
            "DROP VIEW rich",
            "CREATE TABLE extra ()",
            "SELECT lo_unlink(5001)",
            "DROP INDEX customer_name",
            "INSERT INTO audit VALUES ('x')",
            "DROP SEQUENCE ticket",
        )
        with made(server, "shop", SCHEMA):
            item = data_item(source_of(server, database="shop"), at, undo)
            before = len(changes) * [0]
            counts = good(item, at, undo).end.counts
            assert not errors(ENGINE.verify(item, "shop", counts, at, undo))
            for number, change in enumerate(changes):
                server.psql(change, "shop")
                before[number] = len(errors(ENGINE.verify(item, "shop", counts, at, undo)))
            assert before == sorted(set(before)), "a change added no finding"
            assert before[0] > 0

    def test_without_counts_the_inventory_is_compared(
        self, server: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        with made(server, "shop", SCHEMA):
            item = data_item(source_of(server, database="shop", counts="none"), at, undo)
            end = good(item, at, undo).end
            assert not end.counts_exact
            assert all(key.startswith("#") for key in end.counts)
            assert not errors(ENGINE.verify(item, "shop", end.counts, at, undo))
            server.psql("DROP VIEW rich", "shop")
            assert errors(ENGINE.verify(item, "shop", end.counts, at, undo))

    def test_as_of_lies_within_the_dump(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "shop", SCHEMA):
            item = data_item(source_of(server, database="shop"), at, undo)
            began = datetime.now(UTC)
            as_of = good(item, at, undo).end.as_of
            assert as_of is not None
            assert began <= as_of <= datetime.now(UTC)

    def test_a_count_that_breaks_off_vouches_for_nothing(self, server: PostgresServer, at: Executor) -> None:
        source = source_of(server)
        with connect(target_of(source, at), "postgres") as session:
            holder = Holder(session, "postgres", source.options, 60.0)
            holder.selection = cast("Any", None)  # what no server answers: only a fault of ours can
            holder.start()
            counts, error = holder.finish()
            assert counts == {}
            assert error is not None
            assert error.message.startswith("the count failed: AttributeError")


TABLES = "SELECT relname FROM pg_class WHERE relname IN ('old', 'new')"


class TestSwap:
    def test_busy_databases_are_swapped(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        over = threading.Event()

        def come_again_and_again() -> None:
            while not over.is_set():
                try:
                    with session(server, "shop") as one:
                        while not over.is_set():
                            one.execute("SELECT pg_sleep(0.01)")
                except psycopg.Error:
                    continue

        with made(server, "shop", "CREATE TABLE old ()"):
            server.psql("CREATE DATABASE again")
            server.psql("CREATE TABLE new ()", "again")
            clients = [threading.Thread(target=come_again_and_again) for _ in range(3)]
            for client in clients:
                client.start()
            try:
                kept = ENGINE.swap(Item(source_of(server, database="shop"), "shop", "sql"), "again", "before", at, undo)
            finally:
                over.set()
                for client in clients:
                    client.join(20)
            assert kept.name == "before"
            assert server.psql(TABLES, "shop") == "new"
            assert server.psql(TABLES, "before") == "old"
            assert "'again'" not in databases(server)

    def test_sessions_that_cannot_be_ended(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        server.psql("CREATE ROLE poor LOGIN CREATEDB")
        with made(server, "shop", "CREATE TABLE old ()"):
            server.psql("CREATE DATABASE again OWNER poor")
            server.psql("ALTER DATABASE shop OWNER TO poor")
            item = Item(source_of(server, database="shop", user="poor"), "shop", "sql")
            with session(server, "shop") as one:
                one.execute("SELECT 1")
                with pytest.raises(RestoreFailed, match="nothing was changed") as caught:
                    ENGINE.swap(item, "again", "before", at, undo)
            assert_told(caught.value)
            assert {"'shop'", "'again'"} <= set(databases(server))
            assert "'before'" not in databases(server)
        server.psql("DROP ROLE poor")

    def test_without_an_original(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        with made(server, "again", "SELECT 1"):
            item = Item(source_of(server, database="shop"), "shop", "sql")
            assert ENGINE.swap(item, "again", "before", at, undo).name is None
            assert "'shop'" in databases(server)


class _Exhausted:
    """An executor that cannot start the loading client any more."""

    def __init__(self, at: Executor) -> None:
        self._at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._at, name)

    def start(self, argv: Sequence[str], **_: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", argv[0])


class TestLostAnswers:
    """The network fails at the worst moment: what is said afterwards is what is."""

    @pytest.fixture
    def shop(self, server: PostgresServer) -> Iterator[PostgresServer]:
        with made(server, "shop", "CREATE TABLE old ()"):
            yield server

    def behind(self, server: PostgresServer, proxy: CuttingProxy) -> Item:
        source = source_of(
            server, database="shop", socket=None, host="127.0.0.1", port=proxy.port, password={"env": "X"}
        )
        return Item(source, "shop", "sql")

    def dumped(self, server: PostgresServer, at: Executor, undo: RecordingUndo) -> bytes:
        return good(Item(source_of(server, database="shop"), "shop", "sql"), at, undo).data

    def lose(self, server: PostgresServer, proxy: CuttingProxy, at: Executor, undo: RecordingUndo) -> RestoreFailed:
        data = self.dumped(server, at, undo)
        with proxy, pytest.raises(RestoreFailed) as caught:
            bring(self.behind(server, proxy), data, "again", at, undo)
        assert proxy.cut.is_set()
        assert_told(caught.value)
        return caught.value

    def test_create_that_did_not_arrive(self, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        told = self.lose(shop, CuttingProxy(shop.port, b"CREATE DATABASE"), at, undo)
        assert "exists now" not in told.message
        assert "'again'" not in databases(shop)

    def test_create_whose_answer_is_lost(self, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        told = self.lose(shop, CuttingProxy(shop.port, b"CREATE DATABASE", "after"), at, undo)
        assert "it exists now, empty" in told.message
        assert told.hint == 'if it is empty: DROP DATABASE "again"'
        assert "'again'" in databases(shop)

    def test_create_and_then_no_server(self, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        told = self.lose(shop, CuttingProxy(shop.port, b"CREATE DATABASE", "after", for_good=True), at, undo)
        assert "whether it exists now is not known" in told.message

    @pytest.mark.parametrize("word", [b"COMMENT ON DATABASE", b"ANALYZE"])
    def test_what_was_created_is_dropped(
        self, word: bytes, shop: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        self.lose(shop, CuttingProxy(shop.port, word), at, undo)
        assert "'again'" not in databases(shop)

    def test_no_client_can_be_started(self, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        data = self.dumped(shop, at, undo)
        item = Item(source_of(shop, database="shop"), "shop", "sql")
        with pytest.raises(RestoreFailed, match="Too many open files"):
            bring(item, data, "again", cast("Executor", _Exhausted(at)), undo)
        assert "'again'" not in databases(shop)

    def test_rest_of_a_killed_restore_is_named(self, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        data = self.dumped(shop, at, undo)
        shop.psql("CREATE DATABASE again")
        shop.psql(f"COMMENT ON DATABASE again IS '{UNFINISHED}'")
        with pytest.raises(RestoreFailed, match="under way or was killed") as caught:
            bring(Item(source_of(shop, database="shop"), "shop", "sql"), data, "again", at, undo)
        assert 'DROP DATABASE "again"' in (caught.value.hint or "")

    def test_a_property_that_is_cut_off_is_a_finding(
        self, shop: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        data = self.dumped(shop, at, undo)
        with CuttingProxy(shop.port, b"ALTER DATABASE") as proxy:
            restored = bring(self.behind(shop, proxy), data, "again", at, undo)
        assert any("the owner of 'again' did not come back" in finding.message for finding in restored.findings)
        assert "'again'" in databases(shop)

    @pytest.mark.parametrize(
        ("word", "when", "swapped"),
        [
            (b"RENAME", "before", False),
            (b"RENAME", "after", False),
            (b"COMMIT", "before", False),
            (b"COMMIT", "after", True),
        ],
    )
    def test_swap(
        self, word: bytes, when: Any, swapped: bool, shop: PostgresServer, at: Executor, undo: RecordingUndo
    ) -> None:
        shop.psql("CREATE DATABASE again")
        shop.psql("CREATE TABLE new ()", "again")
        with CuttingProxy(shop.port, word, when) as proxy:
            item = self.behind(shop, proxy)
            if swapped:
                kept = ENGINE.swap(item, "again", "before", at, undo)
                assert kept.name == "before"
                assert [finding.level for finding in kept.findings] == ["warning"]
            else:
                with pytest.raises(RestoreFailed, match="nothing was changed") as caught:
                    ENGINE.swap(item, "again", "before", at, undo)
                assert_told(caught.value)
        assert proxy.cut.is_set()
        assert shop.psql(TABLES, "shop") == ("new" if swapped else "old")
        assert ("'before'" in databases(shop), "'again'" in databases(shop)) == (swapped, not swapped)

    def test_swap_of_which_nothing_is_known(self, shop: PostgresServer, at: Executor, undo: RecordingUndo) -> None:
        shop.psql("CREATE DATABASE again")
        proxy = CuttingProxy(shop.port, b"COMMIT", "after", for_good=True)
        with proxy, pytest.raises(RestoreFailed, match="is not known") as caught:
            ENGINE.swap(self.behind(shop, proxy), "again", "before", at, undo)
        assert "if there is no 'again' any more" in (caught.value.hint or "")


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"host": "h", "socket": "/s"}, "exclude each other"),
            ({"service_file": "f"}, "needs service"),
            ({"database": "x", "exclude": ["y"]}, "exclude is given"),
            ({"database": "x", "include": ["y"]}, "include is given"),
            ({"content": "schema", "tables": ["y"]}, "content: schema takes none"),
            ({"container": "c", "tls": {"ca": "c"}}, "tls files and container"),
            ({"container": "c", "service": "s"}, "service and container"),
            ({"tables": [""]}, "at least 1 character"),
            ({"restore_password": {"env": "X"}}, "needs restore_user"),
            ({"tls": {"cert": "c"}}, "belong together"),
            ({"tls": {"mode": "verify-full"}}, "needs ca"),
            ({"password": "plain"}, "reference to a secret"),
            ({"port": 70000}, "65535"),
            ({"lock_timeout": 5}, "not a duration"),
        ],
    )
    def test_refused(self, given: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            Options.model_validate(given, context={"directory": "/etc/rsg"})

    def test_tls(self, at: Executor) -> None:
        with_ca = Options.model_validate({"host": "db", "tls": {"ca": "ca.pem"}}, context={"directory": "/etc/rsg"})
        params = target_of(Source("s", "n", "postgresql", "t", 1.0, with_ca, lambda _ref: Secret("")), at).params
        assert (params["sslmode"], params["sslrootcert"]) == ("verify-full", "/etc/rsg/ca.pem")
        without = Source("s", "n", "postgresql", "t", 1.0, Options(host="db"), lambda _ref: Secret(""))
        assert target_of(without, at).params["sslmode"] == "prefer"

    def test_service_file(self, server: PostgresServer, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        file = tmp_path / "services.conf"
        lines = [
            "# ours",
            "[shop]",
            "host=127.0.0.1",
            f"port={server.port}",
            f"user={SUPERUSER}",
            f"password={PASSWORD}",
        ]
        file.write_text("\n".join(lines))
        given = {"service": "shop", "service_file": str(file), "database": "postgres"}
        source = Source("s", "n", "postgresql", "t", 60.0, Options.model_validate(given), lambda _ref: Secret(""))
        good(data_item(source, at, undo), at, undo)
        file.write_text("\n".join([*lines, "sslpassword=the key's own", "oauth_client_secret=x y"]))
        learnt: list[Secret] = []
        hiding = target_of(replace(source, hide=learnt.append), at)
        assert {secret.reveal() for secret in learnt} == {PASSWORD, "the key's own", "x y"}
        vector = hiding.conninfo("postgres")
        assert "own" not in vector
        assert "x y" not in vector
        assert PASSWORD not in vector
        assert "own" in hiding.driver_conninfo("postgres")
        env, secrets = hiding.environment()
        assert env["PGSERVICEFILE"] == "{secret:service}"
        assert secrets["service"].decode().splitlines()[1:] == ["sslpassword=the key's own", "oauth_client_secret=x y"]
        file.write_text("\n".join([*lines, "sslpassword=the key's own"]))
        good(data_item(source, at, undo), at, undo)
        absent = Options.model_validate(given | {"service": "x"})
        with pytest.raises(Precondition) as caught:
            ENGINE.probe(Source("s", "n", "postgresql", "t", 60.0, absent, lambda _ref: Secret("")), at, undo)
        assert_told(caught.value)
