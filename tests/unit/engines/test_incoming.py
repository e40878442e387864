"""Bytes on their way into a client program: whatever ends a thread is said, and no client sees a clean end then."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import cast

import pytest

from orchestrator.engines._incoming import Incoming, read_whole
from orchestrator.engines._mysql.census import Census
from orchestrator.engines._mysql.relay import Relay
from orchestrator.model.engine import Data
from orchestrator.model.errors import ResguardoError, RestoreFailed
from orchestrator.model.execution import Exit, Proc


class Fed:
    """`Data` of these bytes; `wrong` is raised by finish(), which never lets `fd` end then."""

    def __init__(self, content: bytes, wrong: Exception | None = None) -> None:
        self.fd, self._write = os.pipe()
        self._content, self._wrong = content, wrong
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        view = memoryview(self._content)
        try:
            while view:
                view = view[os.write(self._write, view[:65536]) :]
        except BrokenPipeError:
            return

    def finish(self, consumer: Proc | None = None) -> None:
        os.close(self.fd)
        self._thread.join(30)
        if self._wrong is not None:
            raise self._wrong
        os.close(self._write)

    def __enter__(self) -> Data:
        return cast("Data", self)

    def __exit__(self, *_: object) -> None:
        if self._wrong is not None:
            os.close(self._write)


class Client:
    """A client program that reads nothing; ended: whether its input had ended when it was stopped, None until then."""

    pid = 1

    def __init__(self, stdin: int) -> None:
        self.stdin = stdin
        self.ended: bool | None = None
        self.over = threading.Event()

    def stop(self, grace: float = 1.0) -> Exit:
        poller = select.poll()
        poller.register(self.stdin, select.POLLHUP)
        self.ended = bool(poller.poll(0))
        self.over.set()
        return Exit(137, 9)


def test_all_of_it_within_the_limit() -> None:
    with Fed(b"x" * 300_000) as data:
        assert read_whole(data, 300_000, "the words", "none") == b"x" * 300_000


def test_more_than_the_limit_ends_at_once() -> None:
    with Fed(b"x" * 3_000_000) as data, pytest.raises(RestoreFailed, match="the words are larger than 1000000 bytes"):
        read_whole(data, 1_000_000, "the words", "none")


def test_a_verdict_that_fails_is_said() -> None:
    with (
        Fed(b"x", TypeError("odd")) as data,
        pytest.raises(ResguardoError, match="checking the data failed: TypeError: odd"),
    ):
        read_whole(data, 10, "the words", "none")


@pytest.mark.parametrize("late", [False, True], ids=["known before", "known after"])
@pytest.mark.parametrize("wrong", ["verdict", "change"])
def test_the_client_is_stopped_before_its_input_ends(wrong: str, late: bool) -> None:
    """Also a client that had been started, and was not known to us, when it was to be stopped."""

    def change(block: bytes) -> bytes:
        if wrong == "change" and not block:
            raise TypeError("odd")
        return block

    with Fed(b"words", TypeError("odd") if wrong == "verdict" else None) as data, Incoming(data) as incoming:
        client = Client(incoming.pour(b"head ", change=change))
        until = time.monotonic() + 30
        while late and not incoming.consumer.refused and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.05 if late else 0.0)
        incoming.consumer.attach(cast("Proc", client))
        assert client.over.wait(30)
        assert client.ended is False
        assert not incoming.whole()
        with pytest.raises(ResguardoError, match="failed: TypeError: odd"):
            incoming.check()
        os.close(client.stdin)


class Broken(Census):
    """It stumbles over what it sees."""

    def feed(self, block: bytes) -> None:
        raise TypeError(f"odd {len(block)}")


def test_a_relay_says_whatever_ended_it() -> None:
    source, write = os.pipe()
    read, sink = os.pipe()
    relay = Relay(source, sink, b"head", Broken())
    os.write(write, b"words")
    relay.join()
    assert relay.error is not None
    assert relay.error.message == "reading it failed: TypeError: odd 5"
    assert not relay.whole
    assert not relay.ended
    relay.end()
    for fd in (write, read):
        os.close(fd)
