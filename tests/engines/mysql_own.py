"""What is MariaDB's and MySQL's own, as suites for both: rights, richness, failing servers and tools, users, swap.

A test module gives the fixture `server` and inherits the classes.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.engines import load
from orchestrator.engines._mysql import accounts
from orchestrator.engines._mysql.accounts import Account, Statement
from orchestrator.engines._mysql.connection import connect, target_of
from orchestrator.engines._mysql.dump import FOOTER
from orchestrator.engines._mysql.header import MAGIC
from orchestrator.engines._mysql.restore import UNFINISHED
from orchestrator.engines._mysql.script import Script
from orchestrator.model.engine import DumpEnd, Engine, Facts, Item, Restored, Source
from orchestrator.model.errors import (
    DataDamaged,
    Interrupted,
    Precondition,
    ResguardoError,
    RestoreFailed,
    RightsMissing,
    ServerUnreachable,
)
from orchestrator.model.execution import Executor, Finding, Trailer
from tests.engines.conformance import PipeData, Taken, assert_told, errors, read_all, trailer_problem
from tests.engines.mysql_content import content
from tests.engines.mysql_rich import SCRIPTS
from tests.engines.recording import RecordingUndo
from tests.engines.servers.cutting import CuttingProxy
from tests.engines.servers.mariadb import PASSWORD, MariadbServer, ident
from tests.engines.servers.roots import program
from tests.engines.test_mariadb import made, source_of
from tests.places import let_others_in

SMALL = "CREATE TABLE t (a int PRIMARY KEY, b text)\n;;\nINSERT INTO t VALUES (1, 'one'), (2, 'two')"
RIGHTS = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")


def take(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    with load(item.source.engine).dump(item, at, undo) as dump:
        data = read_all(dump.fd)
        return Taken(data, dump.finish(), dump.trailer)


def good(item: Item, at: Executor, undo: RecordingUndo) -> Taken:
    taken = take(item, at, undo)
    assert taken.end.error == ""
    assert not trailer_problem(taken.data, taken.trailer)
    return taken


def read_some(fd: int) -> None:
    """Read so much that rows must be under way: a dump begins with our own lines before the tool says anything."""
    got = 0
    while got < 1 << 20:
        got += len(os.read(fd, 1 << 16))


def bring(item: Item, data: bytes, to: str, at: Executor, undo: RecordingUndo, *, damaged: bool = False) -> Restored:
    with PipeData(data, damaged=damaged) as pipe:
        return load(item.source.engine).restore(item, pipe, to, at, undo)


def told(findings: Sequence[Finding]) -> str:
    return "\n".join(f"{found.level}: {found.message}" for found in findings)


class Meanwhile:
    """An executor; while it looks for the loading client, something else happens on the server."""

    def __init__(self, at: Executor, happens: Callable[[], object]) -> None:
        self._at, self._happens = at, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._at, name)

    def which(self, tool: str) -> str | None:
        self._happens()
        return self._at.which(tool)


class Own:
    """What all suites share."""

    server: MariadbServer

    @pytest.fixture(autouse=True)
    def _server(self, server: MariadbServer) -> Iterator[None]:
        self.server = server
        before = set(server.accounts())
        yield
        server.drop_all()
        for user, host in set(server.accounts()) - before:
            server.sql(f"DROP {'USER' if host else 'ROLE'} {ident(user)}{'@' + ident(host) if host else ''}")

    @property
    def engine(self) -> Engine:
        return load(self.server.kind)

    def source(self, **more: Any) -> Source:
        return source_of(self.server, **more)

    def item(self, name: str, **more: Any) -> Item:
        return Item(self.source(database=name, **more), name, "sql")

    def probe(self, source: Source, at: Executor, undo: RecordingUndo) -> Facts:
        return self.engine.probe(source, at, undo)

    @contextmanager
    def rich(self) -> Iterator[Item]:
        with made(self.server, "rich", SCRIPTS[self.server.kind]):
            yield self.item("rich")


def neutral(found: dict[str, Any]) -> dict[str, Any]:
    """Without how a trigger was typed: the copy's names no database, MySQL writes it anew."""
    found = dict(found)
    head = re.compile(r"(?is)trigger\s+(?:rich ?\. ?)?(\S+) (after \w+) on (?:`rich` ?\. ?)?(\w+) for")
    for name, told in found.items():
        if name.startswith("TRIGGER"):
            found[name] = [head.sub(r"trigger \1 \2 on \3 for", text) for text in told]
    return found


class RichSuite(Own):
    """Everything that a database can hold."""

    def test_everything_comes_back(self, at: Executor, undo: RecordingUndo) -> None:
        with self.rich() as item:
            before = content(self.server, "rich")
            found = told(self.probe(item.source, at, undo).findings)
            assert "'old'" in found
            assert "cannot be read in one snapshot" in found
            taken = good(item, at, undo)
            restored = bring(item, taken.data, "copy", at, undo)
            assert neutral(content(self.server, "copy")) == neutral(before)
            assert neutral(content(self.server, "rich")) == neutral(before)
            assert not errors(self.engine.verify(item, "copy", taken.end.counts, at, undo))
            counts = taken.end.counts
            wanted = {"customer": 3, "nothing": 0, "bare": 4, "`LOCK TABLES ``x`` WRITE;\n--`": 2}
            kinds = {"#triggers": 3, "#events": 3, "#views": 3, "#procedures": 1}
            assert {name: counts[name] for name in wanted | kinds} == wanted | kinds
            assert "2 events were enabled and came back disabled: 'daily', 'once'" in told(restored.beside)
            assert "trigger 'third' names database 'rich'" in told(restored.findings)
            assert "calls" not in told(restored.findings)
            # the copy's own function is what its view calls, and not the original's
            self.server.sql("DROP FUNCTION plus", database="rich")
            assert self.server.sql("SELECT b FROM calls LIMIT 1", database="copy") == [(4,)]

    def again(self, item: Item, data: bytes, at: Executor, undo: RecordingUndo) -> None:
        self.server.sql("DROP DATABASE rich")
        bring(item, data, "rich", at, undo)
        self.server.sql("ALTER EVENT daily ENABLE", "ALTER EVENT once ENABLE", database="rich")

    def test_a_round_trip_gives_the_same_bytes(self, at: Executor, undo: RecordingUndo) -> None:
        with self.rich() as item:
            first = good(item, at, undo)
            self.again(item, first.data, at, undo)
            second = good(item, at, undo)
            if self.server.kind == "mysql":
                # MySQL writes `COLLATE x` back as `CHARACTER SET … COLLATE x`, and from then on it stays so.
                first = second
                self.again(item, first.data, at, undo)
                second = good(item, at, undo)
            assert second.data == first.data
            assert second.end.counts == first.end.counts

    def test_blocks_of_any_size_are_cut_the_same(self, at: Executor, undo: RecordingUndo) -> None:
        with self.rich() as item:
            data = good(item, at, undo).data
        chance = random.Random(4)
        for most in (3, 100, 5000):
            script, place, pieces = Script(), 0, []
            while place < len(data):
                size = chance.randint(1, most)
                pieces += script.feed(data[place : place + size])
                place += size
            pieces.append(script.end())
            assert b"".join(piece.raw for piece in pieces) == data
            assert sum(piece.rows for piece in pieces if piece.table == "customer") == 3

    def test_a_cut_dump_restores_nothing(self, at: Executor, undo: RecordingUndo) -> None:
        with self.rich() as item:
            data = good(item, at, undo).data
        chance = random.Random("ten places")
        for place in [chance.randrange(len(data) - len(FOOTER)) for _ in range(10)]:
            assert trailer_problem(data[:place], Trailer(MAGIC, FOOTER, 128))
            # a clean end of a cut stream, as from a repository that lies
            with pytest.raises((RestoreFailed, DataDamaged)) as caught:
                bring(item, data[:place], "copy", at, undo)
            assert_told(caught.value)
            assert self.server.databases() == []

    def test_a_copys_events_do_not_run(self, at: Executor, undo: RecordingUndo) -> None:
        script = "CREATE TABLE ticks (at datetime(6))"
        script += "\n;;\nCREATE EVENT tick ON SCHEDULE EVERY 1 SECOND ENABLE DO INSERT INTO ticks VALUES (NOW(6))"
        script += "\n;;\nCREATE EVENT gone ON SCHEDULE AT '2037-01-01 00:00:00' DO SELECT 1"
        with made(self.server, "shop", script):
            item = self.item("shop")
            data = good(item, at, undo).data.replace(b"2037-01-01", b"2020-01-01")  # as if it had lain for long
            restored = bring(item, data, "copy", at, undo)
            rows = self.server.sql("SELECT COUNT(*) FROM ticks", database="copy")
            begun = self.server.sql("SELECT COUNT(*) FROM ticks", database="shop")
            until = time.monotonic() + 10
            while self.server.sql("SELECT COUNT(*) FROM ticks", database="shop") == begun:
                assert time.monotonic() < until, "the original's event does not run either"
                time.sleep(0.1)
            assert self.server.sql("SELECT COUNT(*) FROM ticks", database="copy") == rows
            assert "the time of 'gone' is over" in told(restored.beside)
            listed = self.server.sql(
                "SELECT EVENT_NAME, STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA='copy'"
            )
            assert sorted(listed) == [("gone", "DISABLED"), ("tick", "DISABLED")]

    def test_a_missing_definer_is_told(self, at: Executor, undo: RecordingUndo) -> None:
        self.server.sql("CREATE USER author@localhost IDENTIFIED BY 'a'")
        with made(self.server, "shop", SMALL + "\n;;\nCREATE DEFINER = author@localhost VIEW v AS SELECT 1 AS one"):
            item = self.item("shop")
            self.server.sql("GRANT SELECT ON *.* TO author@localhost")
            taken = good(item, at, undo)
            self.server.sql("DROP USER author@localhost")
            restored = bring(item, taken.data, "copy", at, undo)
            assert "view 'v' and others were defined by author@localhost" in told(restored.findings)


class RightsSuite(Own):
    """A user that lacks a right is refused with the GRANT that helps."""

    def grant(self, *grants: str) -> Source:
        self.server.sql("CREATE USER bk@localhost IDENTIFIED BY 'b:k'")
        for grant in grants:
            self.server.sql(f"GRANT {grant} TO bk@localhost")
        return self.source(database="rich", user="bk", password={"env": "X"}, secret="b:k", globals=False)

    def routines(self) -> str:
        return "SHOW_ROUTINE ON *.*" if self.server.kind == "mysql" else "SELECT ON mysql.proc"

    def run_hint(self, error: RightsMissing) -> None:
        statements = (error.hint or "").split("; ")
        assert all(statement.startswith("GRANT ") for statement in statements)
        self.server.sql(*statements)

    def helped(self, source: Source, at: Executor, undo: RecordingUndo) -> Facts:
        """Probe; a view's functions may need one more right."""
        try:
            return self.probe(source, at, undo)
        except RightsMissing as error:
            if not (error.hint or "").startswith("GRANT EXECUTE ON `rich`.* TO"):
                raise
            self.run_hint(error)
            return self.probe(source, at, undo)

    @pytest.mark.parametrize("lacking", [*RIGHTS, "routines"])
    def test_each_right(self, lacking: str, at: Executor, undo: RecordingUndo) -> None:
        with self.rich() as item:
            whole = good(item, at, undo)
            rights = ", ".join(right for right in RIGHTS if right != lacking)
            grants = [f"{rights} ON rich.*", *([self.routines()] if lacking != "routines" else [])]
            source = self.grant(*grants)
            with pytest.raises(RightsMissing) as caught:
                self.probe(source, at, undo)
            assert_told(caught.value)
            with pytest.raises(RightsMissing):
                take(Item(source, "rich", "sql"), at, undo)
            self.run_hint(caught.value)
            facts = self.helped(source, at, undo)
            assert "restoring needs restore_user" in told(facts.findings)
            taken = good(facts.items[-1], at, undo)
            assert taken.data == whole.data
            assert taken.end.counts == whole.end.counts

    def test_functions_of_views_that_run_as_the_asker(self, at: Executor, undo: RecordingUndo) -> None:
        script = "CREATE FUNCTION plus(x int) RETURNS int DETERMINISTIC RETURN x + 1"
        with made(self.server, "rich", script + "\n;;\nCREATE SQL SECURITY INVOKER VIEW v AS SELECT plus(1) AS two"):
            source = self.grant(f"{', '.join(RIGHTS)} ON rich.*", self.routines())
            if self.server.kind == "mariadb":  # MySQL tells a view's columns without it
                with pytest.raises(RightsMissing, match="may not look into view 'v'"):
                    self.probe(source, at, undo)
            good(self.helped(source, at, undo).items[-1], at, undo)

    def test_rights_through_a_role(self, at: Executor, undo: RecordingUndo) -> None:
        with self.rich():
            source = self.grant()
            self.server.sql(
                "CREATE ROLE reader", f"GRANT {', '.join(RIGHTS)} ON *.* TO reader", "GRANT reader TO bk@localhost"
            )
            with pytest.raises(Precondition):
                self.probe(source, at, undo)  # the role is not what a session begins with
            word = "SET DEFAULT ROLE reader " + ("FOR" if self.server.kind == "mariadb" else "TO")
            self.server.sql(f"{word} bk@localhost")
            assert good(self.helped(source, at, undo).items[-1], at, undo).end.counts["#triggers"] == 3

    def test_rights_on_a_pattern_are_for_its_names(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "my_shop", SMALL):
            source = self.grant(f"{', '.join(RIGHTS)}, EXECUTE ON `my\\_sho_`.*")
            assert self.probe(
                replace(source, options=source.options.model_copy(update={"database": "my_shop"})), at, undo
            )
            self.server.sql("REVOKE ALL PRIVILEGES, GRANT OPTION FROM bk@localhost")
            self.server.sql(
                f"GRANT {', '.join(RIGHTS)}, EXECUTE ON `my\\_p%`.* TO bk@localhost",
                "GRANT SELECT ON my_shop.t TO bk@localhost",
            )
            with pytest.raises(RightsMissing, match="lacks SELECT, SHOW VIEW, TRIGGER, EVENT"):
                self.probe(replace(source, options=source.options.model_copy(update={"database": "my_shop"})), at, undo)

    def test_a_narrower_grant_hides_a_wider_one(self, at: Executor, undo: RecordingUndo) -> None:
        with self.rich() as item:
            whole = good(item, at, undo)
            wide = f"{', '.join(RIGHTS)}, EXECUTE ON `ri%`.*"
            source = self.grant(self.routines(), wide, "SELECT, SHOW VIEW, EVENT ON rich.*")
            with pytest.raises(RightsMissing, match="lacks TRIGGER:") as caught:
                self.probe(source, at, undo)
            self.run_hint(caught.value)
            assert good(self.helped(source, at, undo).items[-1], at, undo).data == whole.data

    def test_the_grant_of_a_hint_hides_nothing(self, at: Executor, undo: RecordingUndo) -> None:
        with self.rich():
            source = self.grant(self.routines(), "SELECT, SHOW VIEW, EVENT, LOCK TABLES, EXECUTE ON `ri%`.*")
            with pytest.raises(RightsMissing, match="lacks TRIGGER:") as caught:
                self.probe(source, at, undo)
            assert "GRANT TRIGGER, EVENT, EXECUTE, LOCK TABLES, SELECT, SHOW VIEW ON `rich`.*" in str(caught.value.hint)
            self.run_hint(caught.value)
            assert self.probe(source, at, undo).items

    def test_what_runs_first_in_a_session_is_told(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "rich", SMALL):
            source = self.grant(f"{', '.join(RIGHTS)}, EXECUTE ON *.*")
            assert "init_connect" not in told(self.probe(source, at, undo).findings)
            self.server.sql("SET GLOBAL init_connect = 'SET @x = 1'")
            try:
                assert "init_connect" not in told(self.probe(self.source(database="rich"), at, undo).findings)
                findings = self.probe(source, at, undo).findings
                self.server.sql("SET GLOBAL init_connect = 'SET sql_select_limit = 1'")
                with pytest.raises(Precondition, match="sql_select_limit is 1:"):
                    self.probe(source, at, undo)
            finally:
                self.server.sql("SET GLOBAL init_connect = ''")
            assert "warning: init_connect is set" in told(findings)

    def test_all_databases(self, at: Executor, undo: RecordingUndo) -> None:
        for name in ("shop_a", "shop_b", "test_1", "globals"):
            self.server.sql(f"CREATE DATABASE {name}")
        facts = self.probe(self.source(exclude=["test_*"]), at, undo)
        assert [(item.name, item.role) for item in facts.items] == [
            ("globals+", "globals"),
            ("globals", "data"),
            ("shop_a", "data"),
            ("shop_b", "data"),
        ]
        facts = self.probe(self.source(include=["shop_*"], exclude=["*_b"], globals=False), at, undo)
        assert [item.name for item in facts.items] == ["shop_a"]
        with pytest.raises(Precondition, match="no database matches 'web_\\*'"):
            self.probe(self.source(include=["web_*"]), at, undo)
        with pytest.raises(Precondition, match="none of 4 databases"):
            self.probe(self.source(exclude=["*"]), at, undo)

    def test_all_databases_need_rights_everywhere(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "rich", SMALL):
            source = self.grant("SELECT ON *.*")
            everything = replace(source, options=source.options.model_copy(update={"database": "all"}))
            with pytest.raises(RightsMissing) as caught:
                self.probe(everything, at, undo)
            assert (caught.value.hint or "") == "GRANT SHOW VIEW, TRIGGER, EVENT ON *.* TO 'bk'@'localhost'"
            self.run_hint(caught.value)
            assert [item.name for item in self.probe(everything, at, undo).items] == ["rich"]

    @pytest.mark.parametrize(("database", "scope"), [("all", "*.*"), ("rich", "`rich`.*")])
    def test_a_user_without_any_grant(self, database: str, scope: str, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "rich", SMALL):
            source = self.grant()
            source = replace(source, options=source.options.model_copy(update={"database": database}))
            with pytest.raises(Precondition) as caught:
                self.probe(source, at, undo)
            wanted = f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON {scope} TO 'bk'@'localhost'; or "
            assert str(caught.value.hint).startswith(wanted)

    def test_users_need_a_right_of_their_own(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "rich", SMALL):
            source = self.grant(f"{', '.join(RIGHTS)}, EXECUTE ON rich.*")
            asked = replace(source, options=source.options.model_copy(update={"globals": True}))
            facts = self.probe(asked, at, undo)
            assert [item.role for item in facts.items] == ["data"]
            (note,) = [found for found in facts.findings if found.level == "warning"]
            self.server.sql((note.hint or "").partition(";")[0])
            assert [item.role for item in self.probe(asked, at, undo).items] == ["globals", "data"]

    @pytest.mark.parametrize("number", range(6))
    def test_passwords_of_any_kind(self, number: int, at: Executor, undo: RecordingUndo) -> None:
        odd = [PASSWORD, '"', "\\", "#;=[x]", " space ", "".join(map(chr, range(32, 127))), "tab\tnew\nline\rü日😀"]
        password = odd[number] if number < 5 else odd[5] + odd[6]
        with made(self.server, "rich", SMALL):
            quoted = password.replace("\\", "\\\\").replace("'", "''").replace("%", "%")
            self.server.sql(f"CREATE USER bk@localhost IDENTIFIED BY '{quoted}'", "GRANT ALL ON *.* TO bk@localhost")
            source = self.source(database="rich", user="bk", password={"env": "X"}, secret=password, globals=False)
            item = self.probe(source, at, undo).items[0]
            bring(item, good(item, at, undo).data, "copy", at, undo)

    def test_secrets_reach_no_argument_vector(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "rich", SMALL, large=True):
            self.server.sql("CREATE USER bk@localhost IDENTIFIED BY 'su per\\\\'", "GRANT ALL ON *.* TO bk@localhost")
            item = self.item("rich", user="bk", password={"env": "X"}, secret="su per\\")
            with self.engine.dump(item, at, undo) as dump:
                read_some(dump.fd)
                pid = next(process.pid for process in undo.living())
                words = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
                assert b"--defaults-file=" in words
                assert b"su per" not in words


class FailureSuite(Own):
    """Servers and tools that fail: never a good dump, never a half-made database."""

    @contextmanager
    def under_way(self, at: Executor, undo: RecordingUndo, timeout: float = 60.0) -> Iterator[Any]:
        with (
            made(self.server, "shop", SMALL, large=True),
            self.engine.dump(self.item("shop", timeout=timeout), at, undo) as dump,
        ):
            read_some(dump.fd)
            yield dump

    def assert_bad(self, end: DumpEnd) -> None:
        assert end.error
        assert not end.counts

    def test_session_ended_midway(self, at: Executor, undo: RecordingUndo) -> None:
        with self.under_way(at, undo) as dump:
            for (number,) in self.server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = 'shop'"):
                self.server.sql(f"KILL {number}")
            data = read_all(dump.fd)
            self.assert_bad(dump.finish())
            assert trailer_problem(data, dump.trailer)

    def test_interrupted_while_it_looks(self, at: Executor) -> None:
        interrupts = Interrupts()
        source = replace(self.source(), wait=interrupts.wait)
        with connect(target_of(source, at)) as session:
            threading.Timer(0.2, interrupts.trigger, (signal.SIGTERM,)).start()
            began = time.monotonic()
            with pytest.raises(Interrupted):
                session.execute("SELECT SLEEP(30)")
            assert time.monotonic() - began < 10

    def test_a_limit_ends_a_query(self, at: Executor) -> None:
        with (
            connect(target_of(self.source(), at)) as session,
            pytest.raises(ServerUnreachable, match="no answer within"),
        ):
            session.execute("SELECT SLEEP(30)", limit=0.2)

    @pytest.mark.parametrize(
        "flag",
        [
            "--skip-triggers",
            "--skip-routines",
            "--skip-events",
            "--ignore-table=rich.bare",
            "--no-data",
            "--compact",
        ],
    )
    def test_a_tool_that_leaves_out_something(
        self, flag: str, at: Executor, undo: RecordingUndo, tmp_path: Path
    ) -> None:
        names = ("mariadb-dump", "mysqldump") if self.server.kind == "mariadb" else ("mysqldump",)
        real = program(*names)
        script = tmp_path / names[0]
        # the last two words are "--" and the database
        script.write_text(
            f'#!/bin/bash\n[ "$1" = --version ] && exec {real} --version\n'
            f'exec {real} "${{@:1:$#-2}}" {flag} "${{@: -2}}"\n'
        )
        script.chmod(0o755)
        with self.rich():
            item = self.item("rich", tools=str(tmp_path))
            taken = take(item, at, undo)
            assert taken.end.error
            assert not taken.end.counts

    def test_objects_made_meanwhile_are_no_fault(self, at: Executor, undo: RecordingUndo) -> None:
        with self.under_way(at, undo) as dump:
            self.server.sql("CREATE TABLE late (a int)", "CREATE VIEW later AS SELECT 1 AS one", database="shop")
            read_all(dump.fd)
            assert dump.finish().error == ""

    @pytest.mark.parametrize("limit", [0, 1])
    def test_a_limit_of_rows(self, limit: int, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL):
            self.server.sql(f"SET GLOBAL sql_select_limit = {limit}")
            try:
                with pytest.raises(Precondition, match=f"sql_select_limit is {limit}:") as caught:
                    self.probe(self.source(database="shop"), at, undo)
                assert_told(caught.value)
                with pytest.raises(Precondition):
                    take(self.item("shop"), at, undo)
                self.server.sql((caught.value.hint or "").partition(";")[0])
                assert good(self.item("shop"), at, undo).end.counts["t"] == 2
            finally:
                self.server.sql("SET GLOBAL sql_select_limit = DEFAULT")

    def test_tables_that_change_places_meanwhile(self, at: Executor, undo: RecordingUndo) -> None:
        script = """CREATE TABLE parts (a int PRIMARY KEY) PARTITION BY RANGE (a)
            (PARTITION a VALUES LESS THAN (2), PARTITION b VALUES LESS THAN (9))
            \n;;\nINSERT INTO parts VALUES (1), (3)\n;;\nDO SLEEP(1.1)
            \n;;\nCREATE TABLE u (a int PRIMARY KEY, b text)\n;;\nDO SLEEP(1.1)"""  # the server notes seconds
        script = f"{SMALL}\n;;\n{script}"
        with made(self.server, "shop", script, large=True), self.engine.dump(self.item("shop"), at, undo) as dump:
            read_some(dump.fd)
            self.server.sql("RENAME TABLE t TO x, u TO t, x TO u", database="shop")
            self.server.sql("ALTER TABLE parts DROP PARTITION b", database="shop")
            read_all(dump.fd)
            end = dump.finish()
            self.assert_bad(end)
            assert end.error == "database 'shop': tables were changed during the dump: 'parts', 't', 'u'"

    def test_partitions_exchanged_meanwhile(self, at: Executor, undo: RecordingUndo) -> None:
        script = SMALL + "\n;;\nCREATE TABLE u (a int PRIMARY KEY)\n;;\nCREATE TABLE parts (a int PRIMARY KEY)"
        script += " PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (2), PARTITION q VALUES LESS THAN (9))"
        with made(self.server, "shop", script, large=True), self.engine.dump(self.item("shop"), at, undo) as dump:
            read_some(dump.fd)
            self.server.sql("ALTER TABLE parts EXCHANGE PARTITION q WITH TABLE u", database="shop")
            read_all(dump.fd)
            assert dump.finish().error == "database 'shop': tables were changed during the dump: 'parts', 'u'"

    def test_a_table_emptied_meanwhile(self, at: Executor, undo: RecordingUndo) -> None:
        with self.under_way(at, undo) as dump:
            self.server.sql("TRUNCATE TABLE t", database="shop")
            read_all(dump.fd)
            end = dump.finish()
            self.assert_bad(end)
            assert "tables were changed during the dump" in str(end.findings[0].hint)

    def test_an_event_that_the_tools_never_end_with(self, at: Executor, undo: RecordingUndo) -> None:
        event = "CREATE EVENT `e;x` ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT ';"
        with made(self.server, "shop", f"{SMALL}\n;;\n{event};'"):
            with pytest.raises(Precondition, match="event 'e;x' holds ';;'") as caught:
                self.probe(self.source(database="shop"), at, undo)
            assert_told(caught.value)
            with pytest.raises(Precondition):
                take(self.item("shop"), at, undo)
        with made(self.server, "shop", f"{SMALL}\n;;\n{event}'"):
            assert good(self.item("shop"), at, undo).end.counts["#events"] == 1

    def test_delimiters_inside_bodies(self, at: Executor, undo: RecordingUndo) -> None:
        odd = "';;\nDELIMITER ;\nCREATE TABLE `zz` (a int);\n\\'\";;\n'"
        bodies = [
            f"CREATE PROCEDURE one() COMMENT 'a;;\\n\\';;\\n' BEGIN SELECT {odd}; END",
            "CREATE PROCEDURE two() BEGIN /* x';\n;;\nCREATE PROCEDURE `no` */ SELECT 1--1; # ';;\n-- \";;\nEND",
            f"CREATE TRIGGER three BEFORE INSERT ON t FOR EACH ROW BEGIN -- it's;;\nSET NEW.b = {odd}; END",
        ]
        with made(self.server, "shop", SMALL):
            self.server.sql(*bodies, database="shop")
            with self.server.connect("shop") as connection, connection.cursor() as cursor:
                cursor.execute("SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
                cursor.execute("CREATE FUNCTION four() RETURNS text DETERMINISTIC RETURN CONCAT('\\', -- ;;\n'')")
            item, before = self.item("shop"), content(self.server, "shop")
            taken = good(item, at, undo)
            counts = {kind: count for kind, count in taken.end.counts.items() if kind.startswith("#")}
            assert counts == {"#tables": 1, "#procedures": 2, "#functions": 1, "#triggers": 1}
            bring(item, taken.data, "copy", at, undo)
            assert content(self.server, "copy") == before

    def test_floats_are_told(self, at: Executor, undo: RecordingUndo) -> None:
        script = "CREATE TABLE f (k float PRIMARY KEY, v float, d double, w float)"
        script += "\n;;\nCREATE VIEW g AS SELECT * FROM f"
        with made(self.server, "shop", script):
            self.server.sql("INSERT INTO f VALUES (16777215, 16777215, 16777215, 1)", database="shop")
            item = self.item("shop")
            found = told(self.probe(item.source, at, undo).findings)
            assert "warning: database 'shop': 'f.v', 'f.w' (FLOAT) come back with 6 digits\n" in found + "\n"
            assert "'f.k' (FLOAT) come back with 6 digits, and are part of a unique key" in found
            bring(item, good(item, at, undo).data, "copy", at, undo)
            rows = self.server.sql("SELECT k + 0e0, d FROM f", database="copy")
            assert rows == [(16777200, 16777215)], "the tool writes floats whole now: the finding is no longer true"

    def test_a_killed_restore_is_recognised(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL):
            item = self.item("shop")
            taken = good(item, at, undo)
            bring(item, taken.data, "copy", at, undo)
            self.server.sql(f"CREATE TABLE {ident(UNFINISHED)} (id int)", database="copy")
            assert "did not come to its end" in told(self.engine.verify(item, "copy", taken.end.counts, at, undo))
            with pytest.raises(RestoreFailed, match="under way or was killed"):
                bring(item, taken.data, "copy", at, undo)
            with pytest.raises(RestoreFailed, match="did not come to its end"):
                self.engine.swap(item, "copy", "kept", at, undo)

    def test_a_restore_whose_mark_is_lost_leaves_nothing(self, at: Executor, undo: RecordingUndo) -> None:
        self.server.sql("CREATE USER far@'%' IDENTIFIED BY 'f'", "GRANT ALL ON *.* TO far@'%'")
        with made(self.server, "shop", SMALL):
            taken = good(self.item("shop"), at, undo)
        with CuttingProxy(self.server.port, b"CREATE TABLE `again`") as proxy:
            over = {"socket": None, "port": proxy.port, "user": "far", "password": {"env": "X"}, "secret": "f"}
            with pytest.raises(RestoreFailed) as caught:
                bring(self.item("shop", **over), taken.data, "again", at, undo)
            assert proxy.cut.is_set()
        assert_told(caught.value)
        assert "again" not in self.server.databases()
        bring(self.item("shop"), taken.data, "again", at, undo)

    def test_a_database_made_meanwhile_is_not_ours(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL):
            taken = good(self.item("shop"), at, undo)
        others = ("CREATE DATABASE again", "CREATE TABLE again.theirs (a int)")
        elsewhere = Meanwhile(at, lambda: "again" in self.server.databases() or self.server.sql(*others))
        with pytest.raises(RestoreFailed, match="exists already"):
            bring(self.item("shop"), taken.data, "again", cast("Executor", elsewhere), undo)
        assert self.server.sql("SHOW TABLES FROM again") == [("theirs",)]

    def test_a_load_that_fails_leaves_nothing(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL):
            item = self.item("shop")
            data = good(item, at, undo).data.replace(b"VALUES (2,'two')", b"VALUES (1,'two')")
            with pytest.raises(RestoreFailed, match="Duplicate entry") as caught:
                bring(item, data, "copy", at, undo)
            assert_told(caught.value)
            assert "two" not in caught.value.message, "rows do not belong into messages"
            assert self.server.databases() == ["shop"]

    def test_values_of_rows_stay_out_of_messages(self, at: Executor, undo: RecordingUndo) -> None:
        script = "CREATE TABLE t (k varchar(60) PRIMARY KEY)"
        script += "\n;;\nINSERT INTO t VALUES ('it''s my secret for key x y'), ('z')"
        with made(self.server, "shop", script):
            item = self.item("shop")
            data = good(item, at, undo).data
            first = b"'it\\'s my secret for key x y'"
            assert first in data
            wrong = {"for key '(t.)?PRIMARY'": (b"'z'", first), "syntax": (b"('z')", b"(z my secret)")}
            for said, (old, new) in wrong.items():
                with pytest.raises(RestoreFailed, match=said) as caught:
                    bring(item, data.replace(old, new), "copy", at, undo)
                assert "secret" not in f"{caught.value.message} {caught.value.hint}"

    def test_the_clients_own_commands_are_off(self, at: Executor, undo: RecordingUndo, tmp_path: Path) -> None:
        with made(self.server, "shop", SMALL):
            item = self.item("shop")
            mark = f"\n\\! touch {tmp_path}/run\nsystem touch {tmp_path}/run2\n".encode()
            data = good(item, at, undo).data.replace(b"\n-- Dump completed", mark + b"\n-- Dump completed")
            with pytest.raises(RestoreFailed):
                bring(item, data, "copy", at, undo)
            assert not list(tmp_path.iterdir())

    def test_damaged_tables_are_found(self, at: Executor, undo: RecordingUndo) -> None:
        script = "CREATE TABLE t (id int PRIMARY KEY, v varchar(50), KEY (v)) ENGINE MyISAM"
        script += "\n;;\nINSERT INTO t VALUES (1, 'a'), (2, 'b')"
        with made(self.server, "shop", script):
            item = self.item("shop")
            taken = good(item, at, undo)
            bring(item, taken.data, "copy", at, undo)
            self.server.sql("FLUSH TABLES")
            index = next((self.server.data / "copy").glob("t*.MYI"))
            content = bytearray(index.read_bytes())
            content[1024:1040] = b"\xff" * 16
            index.write_bytes(bytes(content))
            assert errors(self.engine.verify(item, "copy", taken.end.counts, at, undo))


class CrashSuite(Own):
    """A server of its own that is killed and frozen."""

    def test_server_killed_midway(self, at: Executor, undo: RecordingUndo) -> None:
        self.server.sql("CREATE DATABASE shop")
        self.server.sql("CREATE TABLE bulk (t text)", "INSERT INTO bulk VALUES (repeat('x', 5000))", database="shop")
        self.server.sql(*["INSERT INTO bulk SELECT * FROM bulk"] * 11, database="shop")
        with self.engine.dump(self.item("shop"), at, undo) as dump:
            read_some(dump.fd)
            self.server.kill()
            data = read_all(dump.fd)
            end = dump.finish()
            assert end.error
            assert not end.counts
            assert trailer_problem(data, dump.trailer)
        with pytest.raises(ServerUnreachable) as caught:
            self.probe(self.source(), at, undo)
        assert_told(caught.value)
        self.server.start()

    def test_server_frozen_midway(self, at: Executor, undo: RecordingUndo) -> None:
        self.server.sql("CREATE DATABASE shop")
        self.server.sql("CREATE TABLE bulk (t text)", "INSERT INTO bulk VALUES (repeat('x', 5000))", database="shop")
        self.server.sql(*["INSERT INTO bulk SELECT * FROM bulk"] * 11, database="shop")
        with ExitStack() as stack:
            dump = stack.enter_context(self.engine.dump(self.item("shop"), at, undo))
            read_some(dump.fd)
            self.server.freeze()
            try:
                left = time.monotonic()
                stack.close()  # leaving ends everything, also with a server that does not answer
                assert time.monotonic() - left < 10
                assert not undo.living()
            finally:
                self.server.freeze(thaw=True)

    def test_frozen_server_stops_nobody_who_leaves(self, at: Executor, undo: RecordingUndo) -> None:
        self.server.freeze()
        try:
            interrupts = Interrupts()
            threading.Timer(0.3, interrupts.trigger, (signal.SIGTERM,)).start()
            began = time.monotonic()
            with pytest.raises(Interrupted):
                self.probe(replace(self.source(), wait=interrupts.wait), at, undo)
            assert time.monotonic() - began < 5
        finally:
            self.server.freeze(thaw=True)


class AccountsSuite(Own):
    """Users and grants: stored as SQL, brought back where missing."""

    @pytest.fixture(autouse=True)
    def _shop(self, _server: None) -> None:
        self.server.sql("CREATE DATABASE shop")

    def globals(self, at: Executor, undo: RecordingUndo) -> Item:
        return next(item for item in self.probe(self.source(), at, undo).items if item.role == "globals")

    def test_what_is_missing_comes_back(self, at: Executor, undo: RecordingUndo) -> None:
        server = self.server
        server.sql("CREATE TABLE shop.t (a int)", "CREATE ROLE `re``ad'er`")
        server.sql("GRANT SELECT ON shop.* TO `re``ad'er`", "CREATE USER `o'n``e`@`%` IDENTIFIED BY 'se;cret'")
        server.sql("GRANT `re``ad'er` TO `o'n``e`", "GRANT INSERT ON shop.t TO `o'n``e` WITH GRANT OPTION")
        default = "FOR" if server.kind == "mariadb" else "TO"
        server.sql(
            f"SET DEFAULT ROLE `re``ad'er` {default} `o'n``e`@`%`", "CREATE USER two@localhost IDENTIFIED BY 'a'"
        )
        server.sql("CREATE USER `new\nline`@localhost")

        def grants() -> list[Any]:
            found = [server.sql(f"SHOW GRANTS FOR {name}") for name in ("`o'n``e`@`%`", "`re``ad'er`")]
            return [*found, server.sql("SHOW CREATE USER `o'n``e`@`%`"), server.accounts()]

        item = self.globals(at, undo)
        taken = good(item, at, undo)
        before = grants()
        assert taken.end.counts_exact
        server.sql("DROP USER `o'n``e`@`%`", "DROP ROLE `re``ad'er`", "DROP USER `new\nline`@localhost")
        server.sql("ALTER USER two@localhost IDENTIFIED BY 'changed since'", "GRANT SELECT ON shop.* TO two@localhost")
        assert errors(self.engine.verify(item, "globals", taken.end.counts, at, undo))
        two = server.sql("SHOW CREATE USER two@localhost"), server.sql("SHOW GRANTS FOR two@localhost")
        restored = bring(item, taken.data, "globals", at, undo)
        assert grants() == before
        assert (server.sql("SHOW CREATE USER two@localhost"), server.sql("SHOW GRANTS FOR two@localhost")) == two
        assert "exist already: they are left as they are" in told(restored.findings)
        assert not errors(self.engine.verify(item, "globals", taken.end.counts, at, undo))
        server.connect(user="o'n`e", password="se;cret").close()

    def test_cut_data_makes_nobody(self, at: Executor, undo: RecordingUndo) -> None:
        self.server.sql("CREATE USER two@localhost IDENTIFIED BY 'a'")
        item = self.globals(at, undo)
        taken = good(item, at, undo)
        self.server.sql("DROP USER two@localhost")
        before = self.server.accounts()
        for place in (0, 10, len(taken.data) // 2, len(taken.data) - 1):
            with pytest.raises((RestoreFailed, DataDamaged)):
                bring(item, taken.data[:place], "globals", at, undo)
        with pytest.raises(DataDamaged):
            bring(item, taken.data, "globals", at, undo, damaged=True)
        assert self.server.accounts() == before

    def test_whom_it_cannot_drop_again_is_named(self, at: Executor, undo: RecordingUndo) -> None:
        one, two, three = (Account(name, "localhost") for name in ("one", "two", "three"))
        made = [
            Statement(one, f"CREATE USER {one.name}", create=True),
            Statement(two, f"DROP USER {one.name}", create=True),
            Statement(three, "CREATE NOBODY", create=True),
        ]
        data = accounts.MAGIC + b"".join(statement.text() for statement in made) + accounts.FOOTER
        with pytest.raises(RestoreFailed) as caught:
            bring(self.globals(at, undo), data, "globals", at, undo)
        assert f"{three.name} cannot be created" in caught.value.message
        assert f"; {one.name}, {two.name} had been created before" in caught.value.message
        assert "drop them" in (caught.value.hint or "")

    def test_unchanged_users_give_the_same_bytes(self, at: Executor, undo: RecordingUndo) -> None:
        item = self.globals(at, undo)
        assert good(item, at, undo).data == good(item, at, undo).data


BODIES = """
;;
CREATE FUNCTION plus(x int) RETURNS int DETERMINISTIC RETURN x + 1
;;
CREATE VIEW v AS SELECT a, plus(a) AS more, shop.plus(a) AS again FROM t
;;
CREATE PROCEDURE p() SELECT COUNT(*) FROM t
;;
CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01' DO DELETE FROM t WHERE a < 0
"""


class SwapSuite(Own):
    """In place: all tables in one step, or a refusal that says why."""

    def restored(self, item: Item, at: Executor, undo: RecordingUndo) -> None:
        bring(item, good(item, at, undo).data, "copy", at, undo)

    def assert_refused(self, item: Item, match: str, at: Executor, undo: RecordingUndo, *, before: bool = True) -> None:
        """Said when it is looked at beforehand (where it can be known then), and again by the swap; nothing changes."""
        found = self.engine.original(item, at)
        assert found.there
        assert bool(errors(found.findings)) is before, told(found.findings)
        if before:
            assert re.search(match, told(found.findings))
        databases, content_before = self.server.databases(), content(self.server, "shop")
        with pytest.raises(RestoreFailed, match=match) as caught:
            self.engine.swap(item, "copy", "kept", at, undo)
        assert_told(caught.value)
        assert self.server.databases() == databases
        assert content(self.server, "shop") == content_before

    def test_the_same_bodies_stay_and_find_the_new_tables(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL + BODIES):
            item = self.item("shop")
            self.restored(item, at, undo)
            self.server.sql("DELETE FROM t WHERE a = 2", "ALTER DATABASE shop CHARACTER SET utf8mb4", database="shop")
            found = self.engine.original(item, at)
            assert found.there
            assert not errors(found.findings)
            kept = self.engine.swap(item, "copy", "kept", at, undo)
            assert kept.name == "kept"
            assert self.server.sql("SELECT * FROM v ORDER BY a", database="shop") == [(1, 2, 2), (2, 3, 3)]
            assert self.server.sql("SELECT a FROM t", database="kept") == [(1,)]
            assert self.server.databases() == ["kept", "shop"]
            state = "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'shop'"
            assert self.server.sql(state) == [("ENABLED",)]
            shape = "SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shop'"
            assert self.server.sql(shape) == [("latin2",)]

    @pytest.mark.parametrize(
        "change",
        ["DROP VIEW v", "CREATE VIEW w AS SELECT 1 AS one", "ALTER VIEW v AS SELECT a FROM t", "DROP PROCEDURE p",
         "ALTER EVENT e DO DELETE FROM t WHERE a < -1"],
    )  # fmt: skip
    def test_bodies_that_differ(self, change: str, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL + BODIES):
            item = self.item("shop")
            self.restored(item, at, undo)
            self.server.sql(change, database="shop")
            self.assert_refused(item, "is not the same in both", at, undo, before=False)

    def test_triggers(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL):
            item = self.item("shop")
            self.restored(item, at, undo)
            self.server.sql("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1", database="shop")
            self.assert_refused(item, "triggers cannot be moved", at, undo)
            self.server.sql("DROP TRIGGER tr", database="shop")
            self.server.sql("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1", database="copy")
            self.assert_refused(item, "triggers cannot be moved", at, undo, before=False)

    def test_foreign_keys_from_elsewhere(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL):
            item = self.item("shop")
            self.restored(item, at, undo)
            self.server.sql(
                "CREATE DATABASE other", "CREATE TABLE other.o (a int, FOREIGN KEY (a) REFERENCES shop.t (a))"
            )
            self.assert_refused(item, "a foreign key of other.o points into it", at, undo)
            self.server.sql("DROP DATABASE other")

    def test_foreign_keys_inside_move_along(self, at: Executor, undo: RecordingUndo) -> None:
        script = (
            SMALL + "\n;;\nCREATE TABLE u (a int, CONSTRAINT own FOREIGN KEY (a) REFERENCES t (a) ON DELETE CASCADE)"
        )
        with made(self.server, "shop", script + "\n;;\nINSERT INTO u VALUES (1), (2)"):
            item = self.item("shop")
            self.restored(item, at, undo)
            before = content(self.server, "shop")
            self.engine.swap(item, "copy", "kept", at, undo)
            assert content(self.server, "shop") == before
            assert content(self.server, "kept") == before
            self.server.sql("DELETE FROM t WHERE a = 1", database="shop")
            assert self.server.sql("SELECT a FROM u", database="shop") == [(2,)]
            assert self.server.sql("SELECT COUNT(*) FROM u", database="kept") == [(2,)]

    def test_nothing_there(self, at: Executor, undo: RecordingUndo) -> None:
        with made(self.server, "shop", SMALL):
            item = self.item("shop")
            self.restored(item, at, undo)
            before = content(self.server, "shop")
            self.server.sql("DROP DATABASE shop")
            assert self.engine.original(item, at).there is False
            assert self.engine.swap(item, "copy", "kept", at, undo).name is None
            assert content(self.server, "shop") == before
            assert self.server.databases() == ["shop"]

    def test_a_locked_table_refuses_all(
        self, at: Executor, undo: RecordingUndo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.engines._mysql.connection.LOCK_WAIT", 1)
        with made(self.server, "shop", SMALL + "\n;;\nCREATE TABLE z (a int)"):
            item = self.item("shop")
            self.restored(item, at, undo)
            before = content(self.server, "shop")
            with self.server.connect("shop") as other, other.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT * FROM z")
                with pytest.raises(RestoreFailed, match="nothing was changed") as caught:
                    self.engine.swap(item, "copy", "kept", at, undo)
                assert_told(caught.value)
            assert self.server.databases() == ["copy", "shop"]
            assert content(self.server, "shop") == before


class KilledSwapSuite(Own):
    """A server that dies while the tables are moved."""

    @pytest.mark.slow
    def test_all_or_nothing_when_the_server_is_killed(self, at: Executor, undo: RecordingUndo) -> None:
        many = "\n;;\n".join(f"CREATE TABLE t{number} (a int)" for number in range(80))
        with MariadbServer(self.server.kind, ["innodb-flush-log-at-trx-commit=1"]) as server:
            server.sql("CREATE DATABASE shop")
            server.sql(*many.split("\n;;\n"), database="shop")
            item = Item(source_of(server, database="shop"), "shop", "sql")
            chance, data, took = random.Random("swap"), good(item, at, undo).data, 0.0
            for trial in range(5):
                bring(item, data, "copy", at, undo)
                server.sql("CREATE TABLE younger (a int)", database="shop")
                killer = threading.Timer(0.05 + chance.random() * took, server.kill)
                if trial:
                    killer.start()
                began = time.monotonic()
                with suppress(ResguardoError):
                    self.engine.swap(item, "copy", "kept", at, undo)
                took = took or time.monotonic() - began
                if trial:
                    killer.join()
                    server.start()
                found = {name: len(server.sql(f"SHOW TABLES FROM {name}")) for name in server.databases()}
                done = found.get("kept") == 81
                assert found["shop"] == (80 if done else 81), found
                assert found.get("kept", 0) == (81 if done else 0), found
                assert found.get("copy", 0) == (0 if done else 80), found
                for name in {*found} - {"shop"}:
                    server.sql(f"DROP DATABASE {name}")
                server.sql("DROP TABLE IF EXISTS younger", database="shop")


class TlsSuite(Own):
    """Connections over TCP, protected as it is said."""

    @pytest.fixture
    def files(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """An authority, another one, a server's certificate for the name localhost, and a client's."""
        folder = tmp_path_factory.mktemp("tls")
        let_others_in(folder)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

        def openssl(*words: str) -> None:
            subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60, cwd=folder)

        for name in ("ca", "other"):
            openssl(
                "req",
                "-x509",
                *key,
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-keyout",
                f"{name}.key",
                "-out",
                f"{name}.crt",
            )
        (folder / "names").write_text("subjectAltName=DNS:localhost\n")
        for name in ("localhost", "client"):
            openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2", "-extfile", "names"]
            openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.crt")
        for file in folder.iterdir():
            file.chmod(0o644)
        return folder

    def test_modes(self, files: Path, at: Executor, undo: RecordingUndo) -> None:
        settings = [f"ssl-ca={files}/ca.crt", f"ssl-cert={files}/localhost.crt", f"ssl-key={files}/localhost.key"]
        with MariadbServer(self.server.kind, settings) as server:
            server.sql("CREATE USER far@'%' IDENTIFIED BY 'f' REQUIRE SSL", "GRANT ALL ON *.* TO far@'%'")
            server.sql("CREATE USER cert@'%' IDENTIFIED BY 'f' REQUIRE X509", "GRANT ALL ON *.* TO cert@'%'")
            over: dict[str, Any] = {
                "socket": None,
                "port": server.port,
                "user": "far",
                "password": {"env": "X"},
                "secret": "f",
            }
            ca, other = f"{files}/ca.crt", f"{files}/other.crt"
            own = {"cert": f"{files}/client.crt", "key": f"{files}/client.key"}
            with made(server, "shop", SMALL):

                def taken(tls: dict[str, str], host: str = "localhost", **more: Any) -> bytes:
                    source = source_of(server, database="shop", globals=False, host=host, tls=tls, **(over | more))
                    return good(self.probe(source, at, undo).items[0], at, undo).data

                first = taken({})
                for tls in ({"mode": "require"}, {"ca": ca}, {"ca": ca, "mode": "verify-ca"}):
                    assert taken(tls).partition(b"-- Host")[2] == first.partition(b"-- Host")[2]
                assert taken({"ca": ca, **own}, user="cert")
                for wrong in ({"ca": other}, {"ca": other, "mode": "verify-ca"}):
                    with pytest.raises(ServerUnreachable, match="certificate"):
                        taken(wrong)
                with pytest.raises(ServerUnreachable, match="certificate"):
                    taken({"ca": ca}, host="127.0.0.1")
                for refused in ({"tls": {"mode": "disable"}}, {"tls": {"ca": ca}, "user": "cert"}):
                    with pytest.raises(RightsMissing):
                        taken(**refused)

    def test_a_server_without_tls(self, at: Executor, undo: RecordingUndo) -> None:
        settings = ["skip-ssl"] if self.server.kind == "mariadb" else ["tls-version="]
        with MariadbServer(self.server.kind, settings) as server, made(server, "shop", SMALL):
            server.sql("CREATE USER far@'%' IDENTIFIED BY 'f'", "GRANT ALL ON *.* TO far@'%'")
            over: dict[str, Any] = {
                "socket": None,
                "port": server.port,
                "user": "far",
                "password": {"env": "X"},
                "secret": "f",
            }
            source = source_of(server, database="shop", tls={"mode": "require"}, **over)
            with pytest.raises(ServerUnreachable):
                self.probe(source, at, undo)
            if server.kind == "mariadb":  # MySQL's way to log in wants TLS, or a library that we do not ask for
                good(self.probe(source_of(server, database="shop", **over), at, undo).items[-1], at, undo)


class BinlogSuite(Own):
    """The binary log's position in a dump."""

    def test_position_is_noted(self, at: Executor, undo: RecordingUndo) -> None:
        with pytest.raises(Precondition, match="writes no binary log"), made(self.server, "shop", SMALL):
            self.probe(self.source(database="shop", binlog=True), at, undo)
        settings = ["log-bin=bin", "server-id=1"]
        with MariadbServer(self.server.kind, settings) as server, made(server, "shop", SMALL):
            taken = good(self.probe(source_of(server, database="shop", binlog=True), at, undo).items[-1], at, undo)
            assert re.search(rb"(?m)^-- CHANGE (MASTER|REPLICATION SOURCE) TO .*(MASTER|SOURCE)_LOG_POS", taken.data)
            with PipeData(taken.data) as pipe:
                self.engine.restore(Item(source_of(server), "shop", "sql"), pipe, "copy", at, undo)
            server.sql(
                "CREATE USER bk@localhost IDENTIFIED BY 'f'",
                "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO bk@localhost",
            )
            weak = source_of(server, database="shop", binlog=True, user="bk", password={"env": "X"}, secret="f")
            with pytest.raises(RightsMissing) as caught:
                self.probe(weak, at, undo)
            server.sql((caught.value.hint or "").partition(";")[0])
            good(self.probe(weak, at, undo).items[-1], at, undo)
