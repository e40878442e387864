from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.launch import Tail, launch, memory_file, polite
from orchestrator.adapters.process import TAIL
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import Interrupted, ResguardoError, ToolMissing
from orchestrator.model.execution import Action
from tests.unit.adapters.host.help import lives, marked, until


class Refusing:
    """An undo list whose sentinel is gone."""

    def register(self, action: Action) -> str:
        raise ResguardoError("no sentinel")

    def done(self, action_id: str) -> None:
        raise AssertionError


def output_of(argv: list[str], undo: RunUndo, **more: object) -> bytes:
    fd = memory_file()
    try:
        assert launch(argv, undo=undo, stdout=fd, **more).wait().ok  # type: ignore[arg-type]
        return os.pread(fd, 1 << 20, 0)
    finally:
        os.close(fd)


def test_arguments_arrive_as_they_are(undo: RunUndo) -> None:
    hostile = ["-n", "a b", "quote'\"", "line\nbreak", "$HOME `id`", "%s\\0", "ünï", "\udcff", "", "*"]
    raw = output_of(["printf", "%s\\0", *hostile], undo)
    assert raw.split(b"\0")[:-1] == [os.fsencode(word) for word in hostile]


def test_the_environment_is_ours_alone(undo: RunUndo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "canary")
    words = dict(line.split(b"=", 1) for line in output_of(["env"], undo, env={"A": "b"}).splitlines())
    assert b"RESTIC_PASSWORD" not in words
    assert words.pop(b"A") == b"b"
    expected = {b"PATH", b"HOME", b"TMPDIR", b"LANG", b"LC_ALL", b"TZ", b"RESGUARDO_OWNER"}
    assert expected <= set(words) <= expected | {b"PWD", b"OLDPWD", b"_", b"SHLVL"}


def test_a_child_has_three_descriptors_and_its_own_session(undo: RunUndo) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, False)
    assert output_of(["ls", "/proc/self/fd"], undo).split() == [b"0", b"1", b"2", b"3"]  # 3: ls's own
    child = launch(["sleep", "60"], undo=undo)
    assert os.getsid(child.pid) == child.pid
    child.stop()
    os.close(read)
    os.close(write)


def test_ignored_signals_are_not_inherited(undo: RunUndo) -> None:
    status = output_of(["grep", "SigIgn", "/proc/self/status"], undo)
    assert int(status.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_exit_codes_signals_and_the_tail_of_stderr(undo: RunUndo) -> None:
    end = launch(["sh", "-c", "echo first >&2; echo ä last >&2; exit 7"], undo=undo).wait()
    assert (end.code, end.signal, end.stderr_tail, end.ok) == (7, None, "first\nä last\n", False)
    end = launch(["sh", "-c", "kill -9 $$"], undo=undo).wait()
    assert (end.code, end.signal) == (137, 9)


def test_stderr_is_bounded(undo: RunUndo) -> None:
    child = launch(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x >&2; sleep 1.5; echo end >&2"], undo=undo)
    memory = f"/proc/{child.pid}/fd/2"
    assert until(lambda: os.stat(memory).st_size == 3000000, 10)
    threading.Thread(target=child.wait).start()
    assert until(lambda: os.stat(memory).st_size == 0, 10)
    end = child.wait()
    assert len(end.stderr_tail) == TAIL
    assert end.stderr_tail.endswith("xend\n")


def test_a_missing_program(undo: RunUndo) -> None:
    with pytest.raises(ToolMissing) as missing:
        launch(["no-such program"], undo=undo)
    assert str(missing.value).startswith("no-such program: no such program\nHINT: install")


def test_a_deadline_stops_it(undo: RunUndo) -> None:
    began = time.monotonic()
    end = launch(["sh", "-c", "trap '' INT TERM; echo up >&2; sleep 60; sleep 60"], undo=undo, deadline=0.3).wait()
    assert end.timed_out
    assert not end.ok
    assert time.monotonic() - began < 5


def test_stop_reaps_the_whole_group_and_is_repeatable(undo: RunUndo, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' INT TERM; (trap '' INT TERM; sleep 60) & echo $! >'{pids}'; wait; sleep 60"
    child = launch(["sh", "-c", script], undo=undo)
    assert until(lambda: pids.exists() and pids.read_text().endswith("\n"), 5)
    end = child.stop(0.1)
    assert end.signal == signal.SIGKILL
    assert child.stop() is child.wait() is end
    assert until(lambda: not lives(int(pids.read_text())), 2)


def test_interruption_stops_the_child_and_wakes_every_waiter(undo: RunUndo) -> None:
    interrupts = Interrupts()
    children = [launch(["sleep", "60"], undo=undo, interrupts=interrupts) for _ in range(3)]
    seen: list[int] = []

    def wait(number: int) -> None:
        with pytest.raises(Interrupted) as told:
            children[number].wait()
        seen.append(told.value.exit_code)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    interrupts.trigger(signal.SIGINT)
    for thread in threads:
        thread.join(5)
    assert seen == [130] * 3
    assert not any(lives(child.pid) for child in children)


def test_a_child_that_is_not_acknowledged_never_runs(tmp_path: Path) -> None:
    with pytest.raises(ResguardoError, match="no sentinel"):
        launch(["touch", str(tmp_path / "ran")], undo=Refusing())
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


DIE = """
import os, sys
from orchestrator.adapters.launch import launch
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
undo = RunUndo(StateFolder(os.environ["POLICY"]), "20240229T010203Z-00000a")
launch(["sh", "-c", 'touch "$1"; exec sleep 60', "sh", sys.argv[1]], undo=undo)
print("alive", flush=True)
input()
"""


@pytest.mark.parametrize("place", ["journal.created", "child.blocked", "child.acknowledged"])
def test_a_child_never_runs_when_we_die_before_its_release(tmp_path: Path, owner: Callable, place: str) -> None:
    token, witness = tmp_path / "ran", tmp_path / "witness"
    dying = owner(DIE, str(token), RESGUARDO_FAILPOINT=place, RESGUARDO_FAILPOINT_FILE=str(witness))
    assert dying.process.wait(10) == -signal.SIGKILL
    assert witness.read_text() == f"{place}\n"
    assert until(lambda: not marked(str(token)), 2)
    assert not token.exists()


def test_a_released_child_is_ended_when_we_die_then(tmp_path: Path, owner: Callable) -> None:
    token = tmp_path / "ran"
    dying = owner(DIE, str(token), RESGUARDO_FAILPOINT="child.released")
    assert dying.process.wait(10) == -signal.SIGKILL
    assert until(lambda: not marked(str(token)), 2)


def test_lines_of_a_growing_file(undo: RunUndo) -> None:
    fd = memory_file()
    tail = Tail(fd)
    os.write(fd, b"one\ntw")
    assert tail.lines() == [b"one"]
    assert tail.lines() == []
    os.write(fd, b"o\n\nthree\nrest")
    assert tail.lines() == [b"two", b"", b"three"]
    os.close(fd)


def test_politeness(undo: RunUndo) -> None:
    raw = output_of([*polite(10, "idle"), "nice"], undo)
    assert int(raw) == min(19, os.nice(0) + 10)
    assert polite() == ()
