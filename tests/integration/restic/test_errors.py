"""What goes wrong outside: the error, its message and its hint, from the real restic."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.adapters.restic import ResticRepository
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.engine import PathSet
from orchestrator.model.errors import (
    DeadlineExceeded,
    DiskFull,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryUnreachable,
    ResguardoError,
    ToolMissing,
    WrongPassword,
)
from orchestrator.model.secret import Secret
from tests.conftest import PASSWORD, MakeRepository
from tests.integration.restic.common import stored, tags

Act = Callable[[ResticRepository, RunUndo], object]
ACTS: dict[str, Act] = {
    "paths": lambda repository, undo: repository.backup_paths(PathSet(("/etc/hostname",)), tags(), undo).wait(),
    "stream": lambda repository, undo: repository.backup_stream("x", ["/bin/echo"], tags("stream"), undo).wait(),
    "list": lambda repository, undo: repository.snapshots(undo),
    "restore": lambda repository, undo: repository.restore("ab" * 32, "/nonexistent/target", undo),
}
every_act = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


@every_act
def test_wrong_password(make_repository: MakeRepository, undo: RunUndo, act: Act) -> None:
    with pytest.raises(WrongPassword, match="the password of repository local is wrong") as caught:
        act(make_repository(password=lambda: Secret("canary-wrong")), undo)
    assert caught.value.hint
    assert "canary" not in str(caught.value)


def test_empty_password_is_told_before_restic_runs(make_repository: MakeRepository, undo: RunUndo) -> None:
    repository = make_repository(password=lambda: Secret("\n"))
    with pytest.raises(WrongPassword, match="empty"):
        repository.snapshots(undo)
    assert repository.processes == 0


@every_act
def test_missing_repository(make_repository: MakeRepository, undo: RunUndo, tmp_path: Path, act: Act) -> None:
    repository = make_repository(url=str(tmp_path / "nowhere"))
    with pytest.raises(RepositoryMissing, match=r"repository local: there is none at /.*nowhere") as caught:
        act(repository, undo)
    assert "resguardo init" in str(caught.value.hint)
    assert not (tmp_path / "nowhere").exists(), "nothing may initialise a repository by accident"


def test_exists_and_init(make_repository: MakeRepository, undo: RunUndo, tmp_path: Path) -> None:
    repository = make_repository(url=str(tmp_path / "new"))
    assert repository.exists(undo) is False
    repository.init(undo)
    assert repository.exists(undo) is True
    with pytest.raises(ResguardoError, match="already"):
        repository.init(undo)


@contextmanager
def _holding_a_lock(repository: ResticRepository, undo: RunUndo, fifo: Path) -> Iterator[None]:
    os.mkfifo(fifo)
    running = repository.backup_stream("x", ["/bin/sh", "-c", f"echo > '{fifo}'; exec sleep 60"], tags("stream"), undo)
    try:
        fifo.read_bytes()
        yield
    finally:
        running.stop()


def test_locked(repository: ResticRepository, undo: RunUndo, tmp_path: Path) -> None:
    with _holding_a_lock(repository, undo, tmp_path / "fifo"):
        (lock,) = repository.locks(undo)
        holder = rf"repository local is locked by PID {lock.pid} on {lock.host} \(\S+\) for [\d.]+"
        with pytest.raises(RepositoryLocked, match=holder) as caught:
            repository.check(undo)
        assert "resguardo recover" in str(caught.value.hint)
        with pytest.raises(RepositoryLocked, match=holder):
            repository.forget(["ab" * 32], undo)
        assert not lock.exclusive
        assert repository.snapshots(undo) == [], "listing needs no lock"
    assert repository.check(undo).errors == ()


@contextmanager
def _holding_everything(restic: str, repository_path: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Stop a `restic check` while it holds its exclusive lock: it looks for others 0.2 s after it took it."""
    (tmp_path / "password").write_text(PASSWORD)
    env = {
        "PATH": os.defpath,
        "RESTIC_PASSWORD_FILE": str(tmp_path / "password"),
        "RESTIC_CACHE_DIR": str(tmp_path / "other-cache"),
    }
    holder = subprocess.Popen([restic, "-r", str(repository_path), "check", "--quiet"], env=env)
    try:
        while not any(len(name) == 64 for name in os.listdir(repository_path / "locks")):  # others are unfinished
            assert holder.poll() is None
        holder.send_signal(signal.SIGSTOP)
        yield holder
    finally:
        holder.kill()
        holder.wait()


def test_a_backup_waits_for_a_lock_in_its_way(
    make_repository: MakeRepository, restic: str, repository_path: Path, undo: RunUndo, tmp_path: Path
) -> None:
    with _holding_everything(restic, repository_path, tmp_path) as holder:
        with pytest.raises(RepositoryLocked, match="locked exclusively by PID"):
            make_repository().backup_stream("x", ["/bin/echo", "x"], tags("stream"), undo).wait()
        running = make_repository(retry_lock=60.0).backup_stream("x", ["/bin/echo", "x"], tags("stream"), undo)
        threading.Timer(1.0, holder.send_signal, [signal.SIGCONT]).start()
        assert running.wait().bytes == 2
        assert holder.wait(30) == 0


def test_deadline(repository: ResticRepository, undo: RunUndo) -> None:
    running = repository.backup_stream("x", ["/bin/sleep", "60"], tags("stream"), undo, deadline=2.0)
    with pytest.raises(DeadlineExceeded, match="restic backup on repository local outlived its deadline of 2 s"):
        running.wait()
    assert running.poll()


SERVERS = {
    "rest refuses": "rest:http://127.0.0.1:{closed}/x",
    "s3 refuses": "s3:http://127.0.0.1:{closed}/bucket/x",
    "rest is silent": "rest:http://canary:canary-url-pw@127.0.0.1:{silent}/x",
}


@pytest.mark.parametrize("url", SERVERS.values(), ids=SERVERS)
def test_unreachable_server(
    make_repository: MakeRepository, undo: RunUndo, closed_port: int, silent_port: int, url: str
) -> None:
    repository = make_repository(
        url=url.format(closed=closed_port, silent=silent_port),
        connect=2.0,
        env={"AWS_ACCESS_KEY_ID": Secret("AKIACANARY"), "AWS_SECRET_ACCESS_KEY": Secret("canary/secret+key=")},
    )
    began = time.monotonic()
    with pytest.raises(RepositoryUnreachable, match="the server of repository local cannot be used") as caught:
        repository.exists(undo)
    assert time.monotonic() - began < 30, "restic alone would go on for 15 minutes"
    assert "connection refused" in str(caught.value) or "no answer for 2 s" in str(caught.value)
    assert "canary" not in str(caught.value).lower()
    assert "canary-url-pw" not in repository.describe()


def test_unreachable_sftp_server(make_repository: MakeRepository, undo: RunUndo, closed_port: int) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed")
    repository = make_repository(url=f"sftp://nobody@127.0.0.1:{closed_port}//x")
    with pytest.raises(RepositoryUnreachable):
        repository.backup_paths(PathSet(("/etc/hostname",)), tags(), undo).wait()


@contextmanager
def _small_disk(path: Path, size: str) -> Iterator[None]:
    """Mount a small memory disk."""
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0700"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", str(path)], check=False, capture_output=True, timeout=10
    )
    if made.returncode:
        pytest.skip("impossible here: a small disk cannot be mounted (needs root)")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True, timeout=10)


def _incompressible(path: Path) -> Path:
    path.write_bytes(os.urandom(12_000_000))
    return path


def test_full_repository_disk(
    make_repository: MakeRepository, repository_path: Path, undo: RunUndo, tmp_path: Path
) -> None:
    source = _incompressible(tmp_path / "source")
    with _small_disk(tmp_path / "small", "3m"):
        shutil.copytree(repository_path, tmp_path / "small" / "repository")
        repository = make_repository(url=str(tmp_path / "small" / "repository"))
        with pytest.raises(DiskFull, match=r"no space left .* on repository local") as caught:
            repository.backup_paths(PathSet((str(source),)), tags(), undo).wait()
        assert str(tmp_path / "small") in str(caught.value)
        assert stored(repository) == []


def test_full_temporary_disk(repository: ResticRepository, state: StateFolder, undo: RunUndo, tmp_path: Path) -> None:
    source = _incompressible(tmp_path / "source")
    with _small_disk(Path(state.cache) / "tmp", "1m"), pytest.raises(DiskFull, match="no space left"):
        repository.backup_paths(PathSet((str(source),)), tags(), undo).wait()
    assert stored(repository) == []


def test_restic_is_missing_or_no_restic(make_repository: MakeRepository, undo: RunUndo, tmp_path: Path) -> None:
    for program in (str(tmp_path / "none"), "/bin/true"):
        with pytest.raises(ToolMissing) as caught:
            make_repository(program=program).snapshots(undo)
        assert "0.18" in str(caught.value.hint)
