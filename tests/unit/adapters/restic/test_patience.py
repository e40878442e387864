"""When a server is given up."""

from __future__ import annotations

from orchestrator.adapters.restic.patience import Patience

WHY = 'Head "http://h/x": dial tcp 127.0.0.1:1: connect: refused'
REFUSED = f"Stat(<config/>) returned error, retrying after 544.036046ms: {WHY}"


def _patience(**changes: bool) -> Patience:
    return Patience(started=100.0, connect=60.0, silence=60.0, remote=changes.get("remote", True))


def _moving(second: int) -> tuple[int, ...]:
    return (second, 0, 0)


def test_a_refusing_server_is_given_up_after_the_time_to_connect() -> None:
    patience = _patience(remote=False)
    patience.hear(REFUSED, 100.5)
    assert patience.judge(159.9, _moving(1)) == ""
    assert patience.judge(160.0, _moving(2)) == WHY


def test_a_server_that_came_back_is_not() -> None:
    patience = _patience()
    patience.hear(REFUSED, 100.5)
    patience.hear("Stat(<config/>) operation successful after 3 retries", 110.0)
    assert patience.judge(200.0, _moving(1)) == ""


def test_trouble_after_the_opening_is_left_to_restic() -> None:
    patience = _patience()
    patience.hear("Save(<data/0123456789>) returned error, retrying after 1s: connection reset", 120.0)
    assert patience.judge(500.0, _moving(1)) == ""
    patience.hear(REFUSED, 100.5)
    patience.opened = True
    assert patience.judge(500.0, _moving(1)) == ""


def test_keys_and_locks_belong_to_the_opening() -> None:
    for line in (
        "List(key) returned error, retrying after 1s: why",
        "Load(<key/0123456789>, 0, 0) returned error, retrying after 1s: why",
        "Save(<lock/0123456789>) returned error, retrying after 1s: why",
    ):
        patience = _patience()
        patience.hear(line, 101.0)
        assert patience.judge(160.0, _moving(1)) == "why"


def test_silence_of_a_server_is_given_up_and_work_is_not() -> None:
    patience = _patience()
    for second in range(100, 200):
        assert patience.judge(float(second), _moving(second)) == ""
    assert patience.judge(258.0, _moving(199)) == ""
    assert patience.judge(259.0, _moving(199)) == "no answer for 60 s"


def test_silence_proves_nothing_of_a_local_disk_or_an_invisible_process() -> None:
    assert _patience(remote=False).judge(1000.0, _moving(1)) == ""
    assert _patience().judge(1000.0, ()) == ""


def test_a_lock_that_cannot_be_renewed_later_is_left_to_restic() -> None:
    patience = _patience()
    patience.hear("Save(<lock/0123456789>) returned error, retrying after 1s: why", 161.0)
    assert patience.judge(3000.0, _moving(1)) == ""
