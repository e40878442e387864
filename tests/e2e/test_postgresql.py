"""PostgreSQL from the command line: many databases, choices, one of many brought back, a server in a container."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.site import Site
from tests.engines.servers.docker import DockerEngine
from tests.engines.servers.postgresql import PostgresServer
from tests.engines.test_postgresql_container import inside

SHOP = """
CREATE TABLE orders (id int PRIMARY KEY, what text); INSERT INTO orders SELECT n, 'o' FROM generate_series(1, 50) n;
CREATE TABLE session (id int); INSERT INTO session SELECT generate_series(1, 9);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        for name in ("shop_a", "shop_b", "shop_old", "other"):
            made.psql(f"CREATE DATABASE {name}")
            made.psql(SHOP, name)
        yield made


def configure(site: Site, server: PostgresServer, **keys: str) -> None:
    given = {"engine": "postgresql", "socket": f"'{server.socket}'", "port": str(server.port), "user": "postgres"}
    text = ", ".join(f"{key}: {value}" for key, value in (given | keys).items())
    site.services(f"services:\n  shop:\n    databases:\n      main: {{{text}}}\n")


def items(run: Any) -> dict[str, Any]:
    return {item["name"]: item for item in run["services"][0]["sources"][0]["items"]}


def test_many_with_choices_and_one_brought_back(site: Site, server: PostgresServer) -> None:
    keys = {"include": "['shop_*']", "exclude": "['*_old']", "exclude_tables": "[session]", "configuration": "true"}
    configure(site, server, **keys, upkeep="analyze")
    taken = items(site.json("backup"))
    assert set(taken) == {"configuration", "globals", "shop_a", "shop_b"}
    assert taken["shop_a"]["counts"]["public.session"] == 0
    assert taken["shop_a"]["counts"]["public.orders"] == 50
    server.psql("CREATE TABLE late ()", "shop_b")
    told = site.run("restore", "shop", "--latest", "--as", "back", code=2)
    assert "--database" in told.stderr
    site.run("restore", "shop", "--latest", "--database", "absent", "--as", "back", code=1)
    done = site.json("restore", "shop", "--latest", "--database", "shop_b", "--as", "back of 'b'", "--globals")
    assert done["result"] == "success"
    assert {item["target"] for item in done["items"]} == {"configuration", "globals", "back of 'b'"}
    assert server.psql("SELECT count(*), (SELECT count(*) FROM session) FROM orders", "back of 'b'") == "50|0"
    assert site.points()[0]["state"] == "committed", "one database of two came back"
    done = site.json("restore", "shop", "--latest", "--database", "shop_b", "--in-place")
    (kept,) = (item["kept"] for item in done["items"])
    assert server.psql("SELECT count(*) FROM pg_class WHERE relname = 'late'", "shop_b") == "0"
    assert server.psql("SELECT count(*) FROM pg_class WHERE relname = 'late'", kept) == "1"
    site.json("restore", "shop", "--latest")
    assert site.points()[0]["state"] == "restored"


def test_rows_alone_come_back_by_hand_only(site: Site, server: PostgresServer) -> None:
    configure(site, server, database="other", content="data", globals="false")
    site.json("backup")
    done = site.run("restore", "shop", "--latest", "--as", "back", code=1)
    assert "it holds rows and no tables" in done.stdout + done.stderr
    assert server.psql("SELECT count(*) FROM pg_database WHERE datname = 'back'") == "0"


@pytest.mark.parametrize(
    "given",
    [
        {"include": "['shp_*']"},
        pytest.param({"database": "shop_a", "tables": "[ordres]"}, marks=pytest.mark.slow),
    ],
)
def test_what_matches_nothing_makes_no_point(given: dict[str, str], site: Site, server: PostgresServer) -> None:
    configure(site, server, **given)
    told = site.run("backup", code=None)
    assert told.returncode != 0
    assert "matches" in told.stdout + told.stderr
    assert site.points() == []


def test_a_container_from_backup_to_restore(site: Site, docker_engine: DockerEngine) -> None:
    """With nothing but its name; then it is killed under a dump: no point, the reason said."""
    with inside(docker_engine) as server:
        server.psql("CREATE DATABASE shop")
        for statement in SHOP.split(";")[:-1]:
            server.psql(statement, "shop")
        site.env["DOCKER_HOST"] = docker_engine.url
        entry = f"{{engine: postgresql, container: {server.box.name}, include: [shop], globals: false}}"
        site.services(f"services:\n  shop:\n    databases:\n      main: {entry}\n")
        assert items(site.json("backup"))["shop"]["counts"]["public.orders"] == 50
        site.json("restore", "shop", "--latest", "--as", "back")
        assert server.psql("SELECT count(*) FROM orders", "back") == "50"
        known = [point["id"] for point in site.points()]
        # a dump that is long under way: its table is locked for it, and its lock is waited for
        locker = "BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(100)"
        tool = [str(server.bin / "psql"), *server.place, "-d", "shop", "-c", locker]
        holder = subprocess.Popen(
            ["docker", "-H", docker_engine.url, "exec", server.box.name, *tool],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass"
        until(lambda: server.psql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'", "shop") != "0")
        running = subprocess.Popen(
            site.argv("backup"), env=site.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        until(lambda: server.psql(waiting, "shop") != "0")
        server.box.kill()
        said, _ = running.communicate(timeout=60)
        holder.wait(20)
        assert running.returncode not in {0, 70}
        assert f"container {server.box.name} is not running" in said
        assert [point["id"] for point in site.points()] == known
        assert site.quiet_within(10) == []


def until(seen: Any) -> None:
    for _ in range(400):
        if seen():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")
