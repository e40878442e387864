"""Passes a program's bytes on to the next pipe and lets a census see them; never hangs: it can be told to end."""

from __future__ import annotations

import os
import select
import threading

from orchestrator.engines._incoming import BLOCK, kept
from orchestrator.engines._mysql.census import Census
from orchestrator.model.errors import ResguardoError


class Relay:
    """A thread between two pipes. It owns `source` and `sink` and closes both; `head` is sent first.

    ended: the program sent all that it had · whole: all of it was passed on, and understood.
    """

    def __init__(self, source: int, sink: int, head: bytes, census: Census) -> None:
        self.error: ResguardoError | None = None
        self.whole = self.ended = False
        self._source, self._sink, self._head, self._census = source, sink, head, census
        os.set_blocking(sink, False)
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="dump-relay", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until everything was passed on."""
        self._thread.join()

    def end(self) -> None:
        """Give up at once."""
        os.eventfd_write(self._over, 1)
        self._thread.join()
        os.close(self._over)

    def _run(self) -> None:
        try:
            if self._send(self._head):
                self._pass()
        except BrokenPipeError:
            pass  # nobody reads any more
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks
            self.error = kept(error, "reading it")
        finally:
            os.close(self._source)
            os.close(self._sink)

    def _pass(self) -> None:
        while self._wait(self._source, select.POLLIN):
            block = os.read(self._source, BLOCK)
            if not block:
                self.ended = True
                self._census.end()
                self.whole = True
                return
            self._census.feed(block)
            if not self._send(block):
                return

    def _send(self, block: bytes) -> bool:
        view = memoryview(block)
        while view:
            if not self._wait(self._sink, select.POLLOUT):
                return False
            view = view[os.write(self._sink, view) :]
        return True

    def _wait(self, fd: int, event: int) -> bool:
        """Whether there is something to do with a descriptor; False when it is all over."""
        poller = select.poll()
        poller.register(fd, event)
        poller.register(self._over, select.POLLIN)
        return self._over not in {ready for ready, _ in poller.poll()}
