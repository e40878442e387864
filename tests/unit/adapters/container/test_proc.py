"""A running tool's streams, with an Engine that is played: what is cut or breaks is never a good end."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from orchestrator.adapters.container.daemon import Container, Daemon
from orchestrator.adapters.container.frames import STDERR, STDOUT, Frames
from orchestrator.adapters.container.opening import NoGreetingError, Opened, our_mark
from orchestrator.adapters.container.proc import ContainerProc, Started
from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.launch import name_process
from orchestrator.adapters.sentinel import MARKER
from orchestrator.model.errors import ResguardoError, ServerUnreachable

BOX = Container("0" * 64, "box", status="running")


def frame(kind: int, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">BxxxL", kind, len(content) if size is None else size) + content


class Engine:
    """Says of every exec that it has ended well."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def state(self, _exec_id: str) -> tuple[bool, int, int]:
        if self.error:
            raise self.error
        return False, 0, 0

    def inspect(self, _name: str) -> Container:
        return BOX


class Breaking(socket.socket):
    """A connection that breaks when it is read."""

    def recv_into(self, *_given: Any) -> int:
        raise OSError(5, "Input/output error")


@dataclass
class Tool:
    """A process that stands for the tool, and its connection's other end."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    engine: socket.socket
    forgotten: list[bool] = field(default_factory=list)

    def proc(self, engine: Engine | None = None, **more: Any) -> ContainerProc:
        source = more.pop("source", None)
        started = Started("dump", BOX, "e", self.link, name_process(self.process.pid, "dump"), source)
        proc = ContainerProc(
            cast("Daemon", engine or Engine()),
            started,
            stdin=None,
            deadline=10,
            interrupts=Interrupts(),
            on_end=lambda: self.forgotten.append(self.process.poll() is not None),
            **{"stdout": None, **more},
        )
        proc.begin()
        return proc


@pytest.fixture
def tool() -> Iterator[Tool]:
    link, engine = socket.socketpair()
    with subprocess.Popen(["sleep", "60"], start_new_session=True, env={MARKER: our_mark()}) as process, link, engine:
        yield Tool(process, link, engine)
        process.kill()


def test_a_frame_that_was_cut_is_no_good_end(tool: Tool) -> None:
    proc = tool.proc()
    tool.engine.sendall(frame(STDOUT, b"half a", size=100))
    tool.engine.close()
    with pytest.raises(ServerUnreachable, match="was cut: in the middle of a frame"):
        proc.wait()
    assert tool.process.wait(5) != 0


def test_a_frame_that_was_cut_beside_the_output(tool: Tool) -> None:
    """Only what it says on stderr comes this way: that, too, is then not whole."""
    source, write = os.pipe()
    proc = tool.proc(source=source)
    tool.engine.sendall(frame(STDERR, b"", size=100)[:5])
    tool.engine.close()
    with pytest.raises(ServerUnreachable, match="was cut"):
        proc.wait()
    os.close(write)


def test_a_connection_that_breaks_is_no_good_end(tool: Tool) -> None:
    tool.link = Breaking(fileno=tool.link.detach())
    proc = tool.proc()
    tool.engine.sendall(frame(STDOUT, b"some"))
    with pytest.raises(ServerUnreachable, match="was cut: Input/output error"):
        proc.wait()


def test_input_that_was_left_unread_is_no_trouble(tool: Tool) -> None:
    tool.link.sendall(b"the input's rest")
    tool.engine.sendall(frame(STDERR, b"enough"))
    tool.engine.close()  # its unread input makes this a reset
    assert tool.proc().wait().ok


def test_an_unknown_error_ends_the_tool_and_is_raised(tool: Tool) -> None:
    proc = tool.proc(Engine(ZeroDivisionError("why")))
    tool.engine.close()
    with pytest.raises(ZeroDivisionError, match="why"):
        proc.wait()
    assert tool.process.wait(5) != 0
    assert tool.forgotten == [True], "forgotten before it was killed"
    assert "why" in proc.stop().stderr_tail


def test_output_that_cannot_be_written_is_told(tool: Tool) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    proc = tool.proc(stdout=full)
    os.close(full)
    tool.engine.sendall(frame(STDOUT, b"a dump"))
    with pytest.raises(ResguardoError, match="cannot be passed on: No space left"):
        proc.wait()
    assert tool.process.wait(5) != 0


def test_output_beside_the_engine_that_cannot_be_written_is_told(tool: Tool) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    source, write = os.pipe()
    os.write(write, b"a dump")
    proc = tool.proc(stdout=full, source=source)
    os.close(full)
    with pytest.raises(ResguardoError, match="cannot be passed on"):
        proc.wait()
    os.close(write)


# --- the gate's words ------------------------------------------------------------------------------------------------


def opened(*said: bytes) -> Opened:
    ours, engine = socket.socketpair()
    with engine:
        for each in said:
            engine.sendall(each)
    return Opened("e", "abc", ours)


def test_a_shell_that_complains_first() -> None:
    complaint = b"sh: warning: setlocale: LC_ALL: cannot change locale\n"
    found = opened(frame(STDERR, complaint), frame(STDOUT, b"abc direct\n"), frame(STDERR, b"late\n"))
    with found.link:
        assert found.word(Interrupts(), "dump") == "direct"
    assert found.rest == [(STDERR, complaint), (STDERR, b"late\n")]


def test_what_a_shell_says_instead_of_the_word() -> None:
    found = opened(frame(STDERR, b"sh: no\n"), frame(STDOUT, b"such thing"))
    with found.link, pytest.raises(NoGreetingError, match="sh: no such thing"):
        found.word(Interrupts(), "dump")


def test_frames_know_whether_they_are_whole() -> None:
    frames = Frames()
    frames.take(memoryview(frame(STDOUT, b"half a", size=100)))
    assert not frames.whole
