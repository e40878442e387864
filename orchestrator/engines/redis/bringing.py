"""An item's bytes on their way back, read by ourselves while their verdict is awaited."""

from __future__ import annotations

import os
import threading
from types import TracebackType

from orchestrator.engines._incoming import Consumer
from orchestrator.model.engine import Data
from orchestrator.model.errors import ResguardoError

_BLOCK = 1 << 18


class Blocks:
    """Blocks of a `Data` until b"": then, and not before, they are known to be what was stored."""

    def __init__(self, data: Data) -> None:
        self._fd = os.dup(data.fd)
        self._error: ResguardoError | None = None
        # With a consumer, even one that never starts, the sender learns when we stop reading.
        self._judge = threading.Thread(target=self._await, args=(data,), name="restore-verdict", daemon=True)
        self._judge.start()

    def _await(self, data: Data) -> None:
        try:
            data.finish(Consumer())
        except ResguardoError as error:
            self._error = error

    def pull(self) -> bytes:
        """Return the next block. Raises DataDamaged, Interrupted at the end of bad ones."""
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
        self._judge.join()
