"""Dump a server's databases: a snapshot on its way through our checks into a pipe; or its users, as text."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

from orchestrator.engines._incoming import pipe
from orchestrator.engines.redis.connection import target_of
from orchestrator.engines.redis.payload import OPENING, Payload, Place
from orchestrator.engines.redis.rdb import HEADER, SMALLEST, Contents, Damaged, read
from orchestrator.engines.redis.users import dump_users
from orchestrator.model.engine import Dump, DumpEnd, Item
from orchestrator.model.errors import Interrupted, ResguardoError
from orchestrator.model.execution import Executor, Finding, Trailer, Undo


class _GivenUp(Exception):
    """Nobody wants the bytes any more."""


class Passing:
    """A thread that reads a snapshot, checks and counts it, and writes it on; see orchestrator.model.engine.Dump."""

    def __init__(self, payload: Payload, first: bytes, read_end: int, write_end: int, where: str) -> None:
        self.fd = read_end
        self.trailer = Trailer(magic=first[:HEADER], min_bytes=SMALLEST)
        self._payload = payload
        self._first = first
        self._write_end = write_end
        self._where = where
        self._contents: Contents | None = None
        self._arrived = datetime.now(UTC)
        self._error: ResguardoError | None = None
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="redis-dump", daemon=True)
        os.set_blocking(write_end, False)
        self._thread.start()

    def _run(self) -> None:
        try:
            contents = read(self._pull)
            self._payload.assert_own(contents)
            self._contents = contents
        except ResguardoError as error:
            self._error = error
        except OSError as error:
            self._error = Damaged(f"{error.strerror or error}".lower())
        except _GivenUp:
            self._error = Damaged("it was given up")
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks for the end
            text = f"{self._where}: reading its snapshot failed: {type(error).__name__}: {error}"
            self._error = ResguardoError(text, "try again; report it when it fails the same way")
        finally:
            os.close(self._write_end)

    def _pull(self) -> bytes:
        block, self._first = self._first or self._payload.pull(), b""
        view = memoryview(block)
        while view:
            try:
                view = view[os.write(self._write_end, view) :]
            except BlockingIOError:
                self._await_room()
            except BrokenPipeError:
                raise _GivenUp from None
        return block

    def _await_room(self) -> None:
        waiting = select.poll()
        waiting.register(self._write_end, select.POLLOUT)
        waiting.register(self._stop, select.POLLIN)
        if any(fd == self._stop for fd, _ in waiting.poll()):
            raise _GivenUp

    def finish(self) -> DumpEnd:
        """Wait for the verdict."""
        self._thread.join()
        if isinstance(self._error, Interrupted):
            raise self._error
        if self._error is not None or self._contents is None:
            error = self._error or Damaged("it was given up")
            text = f"{self._where}: {error.message}" if isinstance(error, Damaged) else error.message
            return DumpEnd(error=text, findings=(Finding("error", text, error.hint),))
        return self._vouched(self._contents)

    def _vouched(self, found: Contents) -> DumpEnd:
        return DumpEnd(
            counts=found.counts,
            counts_exact=not found.blind,
            as_of=self._as_of(found),
            findings=tuple(_told(found, self._where)),
            bytes=found.bytes,
        )

    def _as_of(self, found: Contents) -> datetime:
        """Return when the state was taken: the server notes the second; its clock may differ from ours."""
        told = found.aux.get("ctime", "")
        if not told.isdigit():
            return self._payload.began
        second = datetime.fromtimestamp(int(told), UTC)
        # of a whole second the last instant: what was written until then may be in it
        return min(max(second + timedelta(microseconds=999_999), self._payload.began), self._arrived)

    def stop(self) -> None:
        """Give up at once what is still under way."""
        os.eventfd_write(self._stop, 1)
        if self._thread.is_alive():
            self._payload.stop()
        self._thread.join()
        os.close(self._stop)


def _told(found: Contents, where: str) -> Iterator[Finding]:
    if found.blind:
        text = f"{where}: the keys of its snapshot were not counted: {found.blind}"
        yield Finding("warning", text, "its checksum was checked; a newer Resguardo may know the type")
    elif not found.total:
        yield Finding("warning", f"{where}: holds no keys", "check that this is the right server")
    if not found.checked:
        text = f"{where}: its snapshots have no checksum: damage on the way to us cannot be seen"
        yield Finding("warning", text, "set rdbchecksum yes in the server's configuration, and restart it")


@contextmanager
def dump(item: Item, at: Executor, undo: Undo) -> Iterator[Dump]:
    """Start the dump of an item; see orchestrator.model.engine.Engine."""
    target = target_of(item.source, at)
    with ExitStack() as stack:
        if item.role == "globals":
            yield dump_users(stack, target)
            return
        place = Place(target, at, undo, item.source.timeout)
        payload = stack.enter_context(OPENING[target.options.method](place))
        first = _beginning(payload, target.where)
        read_end, write_end = pipe()
        passing = Passing(payload, first, read_end, write_end, target.where)
        stack.callback(passing.stop)
        stack.callback(os.close, read_end)
        yield passing


def _beginning(payload: Payload, where: str) -> bytes:
    """Return the first bytes: what stands in them is what the pump looks for. Raises Damaged."""
    first = b""
    while len(first) < HEADER:
        block = payload.pull()
        if not block:
            raise Damaged(f"{where} gave {len(first)} bytes")
        first += block
    return first
