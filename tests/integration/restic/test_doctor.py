"""The lock doctor against real locks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.adapters.launch import launch, name_process
from orchestrator.adapters.restic import ResticRepository, settle_locks
from orchestrator.adapters.restic.settling import here
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import RepositoryLocked
from orchestrator.model.execution import Exit, KillProcess
from tests.conftest import MakeRepository
from tests.integration.restic.common import tags


@contextmanager
def _running(repository: ResticRepository, undo: RunUndo, fifo: Path) -> Iterator[tuple[KillProcess, int]]:
    """A restic that holds a lock, as our journal knows it, and the PID of its command."""
    os.mkfifo(fifo)
    running = repository.backup_stream("x", ["/bin/sh", "-c", f"echo $$ > '{fifo}'; exec sleep 60"], tags(), undo)
    command = int(fifo.read_bytes())
    with open(f"/proc/{command}/stat", encoding="ascii") as file:
        pid = int(file.read().rpartition(")")[2].split()[1])
    try:
        yield name_process(pid, "restic", "local"), command
    finally:
        running.stop()


def test_a_dead_lock_of_ours_is_removed_and_a_living_one_is_not(
    repository: ResticRepository, undo: RunUndo, tmp_path: Path
) -> None:
    with _running(repository, undo, tmp_path / "fifo") as (process, command):
        (event,) = settle_locks(repository, [process], undo)
        assert (event.name, event.repository) == ("lock.busy", "local")
        os.kill(process.pid, signal.SIGKILL)
        os.kill(command, signal.SIGKILL)
    with pytest.raises(RepositoryLocked):
        repository.check(undo)
    (event,) = settle_locks(repository, [process], undo)
    assert event.name == "lock.removed"
    assert f"PID {process.pid}" in event.message
    assert repository.locks(undo) == []
    assert repository.check(undo).errors == ()


def test_an_unknown_lock_stays_and_is_told(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    with _running(repository, undo, tmp_path / "fifo") as (process, command):
        os.kill(process.pid, signal.SIGKILL)
        os.kill(command, signal.SIGKILL)
    (event,) = settle_locks(repository, [], undo)
    assert (event.name, event.severity) == ("lock.foreign", "warning")
    assert f"PID {process.pid} on {here(datetime.now(UTC)).host}" in event.message
    assert event.hint
    assert len(repository.locks(undo)) == 1
    (event,) = settle_locks(repository, [], undo, asked=True)
    assert event.name == "lock.removed"
    assert repository.locks(undo) == []


def test_a_foreign_lock_beside_ours_forbids_unlocking(
    make_repository: MakeRepository, repository: ResticRepository, undo: RunUndo, tmp_path: Path
) -> None:
    with (
        _running(repository, undo, tmp_path / "one") as (ours, command),
        _running(make_repository(), undo, tmp_path / "two") as (other, second),
    ):
        for pid in (ours.pid, command, other.pid, second):
            os.kill(pid, signal.SIGKILL)
    events = settle_locks(repository, [ours], undo)
    assert sorted(event.name for event in events) == ["lock.foreign", "lock.stuck"]
    assert len(repository.locks(undo)) == 2


def test_here_knows_a_living_child_and_forgets_a_dead_one(undo: RunUndo) -> None:
    child = launch(["/bin/sleep", "60"], undo=undo)
    known = name_process(child.pid, "dump")
    seen = here(datetime.now(UTC))
    assert (seen.live[child.pid], seen.boot, seen.pid_namespace) == (known.start, known.boot, known.pid_namespace)
    assert isinstance(child.stop(), Exit)
    assert child.pid not in here(datetime.now(UTC)).live


def test_nobody_waits_for_the_lock_of_a_dead_process(
    make_repository: MakeRepository, repository: ResticRepository, undo: RunUndo, tmp_path: Path
) -> None:
    with _running(repository, undo, tmp_path / "fifo") as (process, command):
        os.kill(process.pid, signal.SIGKILL)
        os.kill(command, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(RepositoryLocked) as caught:
        make_repository(retry_lock=300.0).check(undo)
    assert time.monotonic() - began < 60
    assert f"by PID {process.pid} on" in caught.value.message
    assert caught.value.message.endswith("that process is not running on this machine")
    assert "resguardo recover --unlock" in (caught.value.hint or "")
