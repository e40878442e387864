"""A dump made in a thread of this process: every byte passes the strict reader before it leaves."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import ExitStack

from orchestrator.engines._incoming import pipe
from orchestrator.engines.mongodb.archive import Prelude, Reader
from orchestrator.engines.mongodb.catalogue import INDEXES, VIEWS, from_json, is_ours
from orchestrator.engines.mongodb.connection import expected_errors, one_line
from orchestrator.model.errors import DumpFailed, ResguardoError
from orchestrator.model.waiting import Wait

_ENDING = 2.0  # seconds that a thread is given to notice that it is not wanted any more


class Sink:
    """Where an archive goes: `reader` judges it on the way. Nobody needs to read on once `stop` was called."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.prelude: Prelude | None = None
        self.fd, self._write = pipe()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        os.set_blocking(self._write, False)

    def write(self, data: bytes) -> None:
        """Judge bytes and pass them on. Raises DataDamaged, DumpFailed (stopped)."""
        for event in self.reader.feed(data):
            if isinstance(event, Prelude):
                self.prelude = event
        self._pass(data)

    def _pass(self, data: bytes) -> None:
        poller = select.poll()
        poller.register(self._write, select.POLLOUT)
        poller.register(self._stop, select.POLLIN)
        view = memoryview(data)
        while view:
            if any(fd == self._stop for fd, _ in poller.poll()):
                raise DumpFailed("the dump was given up")
            try:
                view = view[os.write(self._write, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise DumpFailed("nobody read the dump to its end") from error

    def counts(self) -> dict[str, int]:
        """Return what went through: documents per collection, indexes, views."""
        counts: dict[str, int] = {}
        for entry, (_, collection), documents in self.reader.counts():
            told = from_json(entry.metadata) if entry.metadata else {}
            if entry.type == "view" or "viewOn" in (told.get("options") or {}):
                counts[VIEWS] = counts.get(VIEWS, 0) + 1
            elif is_ours(entry.collection):
                counts[collection] = documents
                if told.get("indexes"):
                    counts[INDEXES + entry.collection] = len(told["indexes"])
        return counts

    def stop(self) -> None:
        """Let a write that waits give up."""
        os.eventfd_write(self._stop, 1)

    def end(self) -> None:
        """Let `fd` end."""
        os.close(self._write)

    def forget(self) -> None:
        """Release the rest, when nobody writes any more."""
        os.close(self._stop)


class Production(threading.Thread):
    """Runs `produce` into a sink; `after` is closed by the thread itself, at its end.

    error: why the dump is not good, "" when it is · counts: what it holds.
    """

    def __init__(self, produce: Callable[[Sink], None], after: ExitStack) -> None:
        super().__init__(name="mongodb-dump", daemon=True)
        self.sink = Sink()
        self.error = "it did not end"
        self.hint: str | None = None
        self.counts: dict[str, int] = {}
        self._produce = produce
        self._after = after
        self._over = os.eventfd(0, os.EFD_CLOEXEC)

    def run(self) -> None:
        """Produce, and say how it went before the bytes end."""
        try:
            self._produce(self.sink)
            self.sink.reader.close()
            self.counts = self.sink.counts()
            self.error = ""
        except ResguardoError as error:
            self.error, self.hint = error.message, error.hint
        except expected_errors() as error:
            self.error = one_line(error) or type(error).__name__
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks for the verdict
            self.error, self.hint = f"{type(error).__name__}: {one_line(error)}", "report this: nothing foresaw it"
        finally:
            self.sink.end()
            os.eventfd_write(self._over, 1)
            self._after.close()

    def wait(self, wait: Wait, limit: float) -> bool:
        """Wait for the verdict; False when there is none in `limit` seconds. Raises Interrupted."""
        return bool(wait((self._over,), limit))

    def close(self) -> None:
        """End it; one that waits for a frozen server ends by itself, later."""
        self.sink.stop()
        os.close(self.sink.fd)
        self.join(_ENDING)
        if not self.is_alive():
            self.sink.forget()
            os.close(self._over)
