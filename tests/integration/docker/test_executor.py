"""Tools inside a container: what the port promises, on real containers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from orchestrator.adapters.container import ContainerExecutor, Daemon
from orchestrator.adapters.undo import RunUndo
from orchestrator.model.errors import RightsMissing, ServerUnreachable, ToolMissing
from tests.engines.servers.docker import Box, DockerEngine


@pytest.fixture(scope="module")
def box(docker_engine: DockerEngine) -> Iterator[Box]:
    with docker_engine.container(["/bin/sleep", "100000"], image="tools", env={"PGPASSWORD": "theirs"}) as made:
        yield made


@pytest.fixture
def at(box: Box) -> ContainerExecutor:
    return box.executor()


def test_a_program_runs_with_its_arguments_as_they_are(at: ContainerExecutor, undo: RunUndo) -> None:
    words = ["", " ", "quo'te\"d", "new\nline", "-dash", "ünï-日本", "100%s %41 \\0101", "$(id);`id`\\", "{secret}"]
    done = at.run(["sh", "-c", 'for each; do printf "%s|" "$each"; done', "x", *words], undo=undo)
    assert done.exit.ok
    assert done.stdout.decode() == "".join(f"{word}|" for word in words)


def test_stdin_stdout_stderr_and_exit_code(at: ContainerExecutor, undo: RunUndo) -> None:
    given = os.urandom(300_000)
    done = at.run(["sh", "-c", "cat; echo bad >&2; exit 7"], undo=undo, stdin=given)
    assert done.stdout == given
    assert (done.exit.code, done.exit.stderr_tail) == (7, "bad\n")


def test_tool_missing(at: ContainerExecutor, undo: RunUndo) -> None:
    with pytest.raises(ToolMissing) as caught:
        at.start(["no-such-tool"], undo=undo)
    assert caught.value.hint


def test_no_such_user(at: ContainerExecutor, undo: RunUndo) -> None:
    with pytest.raises(RightsMissing):
        at.start(["id"], undo=undo, user="nobody-here")


def test_no_such_container(docker_engine: DockerEngine, undo: RunUndo) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        ContainerExecutor(docker_engine.daemon, "absent").start(["id"], undo=undo)
    assert caught.value.hint


@contextmanager
def over_tcp(path: str) -> Iterator[str]:
    """The Engine's socket behind a port of this machine."""

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    links: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                theirs = listener.accept()[0]
                links.extend((theirs, engine := socket.socket(socket.AF_UNIX)))
                engine.connect(path)
                for pair in ((theirs, engine), (engine, theirs)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for link in links:
            link.close()


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_a_tool_may_be_silent_for_longer_than_the_engine(box: Box, undo: RunUndo, way: str) -> None:
    with ExitStack() as stack:
        path = str(box.engine.root / "docker.sock")
        url = box.engine.url if way == "unix" else stack.enter_context(over_tcp(path))
        daemon = Daemon(url, answer=1.0)
        stack.callback(daemon.close)
        given = bytes(40_000_000)  # more than fits on the way, so that giving it has to wait, too
        words = ["sh", "-c", "sleep 2; busybox wc -c; sleep 2; echo end"]
        done = ContainerExecutor(daemon, box.name).run(words, undo=undo, stdin=given)
        assert done.exit.ok, done.exit
        assert done.stdout == b"40000000\nend\n"
