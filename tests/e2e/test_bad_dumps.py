"""Dumps that fail, are cut, are empty or hang: never a restore point, never a snapshot, always said."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.engines.servers.postgresql import PostgresServer

REAL = "/usr/lib/postgresql"

# What stands in for pg_dump: a real program that ends badly, by a shell around the real one.
WAYS = {
    "fails after everything": '"$real" "$@"; exit 1',
    "is killed at 50 MB": '"$real" "$@" | head -c 50000000; kill -9 $$',
    "is empty and content": "exit 0",
    "has no footer": '"$real" "$@" | head -c -400; exit 0',
    "is frozen": '"$real" "$@" | head -c 100000; sleep 300',
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        made.psql("CREATE DATABASE shop")
        made.psql(
            "CREATE TABLE orders AS SELECT n AS id, md5(n::text) || md5((n + 1)::text) AS what"
            " FROM generate_series(1, 900000) n",
            "shop",
        )
        yield made


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web hook on loopback, and what it was sent."""
    sent: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{web.server_port}/", sent
    web.shutdown()
    thread.join()
    web.server_close()


def prepare(site: Site, server: PostgresServer, hook: str, script: str) -> None:
    """Point the site at the server, with a pg_dump that ends as `script` says."""
    tools = site.root / "tools"
    tools.mkdir()
    real = max(Path(REAL).glob("*/bin"))
    for program in real.iterdir():
        (tools / program.name).symlink_to(program)
    (tools / "pg_dump").unlink()
    (tools / "pg_dump").write_text(
        f'#!/bin/bash\nset -o pipefail\nreal={real}/pg_dump\n[ "$1" = --version ] && exec "$real" "$@"\n{script}\n'
    )
    (tools / "pg_dump").chmod(0o755)
    site.policy("notify: {channels: {hook: {url: {file: hook}}}, rules: [{on: [failed, partial], to: [hook]}]}\n")
    (site.root / "hook").write_text(hook)
    (site.root / "hook").chmod(0o600)
    site.services(
        "services:\n  shop:\n    databases:\n"
        f"      main: {{engine: postgresql, socket: '{server.socket}', port: {server.port}, user: postgres, "
        f"database: shop, tools: '{tools}', timeout: 12s, globals: false}}\n"
    )


@pytest.mark.parametrize("way", list(WAYS))
def test_a_bad_dump_is_never_a_restore_point(
    site: Site, server: PostgresServer, hook: tuple[str, list[dict[str, str]]], way: str
) -> None:
    url, sent = hook
    prepare(site, server, url, WAYS[way])
    done = site.run("--json", "backup", code=1)
    run = json.loads(done.stdout)
    failures = [event for event in run["events"] if event["name"] == "source.failed"]
    assert len(failures) == 1, run["events"]
    assert site.snapshots() == []
    assert site.points() == []
    assert len(sent) == 1, sent
    assert "shop" in json.dumps(sent[0])


def one_failed_beside_a_good_one(site: Site, sent: list[dict[str, str]], failed: str, good: str) -> None:
    """Back up; the point is partial and says which source failed, with one event and one notification."""
    run = json.loads(site.run("--json", "backup", code=3).stdout)
    failures = [event["source"] for event in run["events"] if event["name"] == "source.failed"]
    assert failures == [failed], run["events"]
    assert {source["name"]: source["state"] for source in run["services"][0]["sources"]} == {
        failed: "failed",
        good: "taken",
    }
    (point,) = site.points()
    assert point["partial"] is True
    shown = site.json("show", point["id"])["restore_point"]
    assert {source["name"]: source["outcome"] for source in shown["sources"]} == {failed: "failed", good: "taken"}
    assert len(sent) == 1, sent
    assert failed in json.dumps(sent[0])


def test_a_bad_dump_leaves_the_other_source_in_a_partial_point(
    site: Site, server: PostgresServer, hook: tuple[str, list[dict[str, str]]]
) -> None:
    url, sent = hook
    prepare(site, server, url, WAYS["fails after everything"])
    services = site.root / "services.yml"
    services.write_text(services.read_text() + "    paths: [data/files]\n")
    one_failed_beside_a_good_one(site, sent, "main", "files")


def test_a_corrupt_sqlite_file_is_never_stored(site: Site, hook: tuple[str, list[dict[str, str]]]) -> None:
    url, sent = hook
    site.policy("notify: {channels: {hook: {url: {file: hook}}}, rules: [{on: [failed, partial], to: [hook]}]}\n")
    (site.root / "hook").write_text(url)
    (site.root / "hook").chmod(0o600)
    database = site.root / "data" / "shop.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = database.read_bytes()
    database.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    one_failed_beside_a_good_one(site, sent, "main", "files")


def test_the_real_dump_is(site: Site, server: PostgresServer, hook: tuple[str, list[dict[str, str]]]) -> None:
    """The control: the same site with a pg_dump that ends well."""
    prepare(site, server, hook[0], 'exec "$real" "$@"')
    run = site.json("backup")
    source = run["services"][0]["sources"][0]
    assert source["state"] == "taken"
    assert source["items"][0]["counts"]["public.orders"] == 900000
    assert hook[1] == []


def test_the_server_stops_in_mid_dump(site: Site, hook: tuple[str, list[dict[str, str]]]) -> None:
    with PostgresServer() as own:
        own.psql("CREATE DATABASE shop")
        own.psql("CREATE TABLE t AS SELECT n AS id, repeat('x', 400) AS what FROM generate_series(1, 400000) n", "shop")
        marker = site.root / "under-way"
        script = f'"$real" "$@" | {{ head -c 3000000; touch "{marker}"; sleep 2; cat; }}'
        prepare(site, own, hook[0], script)
        process = site.start("backup")
        while not marker.exists():
            assert process.poll() is None
            time.sleep(0.05)
        own.kill()
        assert process.wait(60) == 1
    assert site.snapshots() == []
    assert site.points() == []
    assert len(hook[1]) == 1
