"""Notifications through real servers on loopback, in processes of their own, with an outbox that forgets nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from orchestrator.adapters import notify_child
from orchestrator.adapters.catalog import SqliteCatalog
from orchestrator.adapters.notify import AppriseNotifier
from orchestrator.model.errors import Interrupted, Precondition
from orchestrator.model.secret import Secret
from orchestrator.report.notification import of_run
from orchestrator.runs.notify import LONGEST_WAIT, MOST_TRIES, deliver
from tests.unit.report.records import FAILED
from tests.unit.report.test_notification import Rule

CANARY = "c4nary/P@ss w0rd"
CANARY_QUOTED = "c4nary%2FP%40ss%20w0rd"
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


def notifier(deadline: float = 10.0, **urls: str) -> AppriseNotifier:
    return AppriseNotifier({name: lambda url=url: Secret(url) for name, url in urls.items()}, deadline=deadline)


@dataclass
class Web:
    """A server for json:// that notes what it gets. status: what it answers."""

    port: int = 0
    status: int = 200
    got: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://user:{CANARY_QUOTED}@127.0.0.1:{self.port}/tok3n-canary"


@pytest.fixture
def web() -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if state.status == 200:
                state.got.append(json.loads(body))
            self.send_response(state.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@contextmanager
def mail_server(password: str) -> Iterator[tuple[int, list[Envelope]]]:
    taken: list[Envelope] = []

    class Handler:
        async def handle_DATA(  # noqa: N802 - aiosmtpd calls it so
            self, server: object, session: Session, envelope: Envelope
        ) -> str:
            taken.append(envelope)
            return "250 OK"

    def check(server: object, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
        return AuthResult(success=data.password == password.encode())

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port, authenticator=check, auth_require_tls=False)
    controller.start()
    try:
        yield port, taken
    finally:
        controller.stop()


def mail_url(port: int) -> str:
    where = f"127.0.0.1:{port}/?smtp=127.0.0.1&mode=insecure&from=backup@example.org&to=ops@example.org"
    return f"mailto://backup:{CANARY_QUOTED}@{where}"


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield server.getsockname()[1]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqliteCatalog]:
    opened = SqliteCatalog(str(tmp_path / "catalog.db"))
    yield opened
    opened.close()


def test_a_mail_arrives_whole() -> None:
    (told,) = of_run(FAILED, [Rule(("failed",), ("ops",))])
    with mail_server(CANARY) as (port, taken):
        notifier(ops=mail_url(port)).send("ops", "Backup fehlgeschlagen: \u65e5\u672c", told.body, told.severity)
    (envelope,) = taken
    message = message_from_bytes(envelope.content or b"")
    assert envelope.rcpt_tos == ["ops@example.org"]
    assert "\u65e5\u672c" in str(make_header(decode_header(str(message["Subject"]))))
    texts = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
    assert any(b"server 10.0.0.9 does not answer" in text for text in texts if isinstance(text, bytes))


def test_a_wrong_password_is_a_clear_error_without_it() -> None:
    with mail_server("another") as (port, taken), pytest.raises(Precondition) as caught:
        notifier(ops=mail_url(port)).send("ops", "t", "b", "failed")
    assert not taken
    assert caught.value.message.startswith("channel ops: ")
    assert_no_canary(str(caught.value))


def assert_no_canary(text: str) -> None:
    for form in (CANARY, CANARY_QUOTED, "c4nary", "tok3n", "w0rd"):
        assert form not in text


def test_a_web_hook_arrives_whole(web: Web) -> None:
    notifier(ops=web.url).send("ops", "title 'x'", "line 1\nline 2", "failed")
    (got,) = web.got
    assert (got["title"], got["message"], got["type"]) == ("title 'x'", "line 1\nline 2", "failure")


def test_a_refusal_is_an_error(web: Web) -> None:
    web.status = 500
    with pytest.raises(Precondition) as caught:
        notifier(ops=web.url).send("ops", "t", "b", "failed")
    assert_no_canary(str(caught.value))


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Precondition, match="channel ops: "):
        notifier(ops=f"json://127.0.0.1:{port}").send("ops", "t", "b", "failed")


@pytest.mark.parametrize("url", ["nosuchthing://c4nary/tok3n-canary", "c4nary tok3n", ""])
def test_a_bad_url_is_an_error_that_does_not_print_it(url: str) -> None:
    with pytest.raises(Precondition, match="the channel's URL is not one that Apprise knows") as caught:
        notifier(ops=url).send("ops", "t", "b", "failed")
    assert_no_canary(str(caught.value))


def test_an_unknown_channel() -> None:
    with pytest.raises(Precondition, match=r"channel boss: not in policy\.yml"):
        notifier().send("boss", "t", "b", "failed")


def test_a_channel_that_hangs_ends_at_the_deadline() -> None:
    with silent_server() as port:
        began = time.monotonic()
        with pytest.raises(Precondition, match="channel ops: no answer within 3 s"):
            notifier(3.0, ops=f"json://127.0.0.1:{port}").send("ops", "t", "b", "failed")
    assert 2.9 < time.monotonic() - began < 10


@pytest.mark.slow
def test_the_deadline_is_ten_seconds() -> None:
    with silent_server() as port:
        began = time.monotonic()
        with pytest.raises(Precondition, match="no answer within 10 s"):
            notifier(ops=f"json://127.0.0.1:{port}/?rto=60").send("ops", "t", "b", "failed")
    assert 9.9 < time.monotonic() - began < 20


def test_a_killed_parent_leaves_no_delivery_behind() -> None:
    """`kill -9` of the program during a delivery: the child dies with it."""
    with silent_server() as port:
        order = json.dumps(
            {"url": f"json://127.0.0.1:{port}", "title": "t", "body": "b", "type": "info", "deadline": 60}
        )
        script = (
            "import json, os, subprocess, sys, threading\n"
            "order = json.loads(sys.argv[2]) | {'parent': os.getpid()}\n"
            "child = subprocess.Popen([sys.executable, '-I', sys.argv[1]], stdin=subprocess.PIPE)\n"
            "child.stdin.write(json.dumps(order).encode()); child.stdin.close()\n"
            "print(child.pid, flush=True)\n"
            "child.wait()\n"
        )
        with (
            socket.create_server(("127.0.0.1", 0)),
            subprocess.Popen(
                [sys.executable, "-c", script, notify_child.__file__, order], stdout=subprocess.PIPE, text=True
            ) as parent,
        ):
            assert parent.stdout
            child = os.pidfd_open(int(parent.stdout.readline()))
            parent.kill()
            try:
                assert gone(child), "the delivery outlived its parent"
            finally:
                os.close(child)


def gone(pidfd: int) -> bool:
    """Wait until the process has ended; it is init's child by then and cannot be reaped by us."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            signal.pidfd_send_signal(pidfd, 0)
        except ProcessLookupError:
            return True
        threading.Event().wait(0.02)
    return False


def test_the_url_is_never_in_argv_or_environment(web: Web) -> None:
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.extend(_command(entry) for entry in os.listdir("/proc") if entry.isdigit())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        notifier(ops=web.url).send("ops", "t", "b", "failed")
    finally:
        done.set()
        watcher.join()
    children = [text for text in seen if "notify_child" in text]
    assert children
    for text in children:
        assert_no_canary(text)


def _command(pid: str) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes() + b"\n" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace")


def test_the_outbox_survives_a_dead_channel_and_delivers_next_time(catalog: SqliteCatalog, web: Web) -> None:
    first = catalog.queue("ops", "first", "b", "failed", NOW)
    catalog.queue("ops", "second", "b", "failed", NOW)
    web.status = 503
    deliver(catalog, notifier(ops=web.url), NOW)
    waiting = catalog.outbox()
    assert [entry.tries for entry in waiting] == [1, 0]
    assert waiting[0].id == first
    assert waiting[0].last_error.startswith("channel ops: ")
    assert_no_canary(waiting[0].last_error)
    web.status = 200
    deliver(catalog, notifier(ops=web.url), NOW + timedelta(days=1))
    assert [got["title"] for got in web.got] == ["first", "second"]
    assert not catalog.outbox()
    deliver(catalog, notifier(ops=web.url), NOW + timedelta(days=1))
    assert len(web.got) == 2


def test_a_dead_channel_holds_up_no_other(catalog: SqliteCatalog, web: Web) -> None:
    with silent_server() as port:
        for number in range(3):
            catalog.queue("dead", f"d{number}", "b", "failed", NOW)
        catalog.queue("ops", "o", "b", "failed", NOW)
        began = time.monotonic()
        deliver(catalog, notifier(2.5, dead=f"json://127.0.0.1:{port}", ops=web.url), NOW)
    assert time.monotonic() - began < 7.4, "it was asked more than once"
    assert [entry.channel for entry in catalog.outbox()] == ["dead"] * 3
    assert [got["title"] for got in web.got] == ["o"]


def test_old_entries_are_given_up_with_an_event(catalog: SqliteCatalog) -> None:
    catalog.queue("gone", "old", "b", "failed", NOW - LONGEST_WAIT - timedelta(hours=1))
    catalog.queue("gone", "young", "b", "failed", NOW)
    deliver(catalog, notifier(), NOW)
    assert [entry.title for entry in catalog.outbox()] == ["young"]
    (event,) = catalog.events(name="notify.dropped")
    assert "(old): channel gone: not in policy.yml" in event.message


def test_after_many_tries_an_entry_is_given_up(catalog: SqliteCatalog) -> None:
    catalog.queue("gone", "t", "b", "failed", NOW)
    for _ in range(MOST_TRIES - 1):
        deliver(catalog, notifier(), NOW)
    assert [entry.tries for entry in catalog.outbox()] == [MOST_TRIES - 1]
    deliver(catalog, notifier(), NOW)
    assert not catalog.outbox()


class Broken:
    """A notifier with a fault of its own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def send(self, channel: str, title: str, body: str, severity: str) -> None:
        raise self.error


def test_a_faulty_notifier_raises_nothing(catalog: SqliteCatalog) -> None:
    catalog.queue("ops", "t", "b", "failed", NOW)
    deliver(catalog, Broken(ZeroDivisionError(CANARY)), NOW)
    (entry,) = catalog.outbox()
    assert entry.last_error == "channel ops: unexpected ZeroDivisionError"


def test_an_interruption_is_passed_on(catalog: SqliteCatalog) -> None:
    catalog.queue("ops", "t", "b", "failed", NOW)
    with pytest.raises(Interrupted):
        deliver(catalog, Broken(Interrupted("stopped")), NOW)
    assert len(catalog.outbox()) == 1


def test_a_report_of_a_failed_run_reaches_the_hook(catalog: SqliteCatalog, web: Web) -> None:
    record = replace(FAILED, host="hub-01")
    for told in of_run(record, [Rule(("failed",), ("ops",)), Rule(("success",), ("log",))]):
        catalog.queue(told.channel, told.title, told.body, told.severity, NOW)
    deliver(catalog, notifier(ops=web.url), NOW)
    (got,) = web.got
    assert got["title"] == "backup finished in part on hub-01: 1 failed of 3 sources"
    assert "HINT: start it" in got["message"]
