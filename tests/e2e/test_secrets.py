"""Canary secrets: they reach the tools that need them and nothing else that anybody can read."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from tests.e2e.site import Site

# Of this process alone: the control shows one to everybody while the other test may run elsewhere.
CANARIES = tuple(f"canary-{name}-{os.getpid()}x" for name in ("key-4f1d9c", "hook-77ab02", "backend-c0ffee"))


class Watcher(threading.Thread):
    """Samples the argument vectors of all processes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.seen: set[str] = set()
        self.samples = 0

    def run(self) -> None:
        while not self.over.is_set():
            self.samples += 1
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    self._look(entry)

    def _look(self, pid: str) -> None:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return
        for canary in CANARIES:
            if canary.encode() in words:
                self.seen.add(f"{canary} in the arguments of {words[:80]!r}")


def test_no_secret_is_to_be_seen(site: Site) -> None:
    key, hook, backend = CANARIES
    shutil.rmtree(site.root / "repository")
    (site.root / "key").write_text(key + "\n")
    (site.root / "hook").write_text(f"json://user:{hook}@127.0.0.1:9/")
    (site.root / "hook").chmod(0o600)
    (site.root / "backend").write_text(backend)
    (site.root / "backend").chmod(0o600)
    site.policy(
        "notify: {channels: {hook: {url: {file: hook}}}, rules: [{on: ['run.*', failed, success], to: [hook]}]}\n"
    )
    text = (
        (site.root / "policy.yml")
        .read_text()
        .replace("password: {file: key}", "password: {file: key}, env: {AWS_SECRET_ACCESS_KEY: {file: backend}}")
    )
    (site.root / "policy.yml").write_text(text)
    watcher = Watcher()
    watcher.start()
    try:
        outputs = [site.run("init"), site.run("--json", "-v", "backup"), site.run("backup"), site.run("--json", "list")]
        point = json.loads(outputs[-1].stdout)["restore_points"][0]["id"]
        outputs += [
            site.run("show", point),
            site.run("--json", "show", point, "--files"),
            site.run("status", code=None),
            site.run("verify"),
            site.run("notify", "test", code=1),
            site.run("doctor", code=None),
            site.run("restore", "shop", "--latest", "--to", str(site.root / "back")),
        ]
    finally:
        watcher.over.set()
        watcher.join()
    assert watcher.samples > 20
    assert watcher.seen == set()
    for done in outputs:
        for canary in CANARIES:
            assert canary not in done.stdout + done.stderr, done.args
    allowed = {site.root / "key", site.root / "hook", site.root / "backend"}
    for path in site.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in allowed:
            data = path.read_bytes()
            assert not [canary for canary in CANARIES if canary.encode() in data], path


def test_the_watch_can_fail(tmp_path: Path) -> None:
    """The control: a canary on a command line is seen."""
    watcher = Watcher()
    watcher.start()
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1)", CANARIES[0]], check=True)
    watcher.over.set()
    watcher.join()
    assert watcher.seen


def test_the_catalog_is_private(site: Site) -> None:
    site.run("backup")
    for path in [site.state, *site.state.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0 or path.is_symlink() or "cache" in path.parts, path
    with closing(sqlite3.connect(site.state / "catalog.db")) as database:
        assert database.execute("SELECT count(*) FROM point").fetchone() == (1,)
