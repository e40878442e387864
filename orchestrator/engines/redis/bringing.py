"""An item's bytes on their way back, read by ourselves while their verdict is awaited."""

from __future__ import annotations

import os
import threading
from types import TracebackType

from orchestrator.engines._incoming import Consumer
from orchestrator.model.engine import Data
from orchestrator.model.errors import RestoreFailed
from orchestrator.model.waiting import Wait

_BLOCK = 1 << 18
_PATIENCE = 5.0  # seconds


def assert_free(target: str) -> None:
    """See that something new can be made there. Raises RestoreFailed."""
    if os.path.lexists(target):
        raise RestoreFailed(f"{target!r}: exists already", "choose another name, or move it away")
    if not os.path.isdir(os.path.dirname(target)):
        raise RestoreFailed(f"{os.path.dirname(target)!r}: no such directory", "create it first")


class Blocks:
    """Blocks of a `Data` until b"": then, and not before, they are known to be what was stored."""

    def __init__(self, data: Data, wait: Wait) -> None:
        self._wait = wait
        self._fd = os.dup(data.fd)
        self._error: BaseException | None = None
        # With a consumer, even one that never starts, the sender learns when we stop reading.
        self._judge = threading.Thread(target=self._await, args=(data,), name="restore-verdict", daemon=True)
        self._judge.start()

    def _await(self, data: Data) -> None:
        try:
            data.finish(Consumer())
        except BaseException as error:  # noqa: BLE001 - carried to the thread that reads
            self._error = error

    def pull(self) -> bytes:
        """Return the next block. Raises Interrupted; DataDamaged and what else went wrong at the end of bad ones."""
        self._wait((self._fd,), None)
        block = os.read(self._fd, _BLOCK)
        if not block:
            self._judge.join()
            if self._error is not None:
                raise self._error
        return block

    def drain(self) -> None:
        """Read what nobody wants any more: bad bytes explain best what went wrong here. Raises as `pull`."""
        while self.pull():
            pass

    def __enter__(self) -> Blocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        self._judge.join(_PATIENCE if error else None)  # whoever sends may stand still, and is stopped only after us
