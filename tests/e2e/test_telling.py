"""Nothing is silent: every end is one event and, by policy, one notification; signals end everything in order."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.site import Site

NOTIFY = "notify: {channels: {hook: {url: {file: hook}}}, rules: [{on: [%s], to: [hook]}]}\n"


class Hook:
    """A web hook on loopback that can be switched off."""

    def __init__(self) -> None:
        sent = self.sent = list[Any]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._web.serve_forever)
        self._thread.start()
        self.url = f"json://127.0.0.1:{self._web.server_port}/"

    def close(self) -> None:
        self._web.shutdown()
        self._thread.join()
        self._web.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def told(site: Site, hook: Hook, *words: str, url: str = "") -> None:
    """Let the site tell the hook of events that match words."""
    (site.root / "hook").write_text(url or hook.url)
    (site.root / "hook").chmod(0o600)
    site.policy(NOTIFY % ", ".join(words))


def run_events(site: Site) -> list[str]:
    with closing(sqlite3.connect(site.state / "catalog.db")) as database:
        names = [row[0] for row in database.execute("SELECT name FROM event WHERE name LIKE 'run.%' ORDER BY id")]
    return names[1:]  # the first is that of `init`


def test_success_failure_and_recovery_are_told_to_whom_they_concern(site: Site, hook: Hook) -> None:
    told(site, hook, "failed", "partial", "recovered")
    site.run("backup")
    assert hook.sent == []
    database = (site.root / "data" / "shop.db").read_bytes()
    (site.root / "data" / "shop.db").write_bytes(b"broken" * 1000)
    site.run("backup", code=3)
    assert len(hook.sent) == 1
    assert "shop/main" in hook.sent[0]["message"]
    assert "HINT" in hook.sent[0]["message"] or "database" in hook.sent[0]["message"]
    (site.root / "data" / "shop.db").write_bytes(database)
    site.run("backup")
    assert len(hook.sent) == 2
    assert "after a failure" in hook.sent[1]["title"]
    site.run("backup")
    assert len(hook.sent) == 2
    assert run_events(site) == ["run.succeeded", "run.partial", "run.succeeded", "run.succeeded"]


def test_a_broken_policy_is_told_through_the_last_good_one(site: Site, hook: Hook) -> None:
    told(site, hook, "failed")
    site.run("backup")
    (site.root / "policy.yml").write_text("version: 1\nrepositories: {}\n\tnonsense")
    site.run("backup", code=2)
    assert len(hook.sent) == 1
    assert "config.invalid" in hook.sent[0]["title"]


def test_a_dead_channel_changes_nothing_and_is_tried_again(site: Site, hook: Hook) -> None:
    told(site, hook, "success", url="json://127.0.0.1:9/")
    started = time.monotonic()
    site.run("backup")
    assert time.monotonic() - started < 30
    assert site.json("status", code=0)["status"]["waiting"] == 1
    told(site, hook, "recovered")
    site.run("backup")
    assert len(hook.sent) == 1
    assert site.json("status", code=0)["status"]["waiting"] == 0


def test_notify_test_reaches_the_channel_and_says_when_it_does_not(site: Site, hook: Hook) -> None:
    told(site, hook, "failed")
    assert "delivered" in site.run("notify", "test").stdout
    assert len(hook.sent) == 1
    (site.root / "hook").write_text("json://127.0.0.1:9/")
    site.run("notify", "test", code=1)


def test_a_busy_lock_is_told(site: Site, hook: Hook) -> None:
    told(site, hook, "run.busy")
    stopped = site.start("backup")
    try:
        # Once its restic runs it holds the lock and is in no transaction of the catalog.
        while not [line for line in site.children() if "--stdin-filename" in line]:
            assert stopped.poll() is None
        stopped.send_signal(signal.SIGSTOP)
        done = site.run("backup", code=11)
        assert "another run" in done.stderr
    finally:
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait(60) == 0
    assert len(hook.sent) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)], ids=["INT", "TERM", "HUP"]
)
def test_a_signal_ends_everything_in_order(site: Site, hook: Hook, number: signal.Signals, code: int) -> None:
    told(site, hook, "run.interrupted")
    with closing(sqlite3.connect(site.root / "data" / "shop.db")) as database, database:
        database.executemany("INSERT INTO orders (what, blob) VALUES ('big', randomblob(1048576))", [()] * 60)
    process = site.start("backup")
    while not [line for line in site.children() if "--stdin-filename" in line]:
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(20) == code
    assert site.children() == []
    assert site.plaintext() == []
    assert run_events(site) == ["run.interrupted"]
    assert len(hook.sent) == 1
    assert site.points() == []
    assert not list((site.root / "repository" / "locks").iterdir())
    site.run("backup")


def test_a_job_backs_up_its_services(site: Site) -> None:
    site.services(
        "services:\n  one:\n    paths: [data/files]\n"
        "  two:\n    databases:\n      main: {engine: sqlite, path: data/shop.db}\n"
    )
    site.policy('jobs: {nightly: {at: "0 2 * * *", do: backup, services: [two]}}\n')
    run = site.json("backup", "--job", "nightly")
    assert [service["service"] for service in run["services"]] == ["two"]
    assert "no job" in site.run("backup", "--job", "weekly", code=2).stderr


def test_the_log_has_a_line_for_each_event(site: Site) -> None:
    site.run("backup")
    lines = [json.loads(line) for line in (site.state / "logs" / "resguardo.log").read_text().splitlines()]
    assert "run.succeeded" in [line["event"] for line in lines]


def on_a_terminal(site: Site, *args: str) -> int:
    """Run a command with a terminal as its stdin and stderr; return its exit code."""
    ours, theirs = os.openpty()
    try:
        return subprocess.run(
            site.argv(*args), env=site.environment(), stdin=theirs, stderr=theirs, cwd="/", check=False, timeout=110
        ).returncode
    finally:
        os.close(ours)
        os.close(theirs)


def test_typing_errors_on_a_terminal_are_not_told(site: Site, hook: Hook) -> None:
    told(site, hook, "failed")
    assert on_a_terminal(site, "backup", "shpo") == 2
    assert hook.sent == []
    site.run("backup", "shpo", code=2)
    assert len(hook.sent) == 1
    (site.root / "policy.yml").write_text("version: 1\n")
    assert on_a_terminal(site, "backup") == 2
    assert len(hook.sent) == 1


def test_what_was_not_delivered_is_said_and_looked_after(site: Site, hook: Hook) -> None:
    told(site, hook, "success", url="json://127.0.0.1:1/t0ken-canary")
    done = site.run("backup")
    assert "resguardo: a notification was not delivered, the next run tries again: channel " in done.stderr
    assert "canary" not in done.stderr
    (site.root / "hook").chmod(0o644)
    tested = site.run("notify", "test", code=1)
    assert f"HINT: chmod 600 {site.root}/hook" in tested.stdout
    looked = site.run("doctor", code=1).stdout
    assert f"error    secret: the secret file {site.root}/hook is open to others (mode 0644)" in looked
    assert f"info     secret: file {site.root}/key gives repositories.local.password" in looked
    assert "1 notification not delivered yet: channel " in looked
    (site.root / "hook").chmod(0o600)
    (site.root / "hook").write_text("gopher://nowhere/canary")
    looked = site.run("doctor", code=1).stdout
    assert "the channel's URL is not one that Apprise knows" in looked
    assert "canary" not in looked
