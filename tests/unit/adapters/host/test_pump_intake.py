from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from orchestrator.adapters import pump
from orchestrator.adapters.intake import HostIntake, HostIntakes
from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.stage import FileStage
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import reconcile
from orchestrator.model.errors import Bug, DeadlineExceeded, DiskFull, DumpFailed, Interrupted, Precondition
from orchestrator.model.execution import Outgrown, StreamReport, Trailer
from tests.places import let_others_in
from tests.unit.adapters.host.help import lives, marked, until

TRAILER = Trailer(magic=b"--\n-- Dump", footer=b"-- complete\n", tail=64, min_bytes=30)
DATA = b"--\n-- Dump" + random.Random(7).randbytes(3_000_000) + b"\n-- complete\n\n"


@pytest.fixture
def interrupts() -> Interrupts:
    return Interrupts()


@pytest.fixture
def intake(tmp_path: Path, interrupts: Interrupts) -> Iterator[HostIntake]:
    opened = HostIntakes(str(tmp_path), interrupts=interrupts).open()
    yield opened
    opened.close()


@pytest.fixture
def running(intake: HostIntake, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The pump, printing into a file."""
    with (tmp_path / "out").open("wb") as out, subprocess.Popen(intake.argv, stdout=out) as process:
        yield process
        process.kill()


def piped(data: bytes) -> int:
    """Return the readable end of a pipe into which a thread writes `data`."""
    read, write = os.pipe()

    def fill() -> None:
        view = memoryview(data)
        with suppress(BrokenPipeError):
            while view:
                view = view[os.write(write, view) :]
        os.close(write)

    threading.Thread(target=fill, daemon=True).start()
    return read


def fed(intake: HostIntake, data: bytes, trailer: Trailer = TRAILER) -> StreamReport:
    fd = piped(data)
    intake.feed(fd, trailer, deadline=10)
    os.close(fd)
    return intake.report(deadline=20)


def test_commit(intake: HostIntake, running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    report = fed(intake, DATA)
    assert report == StreamReport(len(DATA), hashlib.sha256(DATA).hexdigest())
    assert intake.progress() == len(DATA)
    assert running.poll() is None  # it waits for the verdict
    intake.commit()
    assert running.wait(5) == 0
    assert (tmp_path / "out").read_bytes() == DATA


@pytest.mark.parametrize("verdict", ["abort", "close", "word"])
def test_any_other_verdict(intake: HostIntake, running: subprocess.Popen[bytes], verdict: str) -> None:
    fed(intake, DATA)
    if verdict == "word":
        assert intake._link is not None
        intake._link.send(b"committed")
    else:
        getattr(intake, verdict)()
    assert running.wait(5) == 1
    intake.abort()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the stream is empty"),
        (b"--\n-- Dump\n", "the stream has 11 bytes, expected at least 30"),
        (DATA[:-5], "the stream was cut short: no b'-- complete\\n' in its last 64 bytes"),
        (DATA + bytes(64), "the stream was cut short: no b'-- complete\\n' in its last 64 bytes"),
        (b"<html>" + DATA, "the stream does not begin with b'--\\n-- Dump'"),
    ],
)
def test_a_bad_stream_cannot_be_committed(
    intake: HostIntake, running: subprocess.Popen[bytes], data: bytes, problem: str
) -> None:
    assert fed(intake, data).problem == problem
    with pytest.raises(Bug):
        intake.commit()
    assert intake._link is not None
    intake._link.send(pump.COMMIT)  # even then
    assert running.wait(5) == 1


def test_a_verdict_before_the_end_is_none(intake: HostIntake, running: subprocess.Popen[bytes]) -> None:
    read, write = os.pipe()
    intake.feed(read, TRAILER, deadline=10)
    assert intake._link is not None
    intake._link.send(pump.COMMIT)
    assert running.wait(5) == 1
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("kind", ["file", "socket", "nonblocking pipe"])
def test_every_kind_of_descriptor(
    intake: HostIntake, running: subprocess.Popen[bytes], tmp_path: Path, kind: str
) -> None:
    data = DATA
    if kind == "file":
        (tmp_path / "dump").write_bytes(data)
        fd = os.open(tmp_path / "dump", os.O_RDONLY)
    elif kind == "socket":
        ours, theirs = socket.socketpair()
        fd = theirs.detach()
        threading.Thread(target=lambda: (ours.sendall(data), ours.close()), daemon=True).start()
    else:
        fd = piped(data)
        os.set_blocking(fd, False)
    intake.feed(fd, TRAILER, deadline=10)
    os.close(fd)
    assert intake.report(deadline=20).sha256 == hashlib.sha256(data).hexdigest()


def test_bytes_that_trickle(intake: HostIntake, running: subprocess.Popen[bytes]) -> None:
    read, write = os.pipe()
    intake.feed(read, TRAILER, deadline=10)
    os.close(read)
    data = DATA[:40] + b"-- complete\n"
    for number in range(len(data)):
        os.write(write, data[number : number + 1])
    os.close(write)
    assert intake.report(deadline=10) == StreamReport(len(data), hashlib.sha256(data).hexdigest())


def test_a_slow_reader_is_told(intake: HostIntake) -> None:
    with subprocess.Popen(intake.argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        fd = piped(DATA)
        intake.feed(fd, TRAILER, deadline=10)
        os.close(fd)
        time.sleep(1)
        assert process.stdout.read(len(DATA)) == DATA
        assert intake.report(deadline=20).waited > 0.5
        intake.commit()
        assert process.wait(5) == 0


def test_a_slow_dump_is_not_the_readers_fault(intake: HostIntake, running: subprocess.Popen[bytes]) -> None:
    read, write = os.pipe()
    intake.feed(read, TRAILER, deadline=10)
    os.close(read)
    os.write(write, DATA[:40])
    time.sleep(1)
    os.write(write, b"-- complete\n")
    os.close(write)
    assert intake.report(deadline=20).waited < 0.5


def test_progress_and_a_frozen_producer(intake: HostIntake, running: subprocess.Popen[bytes]) -> None:
    read, write = os.pipe()
    intake.feed(read, TRAILER, deadline=10)
    os.close(read)
    os.write(write, DATA[:1000])
    with pytest.raises(DeadlineExceeded, match=r"stood still for 0.3 s after 1000 bytes"):
        intake.report(stall=0.3, deadline=20)
    with pytest.raises(DeadlineExceeded, match=r"did not end within 0.1 s"):
        intake.report(stall=5, deadline=0.1)
    intake.abort()
    assert running.wait(2) == 1
    os.close(write)


def test_a_frozen_restic_does_not_hold_the_pump(intake: HostIntake) -> None:
    read, write = os.pipe()
    with subprocess.Popen(intake.argv, stdout=write) as process:
        fd = piped(DATA)
        intake.feed(fd, TRAILER, deadline=10)
        with pytest.raises(DeadlineExceeded, match="stood still"):
            intake.report(stall=0.5)
        assert process.poll() is None
        intake.close()
        assert process.wait(2) == 1
        os.close(fd)
    os.close(read)
    os.close(write)


def test_restic_that_goes_away(intake: HostIntake, running: subprocess.Popen[bytes]) -> None:
    read, write = os.pipe()
    intake.feed(read, TRAILER, deadline=10)
    running.kill()
    with pytest.raises(DumpFailed, match="pump died after 0 bytes"):
        intake.report(deadline=10)
    os.close(read)
    os.close(write)


def test_nobody_connects(intake: HostIntake, interrupts: Interrupts) -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(DeadlineExceeded, match="did not ask for the stream"):
        intake.feed(fd, TRAILER, deadline=0.1)
    with pytest.raises(DumpFailed, match="restic ended before"):
        intake.feed(fd, TRAILER, ended=lambda: True)
    with pytest.raises(Bug):
        intake.report()
    threading.Timer(0.1, intake.abort).start()
    with pytest.raises(DumpFailed, match="aborted"):
        intake.feed(fd, TRAILER)
    os.close(fd)


def test_an_interrupted_wait(intake: HostIntake, interrupts: Interrupts) -> None:
    threading.Timer(0.1, interrupts.trigger, (signal.SIGINT,)).start()
    fd = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(Interrupted):
        intake.feed(fd, TRAILER)
    os.close(fd)


@pytest.mark.root
def test_other_users_are_turned_away(intake: HostIntake, tmp_path: Path) -> None:
    let_others_in(tmp_path)
    Path(intake._path).chmod(0o777)
    script = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); os.seteuid(12345);"
        "s.connect(sys.argv[1]); print(len(s.recv(100)))"
    )
    stranger = subprocess.Popen([sys.executable, "-c", script, intake._path], stdout=subprocess.PIPE)
    fd = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(DeadlineExceeded):
        intake.feed(fd, TRAILER, deadline=3.0)
    assert stranger.communicate(timeout=20)[0] == b"0\n"
    os.close(fd)


# --- with restic itself ---


def argv(restic: str, repository: Path, *words: str) -> list[str]:
    base = [restic, "-r", str(repository / "repository"), "-p", str(repository / "key"), "--no-cache", "-q"]
    return [*base, *words]


def backup(restic: str, repository: Path, intake: HostIntake) -> subprocess.Popen[bytes]:
    words = ["backup", "--stdin-filename", "dump.sql", "--stdin-from-command", "--", *intake.argv]
    with (repository / "said").open("ab") as said:
        return subprocess.Popen(argv(restic, repository, *words), stdout=said, stderr=said, stdin=subprocess.DEVNULL)


def snapshots(restic: str, repository: Path) -> int:
    done = subprocess.run(
        argv(restic, repository, "snapshots", "--json", "--no-lock"), check=True, capture_output=True, timeout=60
    )
    return len(json.loads(done.stdout))


def locks(repository: Path) -> list[str]:
    return os.listdir(repository / "repository" / "locks")


def test_restic_stores_a_stream_only_by_verdict(restic: str, repository: Path, tmp_path: Path) -> None:
    intakes = HostIntakes(str(tmp_path))
    for verdict in ("abort", "close", "empty", "footer", "commit"):
        intake = intakes.open()
        with backup(restic, repository, intake) as process, closing(intake):
            report = fed(intake, {"empty": b"", "footer": DATA[:-20]}.get(verdict, DATA))
            assert bool(report.problem) == (verdict in ("empty", "footer"))
            getattr(intake, verdict, intake.close)()
            # 0.19 now and then calls its own end after the command's failure an interrupt: 130
            assert process.wait(20) in ((0,) if verdict == "commit" else (1, 130)), verdict
        assert snapshots(restic, repository) == (1 if verdict == "commit" else 0)
        assert locks(repository) == []
    dumped = subprocess.run(
        argv(restic, repository, "dump", "latest", "/dump.sql"), check=True, capture_output=True, timeout=60
    )
    assert dumped.stdout == DATA


OWNER = """
import os, sys, threading
from orchestrator.adapters.intake import HostIntakes
from orchestrator.adapters.launch import launch, memory_file
from orchestrator.adapters.private import socket_dir
from orchestrator.adapters.state import StateFolder
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.execution import Trailer
state = StateFolder(os.environ["POLICY"])
undo = RunUndo(state, sys.argv[1])
restic, repository = sys.argv[2:4]
intake = HostIntakes(socket_dir(state, undo)).open()
base = [restic, "-r", repository + "/repository", "-p", repository + "/key", "--no-cache", "-q", "backup"]
running = launch(base + ["--stdin-filename", "dump.sql", "--stdin-from-command", "--", *intake.argv],
                 undo=undo, role="restic", repository="local", stdout=memory_file())
read, write = os.pipe()
dump = launch(["sh", "-c", "while :; do head -c 300000 /dev/urandom; sleep 0.02; done"], undo=undo, stdout=write)
os.close(write)
intake.feed(read, Trailer(min_bytes=1), deadline=30)
os.close(read)
print(running.pid, dump.pid, undo.sentinel, flush=True)
intake.report()
"""


def test_kill_9_of_the_owner_in_mid_stream(
    restic: str, repository: Path, tmp_path: Path, owner: Callable, state: StateFolder
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    print("seed", seed)
    for number in range(5):
        run = owner(OWNER, f"20240229T010203Z-{number:06x}", restic, str(repository))
        pids = [int(word) for word in run.line().split()]
        moment = chance.uniform(0, 0.6)
        time.sleep(moment)  # the moment of the kill is the point
        assert lives(pids[0]), f"restic ended by itself after {moment} s"
        run.kill()
        assert until(lambda: not any(map(lives, pids)), 2), f"seed {seed}, moment {moment}"  # noqa: B023
        assert until(lambda: marked(str(tmp_path)) == [], 1)
        (dead,) = reconcile(state)
        assert dead.problems == ()
        dead.forget()
    assert snapshots(restic, repository) == 0
    print("stale locks:", len(locks(repository)))


# --- staged dumps ---


def test_stage(tmp_path: Path) -> None:
    seen: list[int] = []
    fd = piped(DATA)
    report = FileStage()(fd, str(tmp_path / "dump"), TRAILER, on_bytes=seen.append, cap=len(DATA), deadline=20, stall=9)
    os.close(fd)
    assert report == StreamReport(len(DATA), hashlib.sha256(DATA).hexdigest())
    assert (tmp_path / "dump").read_bytes() == DATA
    assert (tmp_path / "dump").stat().st_mode & 0o7777 == 0o600
    assert seen[-1] == len(DATA)
    assert seen == sorted(seen)


def test_a_dump_that_outgrows_its_place(tmp_path: Path) -> None:
    fd = piped(DATA)
    with pytest.raises(Outgrown):
        FileStage()(fd, str(tmp_path / "dump"), TRAILER, cap=len(DATA) - 1)
    os.close(fd)
    assert not (tmp_path / "dump").exists()


def test_a_staged_dump_that_freezes_or_is_interrupted(tmp_path: Path) -> None:
    interrupts = Interrupts()
    stage = FileStage(interrupts)
    read, write = os.pipe()
    with pytest.raises(DeadlineExceeded, match=r"the dump stood still for 0.1 s"):
        stage(read, str(tmp_path / "dump"), TRAILER, stall=0.1, deadline=5)
    with pytest.raises(DeadlineExceeded, match=r"the dump did not end within 0.1 s"):
        stage(read, str(tmp_path / "dump"), TRAILER, stall=5, deadline=0.1)
    interrupts.trigger(signal.SIGTERM)
    with pytest.raises(Interrupted):
        stage(read, str(tmp_path / "dump"), TRAILER)
    os.close(read)
    os.close(write)
    assert not (tmp_path / "dump").exists()


def test_what_cannot_be_read_and_what_cannot_be_written_are_told_apart(tmp_path: Path) -> None:
    unreadable = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(DumpFailed, match="the dump cannot be read: Is a directory"):
        FileStage()(unreadable, str(tmp_path / "dump"), TRAILER)
    os.close(unreadable)
    assert not (tmp_path / "dump").exists()
    fd = piped(DATA)
    with pytest.raises(Precondition, match=r"staging file .*/missing/dump: No such file"):
        FileStage()(fd, str(tmp_path / "missing" / "dump"), TRAILER)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DiskFull, match=r"staging file .*/dump: File too large"):
            FileStage()(fd, str(tmp_path / "dump"), TRAILER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        os.close(fd)
    assert not (tmp_path / "dump").exists()


@pytest.mark.root
def test_a_full_staging_place(tmp_path: Path) -> None:
    if shutil.which("mount") is None:
        pytest.fail("mount is missing")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        fd = piped(DATA)
        with pytest.raises(DiskFull, match=r"staging file .*/small/dump: No space left on device"):
            FileStage()(fd, str(place / "dump"), TRAILER)
        os.close(fd)
        assert not (place / "dump").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)
