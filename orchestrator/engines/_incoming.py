"""An item's bytes on their way into a client program, when their beginning must be read before it can be started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Callable
from types import TracebackType

from orchestrator.model.engine import Data
from orchestrator.model.errors import ResguardoError, RestoreFailed
from orchestrator.model.execution import Exit, Proc

PIPE = 1 << 20
BLOCK = 1 << 18
TAIL = 4096  # bytes within which a footer is looked for
_GLANCE = 1000  # milliseconds without a byte after which it is looked whether the verdict will ever come
Change = Callable[[bytes], bytes]


def _unchanged(block: bytes) -> bytes:
    return block


def pipe() -> tuple[int, int]:
    """Return (read, write) of a pipe of 1 MiB: larger steps, fewer switches between producer and consumer."""
    read, write = os.pipe()
    with contextlib.suppress(OSError):  # the user's share of pipe memory may be spent
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE)
    return read, write


def _write(fd: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]


def kept(error: BaseException, doing: str) -> ResguardoError:
    """Return what ended a thread as an error that can be told, whatever it was. doing: what it ended."""
    if isinstance(error, ResguardoError):
        return error
    said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    return ResguardoError(f"{doing} failed: {said}", "try again; report it when it fails the same way")


class Consumer:
    """A client program that may be started later; stopped before that, it is stopped the moment it is there."""

    def __init__(self) -> None:
        self.pid = 0
        self._proc: Proc | None = None
        self._refused = False
        self._there = threading.Event()
        self._lock = threading.Lock()

    def attach(self, proc: Proc) -> None:
        """Take the started program."""
        with self._lock:
            self._proc, self.pid = proc, proc.pid
            self._there.set()
            refused = self._refused
        if refused:
            proc.stop(0.0)

    @property
    def refused(self) -> bool:
        """Whether it was told to stop."""
        return self._refused

    def wait(self) -> Exit:
        """Wait for its start and its end."""
        self._there.wait()
        assert self._proc is not None  # noqa: S101 - set before the event
        return self._proc.wait()

    def poll(self) -> Exit | None:
        """Return its end, if it has started and ended."""
        return self._proc.poll() if self._proc else None

    def stop(self, grace: float = 1.0) -> Exit:
        """Stop it now, or as soon as it is started."""
        with self._lock:
            self._refused = True
            proc = self._proc
        return proc.stop(grace) if proc else Exit(code=137, signal=9)


class Incoming:
    """Reads a `Data` while its verdict is awaited in another thread, so that a damaged beginning cannot block us.

    The rule of Data holds: the consumer is stopped before its input ends, when the bytes are bad.
    """

    def __init__(self, data: Data) -> None:
        self._fd = os.dup(data.fd)
        self.consumer = Consumer()
        self.error: ResguardoError | None = None
        self._judge = threading.Thread(target=self._await, args=(data,), name="restore-verdict", daemon=True)
        self._judge.start()
        self._pour: threading.Thread | None = None
        self._complete = False
        self._held = -1

    def _await(self, data: Data) -> None:
        try:
            data.finish(self.consumer)
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks
            self.error = self.error or kept(error, "checking the data")

    def _read(self, size: int) -> bytes:
        """Read some. Raises the verdict's error, after which no byte may ever come, nor an end."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        while not poller.poll(_GLANCE):
            if self.error is not None:
                raise self.error
        return os.read(self._fd, size)

    def head(self, enough: Callable[[bytes], bool], limit: int) -> bytes:
        """Read until `enough`, at least `limit` bytes, or the end. Raises what the verdict says of a bad end."""
        head = b""
        while len(head) < limit and not enough(head):
            block = self._read(65536)
            if not block:
                self.check()
                break
            head += block
        return head

    def whole_within(self, limit: int) -> bytes | None:
        """Read everything; None when it is more than `limit` bytes. Raises what the verdict says of it."""
        blocks, size = [], 0
        while block := self._read(BLOCK):
            blocks.append(block)
            size += len(block)
            if size > limit:
                return None
        self.check()
        return b"".join(blocks)

    def pour(self, head: bytes, footer: bytes = b"", change: Change | None = None) -> int:
        """Send `head` and all that follows; returns the descriptor to read from, which the caller closes.

        `footer` must occur near the end, else the consumer is stopped before its input ends. change: what is sent
        instead of a block, and instead of nothing at the end; what it raises stops the consumer, too.
        """
        read, write = pipe()
        arguments = (head, footer, write, change or _unchanged)
        self._pour = threading.Thread(target=self._send, args=arguments, name="restore-pour", daemon=True)
        self._pour.start()
        return read

    def _send(self, head: bytes, footer: bytes, write: int, change: Change) -> None:
        try:
            tail = block = head
            while block:
                tail = (tail + block)[-TAIL:] if len(block) < TAIL else block[-TAIL:]
                _write(write, change(block))
                block = self._read(BLOCK)
            _write(write, change(b""))
            self._judge.join()
            if self.error is None and footer not in tail:
                self.error = RestoreFailed(f"the data lacks its end mark {footer.decode()!r}", "restore an older point")
            self._complete = self.error is None
            if not self._complete:
                self.consumer.stop(0.0)
        except BrokenPipeError:
            pass  # the consumer ended first: its exit code tells why
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks; the consumer must not go on
            self.error = self.error or kept(error, "passing the data on")
            self.consumer.stop(0.0)
        finally:
            self._close()  # tells the producer that nobody reads on
            if self.consumer.refused:
                self._held = write  # it may have been started, and is stopped once we know it: until then no end
            else:
                os.close(write)

    def whole(self) -> bool:
        """Whether every byte was handed on and the verdict was good."""
        if self._pour is None:
            return False
        self._pour.join()
        return self._complete and self.error is None

    def check(self) -> None:
        """Wait for the verdict after the end of the bytes. Raises DataDamaged."""
        for thread in (self._judge, self._pour):
            if thread is not None:
                thread.join()
        if self.error is not None:
            raise self.error

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pour is None:
            self._close()
        else:
            self._pour.join(5.0)
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)


def read_whole(data: Data, limit: int, what: str, hint: str) -> bytes:
    """Read a small item whole, judged. what, hint: for the error when it has more than `limit` bytes.

    Raises RestoreFailed, DataDamaged.
    """
    with Incoming(data) as incoming:
        found = incoming.whole_within(limit)
    if found is None:
        raise RestoreFailed(f"{what} are larger than {limit} bytes", hint)
    return found
