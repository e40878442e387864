"""An item's bytes on their way out of the repository, which end only when they are known to be right."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from types import TracebackType

from orchestrator.model.errors import DataDamaged, DeadlineExceeded, ResguardoError
from orchestrator.model.execution import Proc, Undo
from orchestrator.model.repository import Repository
from orchestrator.model.waiting import poll

BLOCK = 1 << 18
STALL = 1800.0  # seconds without a byte out of the repository after which restic counts as frozen


def awaited(fd: int, stall: float = STALL) -> bytes:
    """Return the next bytes of a dump, b"" at its end. Raises DeadlineExceeded when none came for `stall` seconds.

    Only our own waiting counts: a reader further on may take as long as it likes.
    """
    if not poll([fd], stall):
        raise DeadlineExceeded(
            f"restic gave no byte for {stall:g} s",
            "look at what the repository's server or disk is doing; then try again",
        )
    return os.read(fd, BLOCK)


class RepositoryData:
    """`restic dump` copied to `fd`, hashed on the way. See model.engine.Data for the contract.

    A cut stream that ends cleanly would make a database client commit half of the data: so the end of `fd` is held
    open until restic's exit code and the digest are known, and on bad data the consumer is killed first.
    """

    def __init__(
        self,
        repository: Repository,
        snapshot: str,
        path: str,
        size: int,
        sha256: str | None,
        undo: Undo,
        on_bytes: Callable[[int], None] = lambda _done: None,
        *,
        stall: float = STALL,
    ) -> None:
        self._expected = (size, sha256)
        self._on_bytes = on_bytes
        self._stall = stall
        self._frozen: DeadlineExceeded | None = None
        self.fd, self._out = os.pipe()
        self._in, write_end = os.pipe()
        try:
            self._running = repository.dump(snapshot, path, write_end, undo)
        except BaseException:
            for fd in (self.fd, self._out, self._in):
                os.close(fd)
            raise
        finally:
            os.close(write_end)
        self._digest = hashlib.sha256()
        self._size = 0
        self._deaf = False
        self._closed = False
        self._heard = False
        self._thread = threading.Thread(target=self._copy, name="restore-copy", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        try:
            while block := awaited(self._in, self._stall):
                self._digest.update(block)
                self._size += len(block)
                self._on_bytes(self._size)
                if not self._write(block):
                    return
        except DeadlineExceeded as error:
            self._frozen = error
            self._running.stop()
        except OSError:
            return  # the digest tells

    def _write(self, block: bytes) -> bool:
        view = memoryview(block)
        while view:
            try:
                view = view[os.write(self._out, view) :]
            except BrokenPipeError:
                self._deaf = True  # the consumer ended first: its own exit code tells why
                return False
        return True

    def finish(self, consumer: Proc | None = None) -> None:
        """Wait for all bytes, then let `fd` end. Raises DataDamaged after killing the consumer.

        A consumer has its own copy of `fd`. Ours is closed first: else the copying would never learn, by a broken
        pipe, that the consumer ended early.
        """
        if consumer is not None:
            self._close_fd()
        self._thread.join()
        problem: ResguardoError | None = None
        if not self._deaf:
            problem = self._problem()
        if problem is not None and consumer is not None:
            consumer.stop(0.0)
        self._close_out()
        if problem is not None:
            raise problem

    def _problem(self) -> ResguardoError | None:
        if self._frozen is not None:
            return self._frozen
        try:
            self._running.wait()
        except ResguardoError as error:
            return error
        size, sha256 = self._expected
        if self._size != size or (sha256 is not None and self._digest.hexdigest() != sha256):
            return DataDamaged(
                f"{self._size} bytes with digest {self._digest.hexdigest()[:12]} came back, the manifest says "
                f"{size} with {(sha256 or 'none')[:12]}",
                "restore an older point, and run resguardo verify",
            )
        return None

    def _close_fd(self) -> None:
        if not self._heard:
            self._heard = True
            os.close(self.fd)

    def _close_out(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._out)

    def __enter__(self) -> RepositoryData:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_fd()  # first, so that a copy blocked on a reader that is gone ends
        self._running.stop()
        self._thread.join()
        self._close_out()
        os.close(self._in)
