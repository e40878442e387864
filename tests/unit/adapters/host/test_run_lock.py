from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.launch import launch
from orchestrator.adapters.lock import RunLock, shared_locks
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import Interrupted, RunLocked

HOLD = """
import os
from orchestrator.adapters.lock import RunLock
from orchestrator.adapters.state import StateFolder
with RunLock(StateFolder(os.environ["POLICY"]), "backup --job 'nightly'").acquire():
    print("held", flush=True)
    input()
"""


def test_a_second_run_hears_who_holds_it_and_gets_it_after_kill_9(state: StateFolder, owner: Callable) -> None:
    holder = owner(HOLD)
    assert holder.line() == "held"
    with pytest.raises(RunLocked) as refused, RunLock(state, "prune").acquire():
        pass
    assert f"process {holder.process.pid}," in refused.value.message
    assert "backup --job 'nightly'" in refused.value.message
    assert refused.value.exit_code == 11
    holder.kill()
    with RunLock(state, "prune").acquire():
        written = json.loads(Path(state.lock).read_bytes())
    assert (written["pid"], written["command"]) == (os.getpid(), "prune")


def test_it_waits_as_long_as_told(state: StateFolder, owner: Callable) -> None:
    holder = owner(HOLD)
    assert holder.line() == "held"
    began = time.monotonic()
    with pytest.raises(RunLocked), RunLock(state, "prune").acquire(0.3):
        pass
    assert 0.3 <= time.monotonic() - began < 10
    threading.Timer(0.2, holder.kill).start()
    with RunLock(state, "prune").acquire(20):
        assert time.monotonic() - began < 10


def test_waiting_ends_when_interrupted(state: StateFolder, owner: Callable) -> None:
    interrupts = Interrupts()
    assert owner(HOLD).line() == "held"
    threading.Timer(0.1, interrupts.trigger, (signal.SIGTERM,)).start()
    with pytest.raises(Interrupted) as told, RunLock(state, "prune", interrupts).acquire(30):
        pass
    assert told.value.exit_code == 143


def test_a_file_that_was_unlinked_while_it_was_waited_for_is_not_enough(state: StateFolder, owner: Callable) -> None:
    holder = owner(HOLD)
    assert holder.line() == "held"
    got: list[bool] = []

    def wait() -> None:
        with RunLock(state, "prune").acquire(20):
            got.append(os.path.exists(state.lock))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not _opened_by_me(state.lock):
        assert waiting.is_alive()
    os.unlink(state.lock)
    with RunLock(state, "verify").acquire():
        holder.kill()
        waiting.join(0.5)
        assert not got, "two runs hold the lock"
    waiting.join(20)
    assert got == [True]


def test_two_policies_of_one_host_and_repository_wait_for_each_other(tmp_path: Path) -> None:
    one, other = (
        StateFolder("/etc/policy.yml", {"RESGUARDO_STATE": str(tmp_path / name)}) for name in ("one", "other")
    )
    shared = shared_locks(str(tmp_path), "hub-01", ["/srv/repository"])
    elsewhere = shared_locks(str(tmp_path), "hub-02", ["/srv/repository"])
    with RunLock(one, "backup", shared=shared).acquire():
        with pytest.raises(RunLocked, match="'backup', process"), RunLock(other, "prune", shared=shared).acquire():
            pass
        with RunLock(other, "prune", shared=elsewhere).acquire():
            pass
    with RunLock(other, "prune", shared=shared).acquire():
        pass


def _opened_by_me(path: str) -> bool:
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return any(os.path.realpath(link) == path for link in links)


def test_no_child_inherits_it(state: StateFolder, undo: RunUndo) -> None:
    with RunLock(state, "backup").acquire():
        child = launch(["sleep", "60"], undo=undo)
    with RunLock(state, "prune").acquire():
        assert child.poll() is None
    child.stop()


def test_signals_become_interruptions() -> None:
    script = (
        "from orchestrator.adapters.interrupts import PROCESS\n"
        "from orchestrator.model.errors import Interrupted\n"
        "import sys, threading\n"
        "PROCESS.install()\n"
        "def work():\n"
        "    try:\n"
        "        PROCESS.wait((), None)\n"
        "    except Interrupted as told:\n"
        "        codes.append(told.exit_code)\n"
        "codes = []\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[thread.start() for thread in threads]\n"
        "print('ready', flush=True)\n"
        "[thread.join() for thread in threads]\n"
        "print(codes)\n"
    )
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGQUIT, 143)):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.communicate(timeout=10)[0] == f"{[code] * 3}\n"
            assert process.returncode == 0
