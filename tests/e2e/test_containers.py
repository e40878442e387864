"""A database in a container, as a user backs it up: `container: NAME` in services.yml."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.site import Site
from tests.engines.servers.docker import Box, DockerEngine
from tests.engines.servers.postgresql import newest_binaries
from tests.integration.docker.postgres import PASSWORD, postgres_in, psql

SHOP = """
CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS what FROM generate_series(1, 1000) n;
CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 40) AS t FROM generate_series(1, 20000) n;
"""
DIGEST = "SELECT count(*), md5(string_agg(what, ',' ORDER BY id)) FROM orders"
SERVICES = """\
services:
  shop:
    databases:
      pg: {{engine: postgresql, container: {name}, user: postgres, database: shop, password: {{file: password}}{more}}}
"""
STREAMED = "staging: {source: 1KiB}\n"


@pytest.fixture(scope="module")
def server(docker_engine: DockerEngine) -> Iterator[Box]:
    with postgres_in(docker_engine, SHOP) as box:
        yield box


@pytest.fixture
def shop(site: Site, server: Box) -> Site:
    return configured(site, server)


def configured(site: Site, box: Box, more: str = "") -> Site:
    site.env["DOCKER_HOST"] = box.engine.url
    (site.root / "password").write_text(PASSWORD)
    (site.root / "password").chmod(0o600)
    site.services(SERVICES.format(name=box.name, more=more))
    return site


def left_in(box: Box) -> list[str]:
    """Client programs that still run inside; the server's own processes are named otherwise."""
    names = ("pg_dump", "psql", "/bin/sh", "pg_restore")
    return [words for words in box.processes() if words.startswith(names) or "/bin/pg_dump" in words]


def quiet(box: Box) -> list[str]:
    until = time.monotonic() + 10
    while (left := left_in(box)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def files_in(box: Box) -> list[str]:
    return [str(path) for place in ("/dev/shm", "/run", "/tmp") for path in box.file(place).glob(".resguardo-*")]


def test_a_backup_comes_back(shop: Site, server: Box) -> None:
    run = shop.json("backup")
    assert run["result"] == "success"
    manifest = manifest_of(shop)
    image = manifest["sources"][0]["server"]["image"]
    assert image.startswith("resguardo-host:1@sha256:")
    assert manifest["sources"][0]["server"]["version"]
    psql(server, "DROP DATABASE IF EXISTS copy", "postgres")
    done = shop.json("restore", "shop", "--latest", "--as", "copy")
    assert done["result"] == "success"
    assert psql(server, DIGEST, "copy") == psql(server, DIGEST)
    assert shop.points()[0]["state"] == "restored"
    psql(server, "DROP DATABASE copy", "postgres")
    assert left_in(server) == []


def manifest_of(site: Site) -> Any:
    commit = next(each for each in site.snapshots() if "part=commit" in each["tags"])
    done = subprocess.run(
        [
            site.restic,
            "-r",
            str(site.root / "repository"),
            "--password-file",
            str(site.root / "key"),
            "--no-lock",
            "dump",
            commit["id"],
            "/manifest.json",
        ],
        env={"PATH": "/usr/bin:/bin", "RESTIC_CACHE_DIR": str(site.root / "plain-cache")},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_the_password_is_seen_nowhere(shop: Site, server: Box) -> None:
    shop.run("backup")
    api = server.engine.client.api
    stream = api.events(since=0, until=int(time.time()), decode=True)
    said = json.dumps([api.inspect_container(server.id), *stream])
    stream.close()
    assert "pg_dump" in said
    assert PASSWORD not in said
    assert PASSWORD not in server.logs
    assert all(PASSWORD not in path.read_text() for path in (shop.state / "logs").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "name",
    [
        "child.released",
        "stream.reported",
        pytest.param("child.blocked", marks=pytest.mark.slow),
        pytest.param("child.acknowledged", marks=pytest.mark.slow),
    ],
)
def test_killed_at_a_failpoint(shop: Site, server: Box, name: str) -> None:
    shop.policy(STREAMED)
    marker = shop.root / "failpoint"
    point = name if name.startswith("stream") else f"{name}:2"  # the first child only asks for a version
    died = shop.run("backup", code=None, RESGUARDO_FAILPOINT=point, RESGUARDO_FAILPOINT_FILE=str(marker))
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert shop.quiet_within(15) == []
    assert quiet(server) == []
    assert files_in(server) == []
    assert shop.points() == []
    assert shop.json("backup")["result"] == "success"
    assert len(shop.points()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_killed_at_some_moment(shop: Site, server: Box, number: signal.Signals) -> None:
    shop.policy(STREAMED)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    moment = random.Random(seed)
    for _ in range(3):
        running = shop.start("backup")
        time.sleep(moment.uniform(0.3, 2.0))
        running.send_signal(number)
        running.wait(30)
        assert shop.quiet_within(15) == []
        assert quiet(server) == []
        assert files_in(server) == []
    shop.run("recover")
    before = len(shop.points())
    assert shop.json("backup")["result"] == "success"
    assert len(shop.points()) == before + 1


def source_of(run: Any) -> Any:
    return run["services"][0]["sources"][0]


def test_the_container_is_paused(shop: Site, server: Box) -> None:
    server.pause()
    try:
        failed = shop.json("backup", code=4)
    finally:
        server.unpause()
    assert source_of(failed)["error"] == f"container {server.name} is paused"
    assert source_of(failed)["hint"] == f"docker unpause {server.name}"
    assert shop.points() == []


def test_tools_that_are_not_in_the_container(site: Site, server: Box) -> None:
    configured(site, server, ", tools: /no/such/folder")
    failed = site.json("backup", code=4)
    assert "pg_dump" in source_of(failed)["error"]
    assert site.points() == []


def test_no_such_container_and_no_engine(shop: Site, server: Box) -> None:
    shop.services(SERVICES.format(name="absent", more=""))
    failed = shop.json("backup", code=4)
    assert "container absent is not there" in source_of(failed)["error"]
    failed = shop.json("backup", code=4, DOCKER_HOST="unix:///tmp/no-engine-here.sock")
    assert "the Docker Engine at unix:///tmp/no-engine-here.sock does not answer" in source_of(failed)["error"]
    assert shop.points() == []


def lock(box: Box, table: str) -> None:
    """Hold a table's lock as long as the server lives."""
    api = box.engine.client.api
    sql = f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"
    words = [f"{newest_binaries()}/psql", "-Xq", "-h", "/tmp", "-U", "postgres", "-d", "shop", "-c", sql]
    api.exec_start(api.exec_create(box.id, words, user="postgres")["Id"], detach=True)
    asked = f"SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND granted"
    until = time.monotonic() + 30
    while psql(box, asked) != "1":
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_container_dies_during_the_dump(site: Site, docker_engine: DockerEngine) -> None:
    site.policy(STREAMED)
    with postgres_in(docker_engine, SHOP) as box:
        configured(site, box, ", globals: false")
        lock(box, "orders")  # the dump waits for it
        running = site.start("backup")
        until = time.monotonic() + 60
        while not any("pg_dump" in words and "--version" not in words for words in left_in(box)):
            assert time.monotonic() < until
            assert running.poll() is None, "it ended before the dump could be met"
            time.sleep(0.005)
        box.kill()
        assert running.wait(60) != 0
        assert site.points() == []
        assert [each for each in site.snapshots() if "part=commit" in each["tags"]] == []
