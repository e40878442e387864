"""One service with databases of several engines: small ones wait for nobody and are stored together; one that turns out
larger than its probe said is streamed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.engines.servers.mariadb import MariadbServer
from tests.engines.servers.postgresql import PostgresServer
from tests.engines.servers.redis import RedisServer


@dataclass
class Servers:
    """One of each, with a little data."""

    postgresql: PostgresServer
    mariadb: MariadbServer
    redis: RedisServer


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        made = Servers(
            *(stack.enter_context(server) for server in (PostgresServer(), MariadbServer(), RedisServer()))  # type: ignore[arg-type]
        )
        made.postgresql.psql("CREATE DATABASE shop")
        made.postgresql.psql("CREATE TABLE orders AS SELECT n AS id FROM generate_series(1, 100) n", "shop")
        made.mariadb.sql("CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)")
        made.mariadb.sql("INSERT INTO shop.orders VALUES (1), (2)")
        made.redis.client().set("session", "one")
        yield made


def gated(folder: Path, real: Path, gate: Path) -> Path:
    """Return a folder of client tools whose pg_dump begins only once `gate` is there."""
    folder.mkdir()
    for program in real.iterdir():
        (folder / program.name).symlink_to(program)
    dump = folder / "pg_dump"
    dump.unlink()
    dump.write_text(
        f'#!/bin/sh\nreal={real}/pg_dump\n[ "$1" = --version ] && exec "$real" "$@"\n'
        f'while [ ! -e \'{gate}\' ]; do sleep 0.05; done\nexec "$real" "$@"\n'
    )
    dump.chmod(0o755)
    return folder


def stagings(folder: Path) -> set[str]:
    """Names of the dumps that wait there."""
    return {path.name for path in folder.rglob("*") if not path.is_dir()}


def await_dumps(process: subprocess.Popen[bytes], folder: Path, wanted: set[str]) -> None:
    until = time.monotonic() + 60
    while not wanted <= stagings(folder):
        assert process.poll() is None, "the run ended before its first dump could begin"
        assert time.monotonic() < until, f"only {stagings(folder)}: the others wait for the first"
        time.sleep(0.05)


def test_small_dumps_of_all_engines_go_side_by_side_into_one_snapshot(site: Site, servers: Servers) -> None:
    gate, staging = site.root / "gate", site.root / "dumps"
    staging.mkdir()
    tools = gated(site.root / "tools", servers.postgresql.bin, gate)
    site.policy(f"staging: {{dir: '{staging}'}}\n")
    site.services(
        "services:\n  hub:\n    databases:\n"
        f"      first: {{engine: postgresql, socket: '{servers.postgresql.socket}', port: {servers.postgresql.port}, "
        f"user: postgres, database: shop, globals: false, tools: '{tools}'}}\n"
        f"      second: {{engine: mariadb, socket: '{servers.mariadb.socket}', user: root, database: shop}}\n"
        f"      third: {{engine: redis, socket: '{servers.redis.socket}', user: default}}\n"
        "      fourth: {engine: sqlite, path: data/shop.db}\n"
    )
    running = site.start("backup")
    # the first one's dump cannot begin, and the others' are over all the same
    await_dumps(running, staging, {"second.shop.sql", "third.dump.rdb", "fourth.shop%2Edb.db"})
    gate.touch()
    assert running.wait(60) == 0
    assert stagings(staging) == set()
    (point,) = site.points()
    assert point["partial"] is False
    assert {source["name"] for source in point["sources"]} == {"first", "second", "third", "fourth"}
    assert len({source["snapshot"] for source in point["sources"]}) == 1
    assert sorted(tag for each in site.snapshots() for tag in each["tags"] if tag.startswith("part=")) == [
        "part=commit",
        "part=dumps",
    ]
    assert site.json("verify", "--point", point["id"])["result"] == "success"


def test_a_dump_that_outgrows_its_place_is_streamed(site: Site, servers: Servers) -> None:
    """What compresses well takes little room in a server, and much in a dump."""
    servers.postgresql.psql("CREATE DATABASE growing")
    servers.postgresql.psql(
        "CREATE TABLE big AS SELECT n AS id, repeat(md5(n::text), 40000) AS what FROM generate_series(1, 20) n",
        "growing",
    )
    site.services(
        "services:\n  hub:\n    databases:\n"
        f"      main: {{engine: postgresql, socket: '{servers.postgresql.socket}', port: {servers.postgresql.port}, "
        "user: postgres, database: growing, globals: false}\n"
        "      small: {engine: sqlite, path: data/shop.db}\n"
    )
    (planned,) = site.json("plan")["plan"]["points"]
    routes = {item["item"]["name"]: item for source in planned["sources"] for item in source["items"]}
    assert routes["growing"]["route"] == "staged"
    assert routes["growing"]["item"]["bytes"] < 1 << 20
    run = site.json("backup")
    assert run["result"] == "success"
    (point,) = site.points()
    sizes = {source["name"]: source["bytes"] for source in point["sources"]}
    assert sizes["main"] > 20 << 20
    parts = sorted(tag for each in site.snapshots() for tag in each["tags"] if tag.startswith("part="))
    assert parts == ["part=commit", "part=dumps", "part=stream"]
    site.run("restore", "hub", "--latest", "--source", "main", "--as", "grown")
    digest = "SELECT count(*), md5(string_agg(what, '' ORDER BY id)) FROM big"
    assert servers.postgresql.psql(digest, "grown") == servers.postgresql.psql(digest, "growing")


def known(seen: dict[str, object]) -> dict[str, object]:
    return seen | {"bytes": seen["bytes"] is not None}


def test_every_source_is_spoken_of_before(site: Site, servers: Servers) -> None:
    site.services(
        "services:\n  hub:\n    databases:\n"
        f"      pg: {{engine: postgresql, socket: '{servers.postgresql.socket}', port: {servers.postgresql.port}, "
        "user: postgres, database: shop, globals: false}\n"
        f"      my: {{engine: mariadb, socket: '{servers.mariadb.socket}', user: root, database: shop}}\n"
        f"      cache: {{engine: redis, socket: '{servers.redis.socket}', user: default}}\n"
        "      gone: {engine: redis, socket: /nowhere/socket, user: default}\n"
        f"      weak: {{engine: mariadb, socket: '{servers.mariadb.socket}', user: weak, database: shop, "
        "password: {file: password}}\n"
    )
    (site.root / "password").write_text("weak")
    (site.root / "password").chmod(0o600)
    servers.mariadb.sql(
        "CREATE OR REPLACE USER weak@localhost IDENTIFIED BY 'weak'", "GRANT SELECT ON shop.* TO weak@localhost"
    )
    site.run("backup", code=3)
    examined = site.json("doctor", code=1)
    before = {seen["source"]: seen for seen in examined["sources"]}
    points = site.json("plan", code=3)["plan"]["points"]
    planned = {source["source"]["id"]: source["preflight"] for point in points for source in point["sources"]}
    # what a living server takes differs from one look to the next
    assert [known(seen) for seen in before.values()] == [known(planned[name]) for name in before]
    for name in ("hub/pg", "hub/my", "hub/cache"):
        seen = before[name]
        assert (seen["reachable"], seen["rights"], seen["container"], seen["error"]) == (True, "enough", "", ""), seen
        assert seen["server"]
        assert seen["items"] >= 1
        assert seen["seconds"] is not None, "a run has told how long it takes"
    assert before["hub/pg"]["tool"].startswith("pg_dump ")
    assert before["hub/my"]["tool"].startswith("mariadb-dump")
    assert (before["hub/gone"]["reachable"], before["hub/gone"]["rights"]) == (False, "unknown")
    assert (before["hub/weak"]["reachable"], before["hub/weak"]["rights"]) == (True, "missing")
    assert "GRANT" in before["hub/weak"]["hint"]
    text = site.run("plan", code=3).stdout
    assert "REACHABLE" in text
    assert "missing" in next(line for line in text.splitlines() if line.startswith("hub/weak"))
    assert "reachable, rights suffice, 1 item" in site.run("doctor", code=1).stdout
