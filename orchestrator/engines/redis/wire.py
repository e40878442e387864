"""A connection to a server that cannot hang: RESP2 over a socket or TLS, and after it the raw bytes of a snapshot.

The replication stream follows the last reply on the same socket, so that whoever parses replies must hand over what it
has read too far; and every wait must end when the run is told to stop. Source: Redis serialization protocol
specification, RESP2.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from orchestrator.model.errors import ResguardoError, ServerUnreachable
from orchestrator.model.waiting import Wait

if TYPE_CHECKING:
    import ssl

Reply = str | bytes | int | None | list["Reply"]
BLOCK = 1 << 18
CONNECT_LIMIT = 10.0  # seconds
ANSWER_LIMIT = 60.0  # seconds without a byte
GREETING_LIMIT = 10.0  # seconds for the first answers: another kind of server may wait for us to say more
_LONGEST_LINE = 1 << 16
_LARGEST = 64 << 20  # bytes of one reply
_WRITABLE = 0.02  # seconds between two looks whether a socket takes more: our commands are small


class Refused(ResguardoError):
    """The server answered with an error; `code` is its first word (NOPERM, WRONGPASS, ERR …)."""

    def __init__(self, text: str, where: str) -> None:
        self.code = text.partition(" ")[0]
        self.said = " ".join(text.split()).rstrip(".")
        super().__init__(f"{where}: {self.said}", "see the server's log")


class Wire:
    """One connection. where: for messages · wait: see `Source` · limit: seconds to wait for a byte."""

    def __init__(self, made: socket.socket, where: str, wait: Wait, limit: float = ANSWER_LIMIT) -> None:
        self._socket = made
        self._where = where
        self._wait = wait
        self._read = bytearray()
        self._limit = limit
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        made.settimeout(0)

    def wait_for(self, limit: float) -> None:
        """Wait so many seconds for a byte from here on."""
        self._limit = limit

    # --- bytes -----------------------------------------------------------------------------------------------------

    def receive(self) -> bytes:
        """Return the next bytes, b"" when the server closed the connection. Raises ServerUnreachable, Interrupted."""
        if self._read:
            block = bytes(self._read)
            self._read.clear()
            return block
        return self._receive()

    def _receive(self) -> bytes:
        until = monotonic() + self._limit
        while True:
            try:
                return self._socket.recv(BLOCK)
            except OSError as error:
                if not _again(error):
                    raise ServerUnreachable(f"{self._where}: {_said(error)}", "see the server's log") from error
                readable = self._wait((self._socket.fileno(), self._stop), max(0.0, until - monotonic()))
                if self._stop in readable:
                    raise ServerUnreachable(f"{self._where}: the connection was given up", "try again") from None
                if not readable:
                    raise ServerUnreachable(
                        f"{self._where}: no byte within {self._limit:g} s",
                        "see what the server is waiting for; if it is none of Redis', correct host and port",
                    ) from None

    def _send(self, data: bytes) -> None:
        view, until = memoryview(data), monotonic() + self._limit
        while view:
            try:
                view = view[self._socket.send(view) :]
            except OSError as error:
                if not _again(error) or monotonic() > until:
                    raise ServerUnreachable(f"{self._where}: {_said(error)}", "see the server's log") from error
                self._wait((), _WRITABLE)

    def handshake(self) -> None:
        """Agree on TLS. Raises ServerUnreachable."""
        limit = min(CONNECT_LIMIT, self._limit)
        until = monotonic() + limit
        while True:
            try:
                return self._tls().do_handshake()
            except OSError as error:
                if not _again(error):
                    hint = "check `tls` and the server's certificate; a port without TLS does not answer so"
                    raise ServerUnreachable(f"{self._where}: no TLS: {_said(error)}", hint) from error
                if monotonic() > until:
                    raise ServerUnreachable(f"{self._where}: no TLS within {limit:g} s", "check `tls`") from error
                self._wait((self._socket.fileno(),), _WRITABLE)

    def _tls(self) -> ssl.SSLSocket:
        import ssl  # noqa: PLC0415 - start-up

        assert isinstance(self._socket, ssl.SSLSocket)  # noqa: S101 - whoever calls handshake() wrapped it
        return self._socket

    # --- replies ---------------------------------------------------------------------------------------------------

    def send(self, *words: str | bytes) -> None:
        """Send one command."""
        parts = [word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word for word in words]
        self._send(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def call(self, *words: str | bytes) -> Reply:
        """Send one command and return its reply. Raises Refused, ServerUnreachable, Interrupted."""
        self.send(*words)
        return self.reply()

    def text(self, *words: str | bytes) -> str:
        """Return a reply that is one text."""
        found = self.call(*words)
        return found.decode("utf-8", "surrogateescape") if isinstance(found, bytes) else str(found)

    def reply(self) -> Reply:
        """Read one reply."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode("utf-8", "replace")
        if kind == b"-":
            raise Refused(rest.decode("utf-8", "replace"), self._where)
        if kind == b":":
            return self._number(rest)
        if kind == b"$":
            size = self._number(rest)
            return None if size < 0 else self._exactly(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(self._number(rest))]
        raise self._strange(line)

    def _number(self, text: bytes) -> int:
        try:
            number = int(text)
        except ValueError:
            raise self._strange(text) from None
        if number > _LARGEST:
            raise self._strange(text)
        return number

    def _strange(self, text: bytes) -> ServerUnreachable:
        shown = text[:40].decode("ascii", "replace")
        return ServerUnreachable(f"{self._where}: does not speak Redis's protocol: {shown!r}", "correct host and port")

    def line(self) -> bytes:
        """Read one line, without its end; keep-alive newlines are empty lines."""
        while (end := self._read.find(b"\n")) < 0:
            if len(self._read) > _LONGEST_LINE:
                raise self._strange(bytes(self._read))
            self._more()
        line = bytes(self._read[:end]).rstrip(b"\r")
        del self._read[: end + 1]
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        found = bytes(self._read[:size])
        del self._read[:size]
        return found

    def _more(self) -> None:
        block = self._receive()
        if not block:
            raise ServerUnreachable(f"{self._where}: the server closed the connection", "see the server's log")
        self._read += block

    # --- end -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End any wait of another thread."""
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """Close without a word; only when no other thread uses it any more."""
        with contextlib.suppress(OSError):
            self._socket.close()
        if self._stop >= 0:
            os.close(self._stop)
            self._stop = -1

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _again(error: OSError) -> bool:
    import ssl  # noqa: PLC0415 - start-up

    return isinstance(error, (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError))


def _said(error: OSError) -> str:
    return " ".join(str(error.strerror or error).split()).rstrip(".").lower()


def reached(family: int, address: tuple[str, int] | str, wait: Wait) -> socket.socket:
    """Connect a socket, interruptibly. Raises OSError, TimeoutError, Interrupted."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            made.connect(address)
        _await_connected(made, wait)
    except BaseException:
        made.close()
        raise
    return made


def _await_connected(made: socket.socket, wait: Wait) -> None:
    until = monotonic() + CONNECT_LIMIT
    while not select.select([], [made], [], 0)[1]:
        if monotonic() > until:
            raise TimeoutError(f"no answer within {CONNECT_LIMIT:g} s")
        wait((), _WRITABLE)
    if code := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))
