"""What shall run inside a container, and an exec that was opened for it."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from orchestrator.adapters.container.daemon import Container
from orchestrator.adapters.container.frames import STDOUT, Frames
from orchestrator.adapters.interrupts import Interrupts
from orchestrator.adapters.journal import Owner
from orchestrator.adapters.sentinel import end, marker
from orchestrator.model.errors import DeadlineExceeded
from orchestrator.model.execution import KillProcess

STARTING = 60.0  # seconds that the Engine may take to start something
_PIPE = 1 << 20  # bytes


@dataclass(frozen=True)
class Order:
    """What shall run. argv, env: as the tool gets them, but for the places of secrets in an image without a shell."""

    container: Container
    argv: Sequence[str]
    env: Mapping[str, str]
    user: str | None
    secrets: Mapping[str, bytes]
    stdin: int | None
    stdout: int | None

    @property
    def tool(self) -> str:
        """The tool's name for messages."""
        return os.path.basename(self.argv[0])

    @property
    def may_be_direct(self) -> bool:
        """Whether its output may come past the Engine: it has no input, whose pipe is used, and it goes to a pipe."""
        return self.stdin is None and self.stdout is not None and stat.S_ISFIFO(os.fstat(self.stdout).st_mode)


class NoGreetingError(Exception):
    """Instead of the gate's line came this text and the end."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass
class Opened:
    """An exec that was started, and its connection. rest: frames that came with the gate's words and are none."""

    exec_id: str
    token: str
    link: socket.socket
    pid: int = 0
    direct: bool = False
    frames: Frames = field(default_factory=Frames)
    rest: list[tuple[int, bytes]] = field(default_factory=list)

    def word(self, interrupts: Interrupts, tool: str) -> str:
        """Return the gate's next word on stdout; a shell may complain of a locale on stderr before.

        Raises NoGreetingError, DeadlineExceeded, Interrupted.
        """
        said = b""
        until = time.monotonic() + STARTING
        while not self._is_line(said):
            if not interrupts.wait((self.link.fileno(),), until - time.monotonic()):
                hint = "the Engine or the container hangs: see dockerd's log"
                raise DeadlineExceeded(f"{tool} was not started within {STARTING:g} s", hint)
            said += self._heard(said)
        return said.decode().split()[1]

    def _is_line(self, said: bytes) -> bool:
        return said.endswith(b"\n") and said.startswith(self.token.encode())

    def _heard(self, said: bytes) -> bytes:
        try:
            data = self.link.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise NoGreetingError(_words(b"".join([*(piece for _, piece in self.rest), said])))
        more = b""
        for kind, piece in self.frames.take(memoryview(data)):
            if kind != STDOUT or self._is_line(said + more):
                self.rest.append((kind, bytes(piece)))  # what the tool says at once is the tool's
            else:
                more += bytes(piece)
        return more

    def all_text(self) -> str:
        """Read what the Engine says instead of a tool that it could not start."""
        said = b""
        try:
            self.link.settimeout(1.0)
            while len(said) < 1 << 16 and (data := self.link.recv(1 << 16)):
                said += b"".join(bytes(piece) for _, piece in self.frames.take(memoryview(data)))
        except (OSError, ValueError):
            return _words(said)
        return _words(said)

    def output(self) -> int:
        """Return the readable end of the pipe that the tool will write to: see gate.py. Raises OSError."""
        fd = os.open(f"/proc/{self.pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError("not a pipe")
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE)
        return fd


def _words(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").split())


def our_mark() -> str:
    """Return what names us in the environment of all that we start."""
    return marker(asdict(Owner.me()))


def kill(process: KillProcess) -> None:
    """End a tool and what it started, at once."""
    end([asdict(process)], signal.SIGKILL, our_mark(), 0.0)
