"""The log file: JSON lines, private, rotated, without secrets."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from urllib.parse import quote, quote_plus

import pytest

from orchestrator.adapters.logs import EventLog
from orchestrator.adapters.redaction import Redactor, conceal, url_secrets
from orchestrator.model.record import Event
from orchestrator.model.secret import Secret

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
CANARY = 'c4n"ary/\u00fc\\ p@ss&=%'


@dataclass
class Limits:
    keep: float = 7 * 86400.0
    size: int = 1 << 20


def event(message: str = "done", severity: str = "success", **more: str) -> Event:
    return Event(NOW, "run.succeeded", severity, message, **more)  # type: ignore[arg-type]


def lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def test_one_json_line_for_each_event(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), Limits())
    log(event(run="r1", service="hub", source="main", hint="look\nhere"))
    log(event("two\nlines \udcff \x1b[2J", severity="failed"))
    first, second = lines(tmp_path)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "message": "done",
        "event": "run.succeeded",
        "run": "r1",
        "service": "hub",
        "source": "main",
        "hint": "look\nhere",
    }
    assert (second["level"], second["message"]) == ("error", "two\nlines \udcff \x1b[2J")
    assert (tmp_path / "resguardo.log").read_bytes().count(b"\n") == 2


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        EventLog(str(tmp_path), Limits())(event())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "resguardo.log").stat().st_mode) == 0o600


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "resguardo.log").symlink_to(target)
    EventLog(str(folder), Limits())(event())
    assert target.read_text() == "mine"


def test_a_percent_sign_is_no_format(tmp_path: Path) -> None:
    EventLog(str(tmp_path), Limits())(event("100 %s %(name)s %d"))
    assert lines(tmp_path)[0]["message"] == "100 %s %(name)s %d"


def test_a_new_file_begins_at_the_size(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), Limits(size=2000))
    for number in range(100):
        log(event(f"event {number}"))
    files = list(tmp_path.iterdir())
    assert len(files) > 3
    assert all(path.stat().st_size <= 2000 for path in files)
    assert sorted(int(line["message"].split()[1]) for line in lines(tmp_path)) == list(range(100))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


def test_a_log_never_fills_the_disk(tmp_path: Path) -> None:
    log = EventLog(str(tmp_path), Limits(size=150))
    for number in range(80):
        log(event(f"event {number}"))
    assert len(list(tmp_path.iterdir())) == 31


def test_a_new_file_begins_after_a_day_and_old_ones_go(tmp_path: Path) -> None:
    current = tmp_path / "resguardo.log"
    current.write_text('{"time": "2026-06-01T00:00:00Z", "message": "old"}\n')
    kept, gone, foreign = (
        tmp_path / name
        for name in (
            "resguardo.log.20990101T000000.000000Z",
            "resguardo.log.20200101T000000.000000Z",
            "resguardo.log.mine",
        )
    )
    for path in (kept, gone, foreign):
        path.write_text("")
    for path in (gone, foreign):
        os.utime(path, (0, 0))
    if datetime.now(UTC) < datetime(2026, 6, 3, tzinfo=UTC):
        pytest.fail("the clock of this machine is before the log of this test")
    EventLog(str(tmp_path), Limits())(event("new"))
    assert [json.loads(line)["message"] for line in current.read_text().splitlines()] == ["new"]
    assert kept.exists()
    assert not gone.exists()
    assert foreign.exists()


def test_a_disk_that_takes_nothing_raises_nothing(tmp_path: Path) -> None:
    EventLog(str(tmp_path / "missing"), Limits())(event())


def test_several_writers_keep_every_line_whole(tmp_path: Path) -> None:
    def write(name: int) -> None:
        log = EventLog(str(tmp_path), Limits(size=4000))
        for number in range(200):
            log(event(f"{name} {number} {'x' * 50}"))

    writers = [Thread(target=write, args=(name,)) for name in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len({line["message"] for line in lines(tmp_path)}) == 600


def test_no_secret_in_any_form(tmp_path: Path) -> None:
    known: list[Secret] = []
    log = EventLog(str(tmp_path), Limits(), lambda: known)
    known.append(Secret(CANARY))
    spelled = [CANARY, quote(CANARY), quote(CANARY, safe=""), quote_plus(CANARY), json.dumps(CANARY), repr(CANARY)]
    log(event(" | ".join(spelled), hint=CANARY))
    try:
        int(f"bad {CANARY}")
    except ValueError:
        log.logger.exception("unexpected")
    text = (tmp_path / "resguardo.log").read_text()
    assert "c4n" not in text
    first, second = lines(tmp_path)
    assert first["message"].count("***") == 6
    assert "ValueError: invalid literal" in second["traceback"]
    assert "bad ***" in second["traceback"]


def test_lines_of_a_secret_and_short_ones() -> None:
    redact = Redactor(lambda: [Secret("line-one\nline-two\n"), Secret("ab")])
    assert redact("line-one, line-two, ab") == "***, ***, ab"


@pytest.mark.parametrize(
    ("url", "text", "expected"),
    [
        (
            "mailto://u5er:p4ss@mail.example.org",
            "mail.example.org refused u5er p4ss",
            "mail.example.org refused *** ***",
        ),
        ("slack://T0ken1/T0ken2/#chan", "bad T0ken1 T0ken2", "bad *** ***"),
        ("tgram://123456:AbCdEf/777777", "bot 123456:AbCdEf", "bot ***"),
        ("json://127.0.0.1:8080/hook?key=s3cr3t", "127.0.0.1:8080 /hook s3cr3t", "127.0.0.1:8080 /*** ***"),
        ("https://u:p%40ss@h.example/x", "p@ss p%40ss", "*** ***"),
        ("ntfys://[::1]/t0pic", "[::1] t0pic", "[::1] ***"),
    ],
)
def test_what_a_channels_url_gives_away(url: str, text: str, expected: str) -> None:
    assert conceal(text, url_secrets(url)) == expected
