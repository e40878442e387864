"""A Redis server as its user backs it up and brings it back, with the real program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.engines.servers.redis import PASSWORD, RedisServer, check_program, content, functions
from tests.engines.test_redis import fill, started_on

SERVICES = """\
services:
  hub:
    databases:
      sessions:
        engine: redis
        socket: {socket}
        user: bk
        password: {{file: password}}
        directory: {directory}
{more}
"""
RIGHTS = ("on", f">{PASSWORD}", "-@all", "+psync", "+replconf", "+info", "+acl|list")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        fill(running)
        running.client().execute_command("ACL", "SETUSER", "bk", *RIGHTS)
        yield running


@pytest.fixture
def hub(site: Site, server: RedisServer) -> Site:
    (site.root / "password").write_text(PASSWORD)
    (site.root / "password").chmod(0o600)
    site.services(SERVICES.format(socket=server.socket, directory=server.data, more=""))
    return site


def test_backup_list_restore_verify(hub: Site, server: RedisServer) -> None:
    before = content(server), functions(server)
    assert hub.json("backup")["result"] == "success"
    (point,) = hub.points()
    stored = [(one["engine"], one["state"], one["path"].rpartition("/")[2]) for one in point["sources"]]
    assert stored == [
        ("redis", "committed", "sessions.dump.rdb"),
        ("redis", "committed", "sessions.users.acl"),
    ]
    shown = hub.run("show", point["id"]).stdout
    assert "sessions.dump.rdb" in shown
    assert hub.json("verify", "--point", point["id"])["result"] == "success"

    server.client().flushall()
    server.client().execute_command("ACL", "SETUSER", "later", "on")
    back = hub.root / "back"
    done = hub.json("restore", "hub", "--latest", "--to", str(back))
    assert [item["state"] for item in done["items"]] == ["restored"]
    assert sorted(os.listdir(back)) == ["sessions"]
    assert sorted(os.listdir(back / "sessions")) == ["appendonlydir", "dump.rdb"]
    with started_on(str(back / "sessions")) as restored:
        assert (content(restored), functions(restored)) == before
    assert hub.points()[0]["state"] == "restored"
    assert server.client().dbsize() == 0


def test_in_place(hub: Site, server: RedisServer) -> None:
    before = content(server)
    hub.run("backup")
    server.client().flushall()
    server.client().set("younger", "data")
    refused = hub.run("restore", "hub", "--latest", "--in-place", code=4)
    assert "is running" in refused.stderr
    assert "stop the server first" in refused.stderr
    server.save()
    server.stop()
    done = hub.json("restore", "hub", "--latest", "--in-place")
    (item,) = done["items"]
    assert item["target"] == str(server.data)
    with started_on(item["kept"]) as kept:
        assert kept.client().get("younger") == b"data"
    server.start()
    assert content(server) == before


def test_users_come_back_where_they_are_missing(hub: Site, server: RedisServer) -> None:
    server.client().execute_command("ACL", "SETUSER", "lost", "on", ">secret", "~a:*", "+get")
    before = server.client().execute_command("ACL", "LIST")
    hub.run("backup")
    server.client().execute_command("ACL", "DELUSER", "lost")
    hub.services(SERVICES.format(socket=server.socket, directory=server.data, more="        restore_user: default\n"))
    hub.run("restore", "hub", "--latest", "--to", str(hub.root / "back"), "--globals")
    assert sorted(server.client().execute_command("ACL", "LIST")) == sorted(before)
    assert (hub.root / "back" / "sessions.users.acl").read_bytes().splitlines() == before


def test_plain_restic_and_a_server(hub: Site, server: RedisServer, tmp_path: Path) -> None:
    """As docs/databases/redis.md says."""
    before = content(server)
    hub.run("backup")
    stored = hub.points()[0]["sources"][0]
    with open(tmp_path / "dump.rdb", "wb") as file:
        subprocess.run(
            [hub.restic, "-r", str(hub.root / "repository"), "--password-file", str(hub.root / "key"), "dump",
             stored["snapshot"], stored["path"]],
            stdout=file, check=True, timeout=60,
            env={"PATH": os.environ["PATH"], "RESTIC_CACHE_DIR": str(hub.root / "plain-cache")},
        )  # fmt: skip
    assert subprocess.run([str(check_program()), str(tmp_path / "dump.rdb")], check=False, timeout=60).returncode == 0
    with RedisServer({"appendonly": "no"}, data=tmp_path) as restored:
        assert content(restored) == before
        restored.client().config_set("appendonly", "yes")
        while restored.client().info("persistence")["aof_rewrite_in_progress"]:
            pass
        restored.stop()
        restored.settings["appendonly"] = "yes"
        restored.start()
        assert content(restored) == before


def test_what_is_wrong_is_told(hub: Site, server: RedisServer) -> None:
    """Never a restore point; the reason and the remedy are said."""
    (hub.root / "password").write_text("wrong")
    told = hub.run("backup", code=None)
    assert told.returncode in {1, 4}
    assert "user 'bk' is refused" in told.stderr
    (hub.root / "password").write_text(PASSWORD)
    server.client().execute_command("ACL", "SETUSER", "bk", "-psync")
    told = hub.run("backup", code=None)
    assert told.returncode in {1, 4}
    assert "HINT: ACL SETUSER bk +psync +replconf" in told.stderr
    assert PASSWORD not in told.stderr
    server.stop()
    assert "ERR" not in hub.run("backup", code=None).stdout
    assert hub.points() == []
    assert hub.snapshots() == []


def test_doctor_knows_the_server(hub: Site, server: RedisServer) -> None:
    said = hub.run("doctor", code=None)
    assert "Redis" in said.stdout + said.stderr or "Valkey" in said.stdout + said.stderr
