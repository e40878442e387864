"""Our end of a pump: its private socket, what it is fed, its report, the verdict."""

from __future__ import annotations

import json
import os
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.adapters import pump
from orchestrator.adapters.interrupts import PROCESS, Interrupts, poll
from orchestrator.model.errors import Bug, DeadlineExceeded, DumpFailed
from orchestrator.model.execution import StreamReport, Trailer
from orchestrator.model.failpoints import reach

_LOOK = 0.1  # seconds between two questions whether restic has ended
_UCRED = struct.Struct("3i")


class HostIntakes:
    """Makes intakes in a private directory (`private.socket_dir`); each has its own socket."""

    def __init__(self, folder: str, *, python: str = sys.executable, interrupts: Interrupts = PROCESS) -> None:
        self._folder = folder
        self._python = python
        self._interrupts = interrupts

    def open(self) -> HostIntake:
        """Return a new listening intake."""
        path = os.path.join(self._folder, f"{secrets.token_hex(4)}.sock")
        argv = (self._python, "-I", "-S", pump.__file__, path)
        intake = HostIntake(argv, path, self._interrupts)
        reach("intake.listening")
        return intake


class HostIntake:
    """One pump's counterpart, fulfilling the port `Intake`.

    `feed` and `report` are called by one thread; `progress`, `abort` and `close` by any: an abort wakes the others.
    """

    def __init__(self, argv: tuple[str, ...], path: str, interrupts: Interrupts) -> None:
        self.argv: Sequence[str] = argv
        self._path = path
        self._interrupts = interrupts
        self._aborted = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(1)
        self._link: socket.socket | None = None
        self._bytes = 0
        self._report: StreamReport | None = None
        self._closed = False

    def feed(
        self,
        fd: int,
        trailer: Trailer,
        *,
        deadline: float | None = None,
        ended: Callable[[], bool] | None = None,
    ) -> None:
        """See the port."""
        link = self._accept(None if deadline is None else time.monotonic() + deadline, ended)
        header = {
            "magic": trailer.magic.hex(),
            "footer": trailer.footer.hex(),
            "tail": trailer.tail,
            "min_bytes": trailer.min_bytes,
        }
        try:
            socket.send_fds(link, [json.dumps(header).encode()], [fd])
        except ConnectionError as error:
            raise DumpFailed("the stream's pump ended before it was fed", hint="see restic's message") from error

    def progress(self) -> int:
        """Return the bytes copied so far, as `report` last heard."""
        return self._bytes

    def report(self, *, deadline: float | None = None, stall: float | None = None) -> StreamReport:
        """See the port."""
        if self._link is None:
            raise Bug("an intake was asked for its report before it was fed")
        until = None if deadline is None else time.monotonic() + deadline
        moved = time.monotonic()
        while self._report is None:
            before = self._bytes
            frozen = None if stall is None else moved + stall
            if self._wait(self._link, _earliest(until, frozen)):
                self._hear(self._link)
            elif until is not None and time.monotonic() >= until:
                raise DeadlineExceeded(f"the stream did not end within {deadline:g} s", hint="raise the timeout")
            elif frozen is not None and time.monotonic() >= frozen:
                raise DeadlineExceeded(
                    f"the stream stood still for {stall:g} s after {self._bytes} bytes",
                    hint="the dump tool or the repository's server hangs",
                )
            if self._bytes != before:
                moved = time.monotonic()
        return self._report

    def commit(self) -> None:
        """Send the verdict that lets the pump exit 0. Raises DumpFailed when the pump is gone, Bug without a report."""
        if self._link is None or self._report is None or self._report.problem:
            raise Bug("a stream without a sound report cannot be committed")
        try:
            self._link.send(pump.COMMIT)
        except ConnectionError as error:
            raise DumpFailed("the stream's pump ended before its verdict", hint="see restic's message") from error

    def abort(self) -> None:
        """Send the other verdict and wake whoever waits here; safe to call again."""
        if self._closed:
            return
        os.eventfd_write(self._aborted, 1)
        if self._link is not None:
            try:
                self._link.send(pump.REJECT, socket.MSG_DONTWAIT)
            except OSError:
                return  # gone already, which is the same verdict

    def close(self) -> None:
        """Release the sockets; without an earlier commit this is an abort. Call it when nobody waits here any more."""
        if self._closed:
            return
        self._closed = True
        self._stop_listening()
        if self._link is not None:
            self._link.close()
        os.close(self._aborted)

    def _accept(self, until: float | None, ended: Callable[[], bool] | None) -> socket.socket:
        while self._link is None and self._listener is not None:
            look = None if ended is None else time.monotonic() + _LOOK
            if self._wait(self._listener, _earliest(until, look)):
                self._greet(self._listener)
            elif until is not None and time.monotonic() >= until:
                raise DeadlineExceeded("restic did not ask for the stream in time", hint="see restic's message")
            elif ended is not None and ended() and not poll([self._listener.fileno()], 0):
                raise DumpFailed("restic ended before it asked for the stream", hint="see restic's message")
        if self._link is None:
            raise DumpFailed("the stream was aborted")
        reach("intake.connected")
        return self._link

    def _greet(self, listener: socket.socket) -> None:
        """Take the first peer of our own user and stop listening; others are turned away."""
        link, _ = listener.accept()
        _, uid, _ = _UCRED.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid == os.geteuid():
            self._link = link
            self._stop_listening()
        else:
            link.close()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                return

    def _wait(self, link: socket.socket, until: float | None) -> bool:
        """Wait for the peer; False when the time is over. Raises Interrupted, DumpFailed."""
        seconds = None if until is None else until - time.monotonic()
        ready = self._interrupts.wait((link.fileno(), self._aborted), seconds)
        if self._aborted in ready:
            raise DumpFailed("the stream was aborted")
        return bool(ready)

    def _hear(self, link: socket.socket) -> None:
        try:
            message = link.recv(pump.LONGEST)
        except ConnectionError:
            message = b""
        if not message:
            raise DumpFailed(
                f"the stream's pump died after {self._bytes} bytes", hint="see the messages of restic and the dump"
            )
        said: dict[str, Any] = json.loads(message)
        self._bytes = said["bytes"]
        if "sha256" in said:
            self._report = StreamReport(said["bytes"], said["sha256"], said["problem"], said["waited"])


def _earliest(*moments: float | None) -> float | None:
    return min((moment for moment in moments if moment is not None), default=None)
