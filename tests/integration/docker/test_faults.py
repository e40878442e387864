"""What happens to a container while a tool runs inside it is said, and never taken for the end of a dump."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from orchestrator.adapters.container import ContainerExecutor, Daemon
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import Precondition, RightsMissing, ServerUnreachable
from orchestrator.model.execution import Proc
from tests.engines.servers.docker import Box, DockerEngine

# The Engine's SDK does not close a socket that could not be connected: it is collected before the test is over.
UNCLOSED = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore:.*unclosed <socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def collected() -> Iterator[None]:
    """Leave no garbage to the next test."""
    yield
    gc.collect()


# How the bytes come: past the Engine ("direct"), or through it (then the tool has an input, too).
ONE_WAY = pytest.mark.parametrize("way", ["direct", pytest.param("stream", marks=pytest.mark.slow)])
ENDLESS = ["yes", "a line of a dump"]


@pytest.fixture
def box(docker_engine: DockerEngine) -> Iterator[Box]:
    with docker_engine.container(["/bin/sleep", "100000"], image="tools") as made:
        yield made


@contextmanager
def dumping(at: ContainerExecutor, undo: RunUndo, way: str) -> Iterator[tuple[Proc, int]]:
    """A dump under way that gives bytes for ever."""
    read, write = os.pipe()
    silent_read, silent_write = os.pipe()
    try:
        proc = at.start(ENDLESS, undo=undo, stdout=write, stdin=silent_read if way == "stream" else None)
    finally:
        os.close(write)
        os.close(silent_read)
    try:
        assert os.read(read, 100)
        yield proc, read
    finally:
        proc.stop()
        os.close(read)
        os.close(silent_write)


def drain(fd: int, seconds: float = 40) -> None:
    """Read to the end; it must come."""
    until = time.monotonic() + seconds
    while os.read(fd, 1 << 20):
        assert time.monotonic() < until, "the stream goes on"


def meanwhile(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


FAULTS: dict[str, tuple[Callable[[Box], None], str]] = {
    "killed": (Box.kill, r"is not running \(exited with code 137\)"),
    "stopped": (Box.stop, "is not running"),
    "removed": (Box.remove, "was removed|is being removed|is not running"),
    "restarted": (Box.restart, "was restarted|is not running"),
    "paused": (Box.pause, "is paused"),
}


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        *((fault, "direct") for fault in FAULTS),
        ("killed", "stream"),
        ("paused", "stream"),
        *(pytest.param(fault, "stream", marks=pytest.mark.slow) for fault in ("stopped", "removed", "restarted")),
    ],
)
def test_a_container_changed_during_a_dump(box: Box, undo: RunUndo, way: str, fault: str) -> None:
    act, words = FAULTS[fault]
    with dumping(box.executor(look=0.2, paused=1.0), undo, way) as (proc, fd):
        thread = meanwhile(lambda: act(box))
        drain(fd)
        with pytest.raises(ServerUnreachable) as caught:
            proc.wait()
        thread.join()
        assert re.search(words, caught.value.message)
        assert "while yes ran" in caught.value.message
        assert caught.value.hint
        end = proc.stop()
        assert not end.ok
        assert re.search(words, end.stderr_tail)
    if fault == "paused":
        box.unpause()
    assert_nothing_runs(box if fault != "removed" else None)


def assert_nothing_runs(box: Box | None) -> None:
    until = time.monotonic() + 5
    while box is not None and box.raw["State"]["Running"] and (left := box.processes()):
        assert time.monotonic() < until, left
        time.sleep(0.02)


def test_a_lost_connection_is_not_the_end_of_a_dump(box: Box, undo: RunUndo) -> None:
    """What is printed after it would be missing, and the tool may end well all the same."""
    silent_read, silent_write = os.pipe()
    output_read, output_write = os.pipe()
    words = ["sh", "-c", "echo a part; sleep 6; echo the rest"]
    proc = box.executor().start(words, undo=undo, stdin=silent_read, stdout=output_write)
    os.close(silent_read)
    os.close(output_write)
    assert os.read(output_read, 100) == b"a part\n"
    proc._started.link.shutdown(socket.SHUT_RD)
    with pytest.raises(ServerUnreachable, match="ended before it did"):
        proc.wait()
    assert os.read(output_read, 100) == b""
    for fd in (silent_write, output_read):
        os.close(fd)
    assert_nothing_runs(box)


@ONE_WAY
def test_a_short_pause_is_borne(box: Box, undo: RunUndo, way: str) -> None:
    with dumping(box.executor(look=0.1, paused=20.0), undo, way) as (proc, fd):
        box.pause()
        time.sleep(1)
        box.unpause()
        for _ in range(1000):
            assert os.read(fd, 1 << 16)
        assert proc.poll() is None
        assert not proc.stop().ok


@ONE_WAY
def test_stopping_in_a_paused_container_returns(box: Box, undo: RunUndo, way: str) -> None:
    with dumping(box.executor(look=0.2, paused=60.0), undo, way) as (proc, _):
        box.pause()
        began = time.monotonic()
        assert not proc.stop().ok
        assert time.monotonic() - began < 5
    undo.close()
    assert not undo.problems
    box.unpause()
    assert_nothing_runs(box)


@pytest.mark.parametrize("fault", ["killed", "stopped", "removed", "paused"])
def test_a_container_that_is_not_ready(box: Box, undo: RunUndo, fault: str) -> None:
    at = box.executor()
    assert at.run(["id"], undo=undo).exit.ok
    FAULTS[fault][0](box)
    with pytest.raises(ServerUnreachable) as caught:
        at.start(ENDLESS, undo=undo)
    assert caught.value.hint
    assert box.name in caught.value.message or fault == "removed"
    if fault == "paused":
        box.unpause()


def test_a_namesake_is_never_used(docker_engine: DockerEngine, box: Box, undo: RunUndo) -> None:
    at = box.executor()
    assert at.run(["id"], undo=undo).exit.ok
    docker_engine.client.api.rename(box.id, f"{box.name}-old")
    with docker_engine.container(["/bin/sleep", "100000"], image="tools", name=box.name) as namesake:
        at.run(["sh", "-c", "echo >/tmp/i-was-here"], undo=undo)
        assert box.file("/tmp/i-was-here").exists()
        assert not namesake.file("/tmp/i-was-here").exists()
        box.remove()
        with pytest.raises(ServerUnreachable):
            at.run(["id"], undo=undo)


@UNCLOSED
@pytest.mark.usefixtures("collected")
@ONE_WAY
def test_the_engine_is_stopped_during_a_dump(undo: RunUndo, way: str) -> None:
    with DockerEngine() as engine:
        box = engine.container(["/bin/sleep", "1000"], image="tools")  # goes with the engine
        with dumping(box.executor(look=0.2), undo, way) as (proc, fd):
            thread = meanwhile(lambda: engine.stop(signal.SIGKILL if way == "direct" else signal.SIGTERM))
            drain(fd)
            with pytest.raises(ServerUnreachable) as caught:
                proc.wait()
            thread.join()
            assert caught.value.hint
        assert not undo_left(undo)


def undo_left(undo: RunUndo) -> tuple[str, ...]:
    undo.close()
    return undo.problems


@UNCLOSED
@pytest.mark.usefixtures("collected")
def test_no_engine(undo: RunUndo) -> None:
    at = ContainerExecutor(Daemon("unix:///tmp/no-engine-here.sock"), "any")
    with pytest.raises(ServerUnreachable, match=r"no-engine-here.sock does not answer: No such file") as caught:
        at.start(["id"], undo=undo)
    assert caught.value.hint


def test_an_engine_that_refuses_us(docker_engine: DockerEngine) -> None:
    """The socket is root's and the group's: another user is told what to do."""
    docker_engine.root.chmod(0o755)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            ContainerExecutor(Daemon(docker_engine.url), "any").exists("/")
        except RightsMissing as error:
            os.write(write, str(error).encode())
        except Precondition as error:
            os.write(write, f"other: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    said = os.read(read, 4096).decode()
    os.close(read)
    assert "permission denied" in said
    assert "HINT: run as root" in said
