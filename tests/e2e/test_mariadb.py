"""MariaDB through the real program: backup, list, restore beside and in place, verify, and what plain tools can do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.engines.mysql_content import content
from tests.engines.servers.mariadb import MariadbServer
from tests.engines.servers.roots import needed
from tests.engines.test_mariadb import SCHEMA, statements

SERVICES = """\
services:
  hub:
    databases:
      main:
        engine: mariadb
        socket: {socket}
        database: {database}
        user: bk
        password: {{file: password}}
        restore_user: root
"""
RIGHTS = "SELECT, SHOW VIEW, TRIGGER, EVENT ON *.*"


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with MariadbServer() as running:
        running.sql("CREATE USER bk@localhost IDENTIFIED BY 'b:k\\\\#'", f"GRANT {RIGHTS} TO bk@localhost")
        yield running


@pytest.fixture
def hub(site: Site, server: MariadbServer) -> Iterator[Site]:
    server.sql("CREATE DATABASE hub CHARACTER SET utf8mb4")
    server.sql(*statements(SCHEMA), database="hub")
    (site.root / "password").write_text("b:k\\#\n")
    (site.root / "password").chmod(0o600)
    site.services(SERVICES.format(socket=server.socket, database="hub"))
    yield site
    server.drop_all()


def test_backup_list_restore_verify(hub: Site, server: MariadbServer, newest_restic: str) -> None:
    before = content(server, "hub")
    server.sql("CREATE USER app@localhost IDENTIFIED BY 'secret'", "GRANT SELECT ON hub.* TO app@localhost")
    assert hub.json("backup")["result"] == "success"
    (point,) = hub.points()
    assert sorted(Path(source["path"]).name for source in point["sources"]) == ["main.globals.sql", "main.hub.sql"]
    assert hub.json("verify", "--point", point["id"])["result"] == "success"
    server.sql("DELETE FROM orders", "DROP USER app@localhost", database="hub")

    done = hub.json("restore", "hub", "--latest", "--as", "hub_copy", "--globals")
    assert [item["state"] for item in done["items"]] == ["restored"] * 2
    assert content(server, "hub_copy") == before
    server.connect("hub", user="app", password="secret").close()
    server.sql("DROP USER app@localhost")
    _by_hand(hub, server, newest_restic)
    assert content(server, "by_hand") == before

    changed = content(server, "hub")
    done = hub.json("restore", "hub", "--latest", "--in-place")
    (item,) = done["items"]
    assert content(server, "hub") == before
    assert content(server, item["kept"]) == changed
    assert set(server.databases()) == {"hub", "hub_copy", "by_hand", item["kept"]}


def test_a_swap_that_cannot_be_is_refused_before_anything_is_restored(hub: Site, server: MariadbServer) -> None:
    server.sql("CREATE TRIGGER tr BEFORE INSERT ON audit FOR EACH ROW SET NEW.what = 'x'", database="hub")
    hub.run("backup")
    refused = hub.run("restore", "hub", "--latest", "--in-place", code=4)
    assert "triggers cannot be moved" in refused.stderr
    assert "--as NAME" in refused.stderr
    assert server.databases() == ["hub"]
    hub.json("restore", "hub", "--latest", "--as", "copy")
    assert content(server, "copy") == content(server, "hub")


def test_a_missing_right_is_said_with_its_remedy(hub: Site, server: MariadbServer) -> None:
    server.sql("REVOKE TRIGGER ON *.* FROM bk@localhost")
    failed = hub.run("backup", code=None)
    assert failed.returncode in {1, 4}
    assert "GRANT TRIGGER ON `hub`.* TO 'bk'@'localhost'" in failed.stdout + failed.stderr
    assert hub.points() == []
    server.sql(f"GRANT {RIGHTS} TO bk@localhost")
    assert hub.json("backup")["result"] == "success"


def _by_hand(hub: Site, server: MariadbServer, restic: str) -> None:
    """As docs/databases/mariadb.md says for a machine without Resguardo."""
    (snapshot,) = [found for found in hub.snapshots() if "part=dumps" in found["tags"]]
    names = [path for path in _listed(hub, snapshot["id"]) if path.endswith("main.hub.sql")]
    argv = [restic, "-r", str(hub.root / "repository"), "--password-file", str(hub.root / "key"), "--no-lock"]
    stored = subprocess.run([*argv, "dump", snapshot["id"], names[0]], capture_output=True, check=True, timeout=60)
    assert stored.stdout.endswith(b"\n-- Dump completed\n")
    server.sql("CREATE DATABASE by_hand CHARACTER SET utf8mb4")
    client = needed("mariadb", package="mariadb-client")
    argv = [str(client), "--no-defaults", "-S", server.socket, "-u", "root", "--binary-mode", "--comments", "by_hand"]
    subprocess.run(argv, input=stored.stdout, check=True, timeout=60)


def _listed(hub: Site, snapshot: str) -> list[str]:
    argv = [hub.restic, "-r", str(hub.root / "repository"), "--password-file", str(hub.root / "key"), "--no-lock"]
    done = subprocess.run([*argv, "ls", snapshot], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()
