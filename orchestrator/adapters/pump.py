"""The pump: one tiny process per stream between a dump and restic, whose exit code is the verdict.

restic executes it by path with a bare interpreter (`python -I -S pump.py SOCKET`), so this file imports nothing but the
standard library. Over the private UNIX socket (SOCK_SEQPACKET) it receives the trailer as JSON and, beside it, the
descriptor to read; it copies that to stdout and sends `{"bytes": n}` now and then, at the end
`{"bytes": n, "sha256": hex, "problem": text, "waited": seconds}`. Then it waits: only `commit`, and only after a
report without a problem, makes it exit 0. Anything else (another word, a closed socket, a restic that is gone) is exit
1, and restic drops the snapshot.
"""

from __future__ import annotations

import _thread
import fcntl
import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

BUFFER = 1 << 18  # bytes: larger ones cost the same CPU and drive restic's data out of the caches
PIPE = 1 << 20  # bytes
COMMIT = b"commit"
REJECT = b"reject"
LONGEST = 1 << 16  # bytes of one message
PROGRESS = 0.5  # seconds between two messages of progress


class Check:
    """What a complete stream looks like: see `Trailer` of the model."""

    def __init__(self, magic: bytes, footer: bytes, tail: int, min_bytes: int) -> None:
        self.magic = magic
        self.footer = footer
        self.tail = max(tail, len(footer))
        self.min_bytes = max(1, min_bytes)

    def problem(self, total: int, head: bytes, end: bytes) -> str:
        """Return what is wrong with a stream of `total` bytes, "" when nothing is."""
        if total == 0:
            return "the stream is empty"
        if not head.startswith(self.magic):
            return f"the stream does not begin with {self.magic!r}"
        if total < self.min_bytes:
            return f"the stream has {total} bytes, expected at least {self.min_bytes}"
        if self.footer not in end:
            return f"the stream was cut short: no {self.footer!r} in its last {self.tail} bytes"
        return ""


def copy_checked(
    source: int,
    target: int,
    check: Check,
    *,
    on_bytes: Callable[[int], None] | None = None,
    before_read: Callable[[], None] | None = None,
    cap: int | None = None,
    write: Callable[[int, memoryview], None] | None = None,
) -> tuple[int, str, str]:
    """Copy to the end of `source`; return bytes, SHA-256 in hex, and the problem ("" when the check holds).

    It stops early where going on is no use: at a wrong beginning, and after more than `cap` bytes. `write` puts a
    chunk into the target (`write_all`).
    Raises CannotWrite, OSError.
    """
    buffer = memoryview(bytearray(BUFFER))
    digest = hashlib.sha256()
    put = write or write_all
    head = end = b""
    total = 0
    while True:
        if before_read is not None:
            before_read()
        count = os.readv(source, [buffer])
        if count == 0:
            break
        chunk = buffer[:count]
        if len(head) < len(check.magic):
            head += bytes(chunk[: len(check.magic) - len(head)])
            if not check.magic.startswith(head):
                total += count
                break
        digest.update(chunk)
        end = bytes(chunk[-check.tail :]) if count >= check.tail else (end + bytes(chunk))[-check.tail :]
        put(target, chunk)
        total += count
        if on_bytes is not None:
            on_bytes(total)
        if cap is not None and total > cap:
            break
    return total, digest.hexdigest(), check.problem(total, head, end)


class CannotWrite(OSError):
    """The target of a copy takes no more; an error of its source is a plain OSError."""


def write_all(target: int, chunk: memoryview) -> None:
    """Write the whole chunk. Raises CannotWrite."""
    written = 0
    while written < len(chunk):
        try:
            written += os.write(target, chunk[written:])
        except OSError as error:
            raise CannotWrite(*error.args) from error


class Pump:
    """One stream; the copying runs in a second thread so that the verdict is heard while a write blocks."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._next = 0.0
        self._waited = 0.0
        self._sound = False

    def run(self) -> int:
        """Return the exit code."""
        message, fds, _, _ = socket.recv_fds(self._link, LONGEST, 1)
        if not message or len(fds) != 1:
            return 1
        header: dict[str, Any] = json.loads(message)
        check = Check(
            bytes.fromhex(header["magic"]), bytes.fromhex(header["footer"]), header["tail"], header["min_bytes"]
        )
        os.set_blocking(fds[0], True)
        _thread.start_new_thread(self._copy, (fds[0], check))
        verdict = self._link.recv(LONGEST)
        return 0 if verdict == COMMIT and self._sound else 1

    def _copy(self, source: int, check: Check) -> None:
        try:
            total, digest, problem = copy_checked(source, 1, check, on_bytes=self._progress, write=self._write)
            self._sound = not problem
            report = {"bytes": total, "sha256": digest, "problem": problem, "waited": round(self._waited, 3)}
            self._link.send(json.dumps(report).encode())
        except OSError:  # restic or the owner is gone, or the source broke: no verdict can make this good
            os._exit(1)

    def _write(self, target: int, chunk: memoryview) -> None:
        began = time.monotonic()
        write_all(target, chunk)
        self._waited += time.monotonic() - began

    def _progress(self, total: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PROGRESS
        try:
            self._link.send(b'{"bytes": %d}' % total, socket.MSG_DONTWAIT)
        except BlockingIOError:  # the owner does not listen at the moment; the stream must not wait for it
            return


def main() -> int:
    """Run as a program."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(OSError):  # not a pipe, or no pipe memory left
        fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, PIPE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        link.connect(sys.argv[1])
        return Pump(link).run()


if __name__ == "__main__":
    try:
        code = main()
    except (OSError, ValueError, KeyError, TypeError):
        code = 1
    os._exit(code)  # at once: the copying thread may hang in a write
