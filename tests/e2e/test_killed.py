"""`kill -9` at every failpoint and at random moments: nothing lives on, nothing lies, the next run succeeds."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.model.failpoints import FAILPOINTS
from tests.e2e.site import SERVICES, Site
from tests.engines.servers.postgresql import PASSWORD, PostgresServer

# Where each failpoint is met: the command that passes it. What is not named is met by a plain backup.
RESTORE = {name for name in FAILPOINTS if name.startswith("restore.")}
PRUNE = {name for name in FAILPOINTS if name.startswith(("retention.", "prune."))}
SECRET = {"secret.written"}
ELSEWHERE = {"restore.parted"}  # needs a file system that cannot exchange names: see tests/engines/test_files.py
STREAM = {name for name in FAILPOINTS if name.startswith("stream.")}


def command_for(name: str) -> list[str]:
    """Return the command that meets a failpoint."""
    if name in RESTORE:
        return ["restore", "shop", "--latest", "--in-place"]
    if name in PRUNE:
        return ["prune"]
    if name == "check.started":
        return ["verify"]
    return ["backup"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that wants a password, so that there is a secret to write."""
    with PostgresServer() as made:
        made.psql("CREATE TABLE t AS SELECT 1 AS one")
        yield made


def with_password(site: Site, server: PostgresServer) -> None:
    """Add a database whose password goes to a file for pg_dump."""
    (site.root / "password").write_text(PASSWORD)
    (site.root / "password").chmod(0o600)
    database = f"{{engine: postgresql, host: 127.0.0.1, port: {server.port}, user: postgres, database: postgres"
    site.services(
        f"{SERVICES}".replace("    paths:", f"      pg: {database}, password: {{file: password}}}}\n    paths:")
    )


@pytest.mark.parametrize("name", sorted(set(FAILPOINTS) - ELSEWHERE))
def test_killed_at_a_failpoint(site: Site, name: str, request: pytest.FixtureRequest) -> None:
    site.policy("staging: {source: 1KiB}\n" if name in STREAM else "")
    if name in SECRET:
        with_password(site, request.getfixturevalue("server"))
    for _ in range(3 if name in PRUNE else 1):
        site.run("backup")
    if name in PRUNE:
        text = (site.root / "policy.yml").read_text().replace("last: 7, daily: 30", "last: 1")
        (site.root / "policy.yml").write_text(text)
    before = {point["id"] for point in site.points()}
    if name in RESTORE:
        changed_since(site)
    marker = site.root / "failpoint"
    arguments = command_for(name) + (["--force"] if name in PRUNE else [])
    died = site.run(*arguments, code=None, RESGUARDO_FAILPOINT=name, RESGUARDO_FAILPOINT_FILE=str(marker))
    assert died.returncode == -signal.SIGKILL, f"{name} was not met: {died.returncode} {died.stderr}"
    assert marker.read_text().split() == [name]
    assert site.quiet_within(15) == []

    snapshots = {snapshot["id"] for snapshot in site.snapshots()}
    site.run("recover")
    assert site.plaintext() == []
    listed = {point["id"]: point for point in site.points()}
    if name in RESTORE:
        assert_kept(site)
    if name not in PRUNE:
        assert before <= set(listed), "a committed restore point was lost"
    for point in listed.values():
        held = {source["snapshot"] for source in point["sources"]}
        assert held <= snapshots, "listed, but its snapshots are not there"
    site.run(*command_for(name), *(["--force"] if name in PRUNE else []))
    site.run("backup")
    assert site.restic_json("check").get("num_errors", 0) == 0
    if name in RESTORE:
        with closing(sqlite3.connect(site.root / "data" / "shop.db")) as database:
            assert database.execute("SELECT count(*) FROM orders").fetchone() == (200,)
        assert (site.root / "data" / "files" / "one.txt").read_text() == "one\n"
        assert_kept(site)


def changed_since(site: Site) -> None:
    """Write into database and folder what no restore point holds."""
    (site.root / "data" / "files" / "young").write_text("only here\n")
    with closing(sqlite3.connect(site.root / "data" / "shop.db")) as database, database:
        database.execute("INSERT INTO orders (what) VALUES ('young')")


def assert_kept(site: Site) -> None:
    """What the restore replaces or has replaced is still there, in its place or beside it."""
    data = site.root / "data"
    assert [path for path in (data / "files", *data.glob("files_before_*")) if (path / "young").exists()]
    young = []
    for path in (data / "shop.db", *data.glob("shop.db_before_*")):
        if not path.name.endswith(("-wal", "-shm")):
            with closing(sqlite3.connect(path)) as database:
                young += database.execute("SELECT id FROM orders WHERE what = 'young'").fetchall()
    assert young


def big_shop(site: Site, megabytes: int) -> None:
    """Make the shop large enough for a stream that takes a while; its bytes do not compress."""
    with closing(sqlite3.connect(site.root / "data" / "shop.db")) as database, database:
        database.executemany(
            "INSERT INTO orders (what, blob) VALUES ('big', ?)", [(os.urandom(1 << 20),) for _ in range(megabytes)]
        )


def restic_pids(site: Site) -> list[int]:
    return [int(line.split()[0]) for line in site.children() if "--stdin-filename" in line]


def await_restic(site: Site, process: subprocess.Popen[bytes]) -> None:
    while not restic_pids(site):
        assert process.poll() is None, "the run ended before its restic was seen"


def lifetime(site: Site) -> float:
    """Return how long the stream's restic of an undisturbed run lives."""
    process = site.start("backup")
    await_restic(site, process)
    started = time.monotonic()
    while restic_pids(site):
        time.sleep(0.02)
    lived = time.monotonic() - started
    assert process.wait(60) == 0
    return lived


@pytest.mark.parametrize("kills", [pytest.param(5, id="5"), pytest.param(50, id="50", marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_killed_in_mid_stream(site: Site, kills: int) -> None:
    site.policy("staging: {source: 1KiB}\n")
    shutil.rmtree(site.root / "data" / "files")
    site.services("services:\n  shop:\n    databases:\n      main: {engine: sqlite, path: data/shop.db}\n")
    big_shop(site, 60)
    lives = lifetime(site)
    before = {snapshot["id"] for snapshot in site.snapshots()}
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    moments, live = [], 0
    while live < kills and len(moments) < 4 * kills:
        # Other bytes each time, or restic knows all chunks and the stream is over in no time.
        with closing(sqlite3.connect(site.root / "data" / "shop.db")) as database, database:
            database.execute("UPDATE orders SET blob = randomblob(length(blob)) WHERE what = 'big'")
        process = site.start("backup")
        await_restic(site, process)
        moment = generator.uniform(0, 0.85) * lives
        time.sleep(moment)
        hit = bool(restic_pids(site)) and process.poll() is None
        live += hit
        moments.append(f"{moment:.2f}{'*' if hit else ''}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert site.quiet_within(10) == []
        after = {snapshot["id"]: snapshot for snapshot in site.snapshots()}
        new = [snapshot for key, snapshot in after.items() if key not in before]
        committed = [snapshot for snapshot in new if "part=commit" in snapshot["tags"]]
        if committed:
            before |= set(after)  # it was over before the kill came
            continue
        for snapshot in new:
            assert snapshot["summary"]["total_bytes_processed"] > 60 << 20, f"truncated stream, seed {seed}, {moments}"
        before |= set(after)
    print(f"seed {seed}, restic lives {lives:.2f} s, moments (* hit a live restic): {' '.join(moments)}")
    assert live == kills, f"only {live} of {len(moments)} kills hit a live restic (seed {seed}: {moments})"
    site.run("backup")
    assert len(site.points()) >= 2


def test_the_rebuilt_catalog_tells_partial_from_whole(site: Site) -> None:
    """Killed after restic's exit code 3, catalog deleted, rebuilt: never whole."""
    unreadable = site.root / "data" / "files" / "mem"
    unreadable.mkdir()
    mount = subprocess.run(["mount", "--bind", "/proc/self", str(unreadable)], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("impossible here: mounting is not allowed, and so no file is unreadable")
    try:
        site.run("backup", code=3)
        first = site.points()[0]
        assert first["partial"] is True
        shutil.rmtree(site.state)
        site.run("catalog", "rebuild")
        assert [(point["id"], point["partial"]) for point in site.points()] == [(first["id"], True)]
    finally:
        subprocess.run(["umount", "-l", str(unreadable)], check=True)


def test_committed_points_survive_a_lost_state_folder_and_a_kill(site: Site) -> None:
    site.run("backup")
    marker = site.root / "failpoint"
    site.run("backup", code=None, RESGUARDO_FAILPOINT="manifest.fed", RESGUARDO_FAILPOINT_FILE=str(marker))
    assert marker.exists()
    shutil.rmtree(site.state)
    assert site.quiet_within(10) == []
    site.run("catalog", "rebuild")
    assert len(site.points()) == 1
    assert Path(site.root / "repository").exists()
