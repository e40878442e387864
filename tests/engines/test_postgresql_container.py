"""PostgreSQL inside a container, with the habits of the official image: a socket in /var/run/postgresql that lets
everybody in, a password for those who come over the network, and tools that run as root.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.adapters.container import ContainerExecutor
from orchestrator.engines.postgresql import ENGINE, Options
from orchestrator.engines.postgresql.quoting import ident
from orchestrator.model.engine import Item, Source
from orchestrator.model.errors import (
    Precondition,
    ResguardoError,
    RestoreFailed,
    RightsMissing,
    ServerUnreachable,
    ToolMissing,
)
from orchestrator.model.secret import Secret
from tests.engines.conformance import HOSTILE, assert_told, errors, read_all, trailer_problem
from tests.engines.recording import RecordingUndo
from tests.engines.servers.docker import Box, DockerEngine
from tests.engines.servers.postgresql import PASSWORD, newest_binaries
from tests.engines.test_postgresql import LARGE, PROPERTIES, SCHEMA
from tests.engines.test_postgresql_own import bring, data_item, good

# What the official image's entry point does, as far as it matters here.
_HBA = "local all all trust\\nhost all all 127.0.0.1/32 trust\\nhost all all all scram-sha-256\\n"
_START = f"""
set -e
export LC_ALL=C.UTF-8 PATH={newest_binaries()}:/usr/bin:/bin
mkdir -p /data/pg /var/run/postgresql && chown postgres /data/pg /var/run/postgresql
exec setpriv --reuid=postgres --regid=postgres --init-groups sh -ec '
  printf %s "$PW" >/tmp/pw && initdb -N -D /data/pg -U postgres --pwfile=/tmp/pw --auth=trust >/dev/null
  printf "{_HBA}" >/data/pg/pg_hba.conf
  exec postgres -D /data/pg -c listen_addresses="*" -c fsync=off -c unix_socket_directories="$SOCKETS"'
"""


class Inside:
    """A server inside a container of its own."""

    def __init__(self, box: Box, port: int = 5432) -> None:
        self.box = box
        self.bin = newest_binaries()
        self.place = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]

    def tool(self, name: str, *argv: str) -> str:
        return self.box.exec(str(self.bin / name), *self.place, *argv)

    def psql(self, sql: str, database: str = "postgres") -> str:
        name = database.replace("\\", "\\\\").replace("'", "\\'")
        return self.tool("psql", "-XqAtv", "ON_ERROR_STOP=1", "-d", f"dbname='{name}'", "-c", sql).rstrip("\n")

    def content(self, database: str) -> tuple[str, str]:
        """Everything: pg_dump's text, and what the database itself is."""
        name = database.replace("\\", "\\\\").replace("'", "\\'")
        return self.tool("pg_dump", "--restrict-key=same", "-d", f"dbname='{name}'"), self.psql(PROPERTIES, database)

    def wait(self) -> Inside:
        for _ in range(300):
            try:
                self.tool("pg_isready", "-q")
            except Exception:  # noqa: BLE001 - not yet there; at the end its log says why
                if not self.box.raw["State"]["Running"]:
                    break
            else:
                return self
        raise AssertionError(self.box.logs)


@contextmanager
def inside(engine: DockerEngine, sockets: str = "/var/run/postgresql", **more: Any) -> Iterator[Inside]:
    env = {"PW": PASSWORD, "SOCKETS": sockets, "PGUSER": "nobody", "PGHOST": "nowhere.example"}
    command = ["/usr/bin/sh", "-c", _START]
    with engine.container(command, memory=["/data"], env=env, **more) as box:
        yield Inside(box).wait()


@pytest.fixture(scope="module")
def server(docker_engine: DockerEngine) -> Iterator[Inside]:
    with inside(docker_engine) as running:
        yield running


@pytest.fixture
def at(server: Inside) -> ContainerExecutor:
    return server.box.executor()


@pytest.fixture
def shop(server: Inside) -> Iterator[str]:
    with made(server, "shop", [SCHEMA]) as name:
        yield name


@contextmanager
def made(server: Inside, name: str, scripts: Sequence[str]) -> Iterator[str]:
    server.psql(f"CREATE DATABASE {ident(name)}")
    try:
        for script in scripts:
            server.psql(script, name)
        yield name
    finally:
        query = "SELECT string_agg(quote_ident(datname), chr(1)) FROM pg_database WHERE oid >= 16384"
        for database in server.psql(query).split("\1"):
            server.psql(f"DROP DATABASE {database} WITH (FORCE)")


def source_of(server: Inside, *, secret: str = PASSWORD, timeout: float = 60.0, **more: Any) -> Source:
    options = Options.model_validate({"container": server.box.name, **more}, context={"directory": "/"})
    return Source(
        "shop",
        "main",
        "postgresql",
        "default",
        timeout,
        options,
        lambda _ref: Secret(secret),
        container=server.box.name,
    )


@pytest.mark.parametrize("form", ["plain", pytest.param("custom", marks=pytest.mark.slow)])
def test_as_the_image_is(form: str, server: Inside, shop: str, at: ContainerExecutor, undo: RecordingUndo) -> None:
    """With nothing but the container's name: the socket is found, the role is the image's."""
    facts = ENGINE.probe(source_of(server, include=[shop], format=form), at, undo)
    assert facts.findings == ()
    assert facts.server.startswith(f"PostgreSQL {server.bin.parts[-2]}.")
    roles, item = facts.items
    known = good(roles, at, undo)
    assert ENGINE.verify(roles, roles.name, known.end.counts, at, undo) == []
    taken = good(item, at, undo)
    assert taken.end.counts["public.customer"] == 300
    assert taken.end.counts_exact
    assert not bring(item, taken.data, "again", at, undo).findings[1:]
    assert not errors(ENGINE.verify(item, "again", taken.end.counts, at, undo))
    same = slice(None) if form == "plain" else slice(1)  # custom dumps leave out what belongs to the database itself
    assert server.content("again")[same] == server.content(shop)[same]
    server.psql("INSERT INTO audit VALUES ('x')", shop)
    before, after = server.content(shop), server.content("again")
    found = ENGINE.original(item, at)
    assert (found.there, found.findings) == (True, ())
    assert ENGINE.swap(item, "again", "shop before", at, undo).name == "shop before"
    assert (server.content(shop)[0], server.content("shop before")[0]) == (after[0], before[0])
    undo.assert_clean()
    assert not [words for words in server.box.processes() if "pg_dump" in words or "psql" in words]


@pytest.mark.parametrize("name", [HOSTILE[2], HOSTILE[7]])
def test_hostile_names(name: str, server: Inside, at: ContainerExecutor, undo: RecordingUndo) -> None:
    with made(server, name, [SCHEMA]):
        item = data_item(source_of(server, database=name), at, undo)
        taken = good(item, at, undo)
        bring(item, taken.data, f"{name} r", at, undo)
        assert not errors(ENGINE.verify(item, f"{name} r", taken.end.counts, at, undo))
        assert server.content(f"{name} r") == server.content(name)


@pytest.mark.slow
def test_chosen_tables_and_configuration(server: Inside, shop: str, at: ContainerExecutor, undo: RecordingUndo) -> None:
    source = source_of(server, database=shop, exclude_tables=["audit", "measure"], configuration=True, upkeep="vacuum")
    files, _, item = ENGINE.probe(source, at, undo).items
    taken = good(item, at, undo)
    assert taken.end.findings == ()
    assert (taken.end.counts["public.measure_1"], taken.end.counts["public.customer"]) == (0, 300)
    assert "file /data/pg/pg_hba.conf" in good(files, at, undo).end.counts


def test_secrets_are_seen_nowhere(server: Inside, at: ContainerExecutor, undo: RecordingUndo) -> None:
    with made(server, "shop", [LARGE]):
        source = source_of(server, database="shop", password={"env": "X"}, secret="a very: secret\\one")
        with ENGINE.dump(data_item(source, at, undo), at, undo) as dump:
            seen = b""
            while b"COPY public.bulk" not in seen:
                seen += (block := os.read(dump.fd, 1000))
                assert block, dump.finish()
            (words,) = (words for words in server.box.processes() if "--snapshot=" in words)
            assert "secret" not in words.replace("{secret", "")
            assert "very" not in str(server.box.raw)


class TestFailures:
    """Whatever happens to it, a dump that is not whole is told."""

    @pytest.fixture
    def own(self, docker_engine: DockerEngine) -> Iterator[Inside]:
        with inside(docker_engine) as running:
            running.psql("CREATE DATABASE shop")
            running.psql(LARGE, "shop")
            yield running

    @contextmanager
    def under_way(self, own: Inside, undo: RecordingUndo, **more: Any) -> Iterator[Any]:
        at = own.box.executor()
        with ENGINE.dump(data_item(source_of(own, database="shop", **more), at, undo), at, undo) as dump:
            seen = b""
            while b"COPY public.bulk" not in seen:
                seen += (block := os.read(dump.fd, 1000))
                assert block, dump.finish()
            yield dump

    def test_container_killed(self, own: Inside, undo: RecordingUndo) -> None:
        with self.under_way(own, undo) as dump:
            own.box.kill()
            data = read_all(dump.fd)
            end = dump.finish()
            assert f"container {own.box.name} is not running" in end.error
            assert any(finding.hint for finding in end.findings)
            assert trailer_problem(data, dump.trailer)
        undo.assert_clean()
        with pytest.raises(ServerUnreachable, match=f"container {own.box.name} is not running") as caught:
            ENGINE.probe(source_of(own, database="shop"), own.box.executor(), undo)
        assert_told(caught.value)

    @pytest.mark.slow
    def test_container_paused(self, own: Inside, undo: RecordingUndo) -> None:
        with self.under_way(own, undo, timeout=6.0) as dump:
            own.box.pause()
            end = dump.finish()  # nobody reads, and the source's time is over
            assert end.error
        own.box.unpause()
        for _ in range(200):  # what was killed while it was frozen dies now
            if not undo.living():
                break
            time.sleep(0.05)
        undo.assert_clean()
        at = own.box.executor()
        good(data_item(source_of(own, database="shop"), at, undo), at, undo)

    def test_container_killed_while_restoring(self, own: Inside, undo: RecordingUndo) -> None:
        at = own.box.executor()
        item = data_item(source_of(own, database="shop"), at, undo)
        data = good(item, at, undo).data.replace(b"COPY public.bulk", b"SELECT pg_sleep(60);COPY public.bulk")

        def kill() -> None:
            while own.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "1":
                time.sleep(0.05)
            own.box.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(RestoreFailed) as caught:
            bring(item, data, "again", at, undo)
        killer.join(20)
        assert "'again' is still there" in str(caught.value)
        assert caught.value.hint == 'DROP DATABASE "again"'
        undo.assert_clean()

    @pytest.mark.slow
    def test_server_killed(self, own: Inside, undo: RecordingUndo) -> None:
        with self.under_way(own, undo) as dump:
            own.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pg_dump'")
            read_all(dump.fd)
            end = dump.finish()
            assert end.error
            assert any(finding.hint for finding in end.findings)


def taking_problem(item: Item, at: ContainerExecutor, undo: RecordingUndo) -> str:
    """How dumping it failed, "" when it did not."""
    try:
        with ENGINE.dump(item, at, undo) as dump:
            read_all(dump.fd)
            return dump.finish().error
    except ResguardoError as error:
        return error.message


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"tools": "/nowhere"}, ToolMissing, "pg_dump is not in /nowhere in container"),
        pytest.param({"user": "absent"}, RightsMissing, "'absent' is refused", marks=pytest.mark.slow),
        pytest.param({"user": "weak"}, RightsMissing, "may not read", marks=pytest.mark.slow),
        pytest.param({"database": "absent"}, Precondition, "no database 'absent'", marks=pytest.mark.slow),
        ({"port": 5444}, ServerUnreachable, "postgresql in container"),
        ({"socket": "/nowhere"}, ServerUnreachable, "is not there in container"),
    ],
)
def test_what_is_missing_is_told(
    more: dict[str, Any], kind: type[ResguardoError], said: str, server: Inside, shop: str, undo: RecordingUndo
) -> None:
    server.psql("CREATE ROLE weak LOGIN")
    try:
        source = source_of(server, **{"database": shop, **more})
        at = server.box.executor()
        with pytest.raises(kind, match=said) as caught:
            ENGINE.probe(source, at, undo)
        assert_told(caught.value)
        assert taking_problem(Item(source, source.options.database, "sql"), at, undo)
    finally:
        server.psql("DROP ROLE weak")


def test_without_a_socket_the_network_is_taken(docker_engine: DockerEngine, undo: RecordingUndo) -> None:
    with inside(docker_engine, sockets="") as server, made(server, "shop", [SCHEMA]):
        at = server.box.executor()
        source = source_of(server, database="shop", password={"env": "X"})
        item = data_item(source, at, undo)
        taken = good(item, at, undo)
        bring(item, taken.data, "again", at, undo)
        assert server.content("again") == server.content("shop")
        wrong = replace(source, resolve=lambda _ref: Secret("wrong"))
        with pytest.raises(RightsMissing, match="password authentication failed") as caught:
            ENGINE.probe(wrong, at, undo)
        assert_told(caught.value)
