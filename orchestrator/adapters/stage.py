"""Copying a dump into a file, with the pump's code and checks."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable

from orchestrator.adapters import pump
from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.model.errors import DeadlineExceeded, DiskFull, DumpFailed, Precondition
from orchestrator.model.execution import Outgrown, StreamReport, Trailer


class FileStage:
    """Fulfils the port `Stage`."""

    def __init__(self, interrupts: Interrupts = PROCESS) -> None:
        self._interrupts = interrupts

    def __call__(
        self,
        fd: int,
        path: str,
        trailer: Trailer,
        *,
        on_bytes: Callable[[int], None] | None = None,
        cap: int | None = None,
        deadline: float | None = None,
        stall: float | None = None,
    ) -> StreamReport:
        """See the port; a file that did not become whole is removed."""
        try:
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(path, error) from error
        watch = self._watch(fd, deadline, stall)
        check = pump.Check(trailer.magic, trailer.footer, trailer.tail, trailer.min_bytes)
        try:
            total, digest, problem = pump.copy_checked(fd, target, check, on_bytes=on_bytes, before_read=watch, cap=cap)
        except pump.CannotWrite as error:
            os.unlink(path)
            raise _unwritable(path, error) from error
        except OSError as error:
            os.unlink(path)
            raise DumpFailed(f"the dump cannot be read: {error.strerror}") from error
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(target)
        if cap is not None and total > cap:
            os.unlink(path)
            raise Outgrown(f"a dump of more than {cap} bytes")
        return StreamReport(total, digest, problem)

    def _watch(self, fd: int, deadline: float | None, stall: float | None) -> Callable[[], None]:
        """Return what waits for the next bytes. It raises DeadlineExceeded, Interrupted."""
        until = None if deadline is None else time.monotonic() + deadline

        def watch() -> None:
            left = None if until is None else until - time.monotonic()
            limit = min((seconds for seconds in (left, stall) if seconds is not None), default=None)
            if self._interrupts.wait((fd,), limit):
                return
            if limit == stall:
                raise DeadlineExceeded(f"the dump stood still for {stall:g} s", hint="its tool or server hangs")
            raise DeadlineExceeded(f"the dump did not end within {deadline:g} s", hint="raise the timeout")

        return watch


def _unwritable(path: str, error: OSError) -> Precondition:
    message = f"staging file {path}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(message, hint="lower staging.max, or free space")
    return Precondition(message, hint="look at the disk that it lies on, or set staging.dir")
