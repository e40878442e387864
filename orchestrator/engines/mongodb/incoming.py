"""An archive's bytes on their way back, read in this process while their verdict is awaited beside."""

from __future__ import annotations

import os
import threading
from types import TracebackType

from orchestrator.model.engine import Data
from orchestrator.model.execution import Exit
from orchestrator.model.waiting import Wait

BLOCK = 1 << 18


class _Here:
    """The consumer that `Data.finish` knows is this process: it stops by looking at the verdict after the end."""

    pid = 0

    def wait(self) -> Exit:
        """It never ends by itself."""
        return Exit(0)

    def poll(self) -> Exit | None:
        """It never ends by itself."""
        return None

    def stop(self, grace: float = 1.0) -> Exit:
        """Nothing is to be stopped: what was read is not used before the verdict."""
        del grace
        return Exit(0)


class Incoming:
    """Reads a `Data`. Its bytes are good only when `read` has returned b""."""

    def __init__(self, data: Data, wait: Wait) -> None:
        self._fd = os.dup(data.fd)
        self._wait = wait
        self._error: BaseException | None = None
        self._judge = threading.Thread(target=self._await, args=(data,), name="restore-verdict", daemon=True)
        self._judge.start()

    def _await(self, data: Data) -> None:
        try:
            data.finish(_Here())
        except BaseException as error:  # noqa: BLE001 - carried to the thread that reads
            self._error = error

    def read(self) -> bytes:
        """Return the next bytes, b"" at a good end. Raises Interrupted, and what the verdict says of a bad end."""
        self._wait((self._fd,), None)
        block = os.read(self._fd, BLOCK)
        if not block:
            self._judge.join()
            if self._error is not None:
                raise self._error
        return block

    def __enter__(self) -> Incoming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)  # tells the producer that nobody reads on
        self._judge.join(10.0)
