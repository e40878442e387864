"""Bytes that pass through threads: a stop is heard, and whatever ends a thread is told."""

from __future__ import annotations

import os
import resource
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from orchestrator.adapters.interrupts import Interrupts
from orchestrator.engines.redis.bringing import Blocks
from orchestrator.engines.redis.dump import Passing
from orchestrator.engines.redis.memory import memory_file
from orchestrator.engines.redis.rdb import Contents
from orchestrator.model.errors import Interrupted
from orchestrator.model.execution import Proc
from orchestrator.model.waiting import poll


class Sender:
    """A `Data` that sends nothing until its reader is gone, 5 s at most; then its verdict fails in a strange way."""

    def __init__(self, patience: float) -> None:
        self.fd, self._write = os.pipe()
        self._patience = patience

    def finish(self, consumer: Proc | None = None) -> None:
        os.close(self.fd)
        gone = select.poll()
        gone.register(self._write, 0)
        gone.poll(self._patience * 1000)
        os.close(self._write)
        raise RuntimeError("a verdict that nobody expected")


def test_a_reader_that_is_told_to_stop_waits_for_no_byte() -> None:
    interrupts = Interrupts()
    timer = threading.Timer(0.1, interrupts.trigger, args=(15,))
    timer.start()
    with pytest.raises(Interrupted), Blocks(Sender(5.0), interrupts.wait) as blocks:
        blocks.pull()
    timer.join()


def test_whatever_the_verdict_fails_with_the_bytes_are_not_good() -> None:
    with Blocks(Sender(0.0), poll) as blocks, pytest.raises(RuntimeError, match="nobody expected"):
        blocks.pull()


class Breaking:
    """A payload whose reading fails in a way that nobody expected."""

    began = datetime(2026, 1, 1, tzinfo=UTC)

    def pull(self) -> bytes:
        raise ValueError("the reason")

    def assert_own(self, found: Contents) -> None:
        """It does not come so far."""

    def stop(self) -> None:
        """Nothing waits."""


def test_a_dump_says_what_ended_it() -> None:
    read, write = os.pipe()
    passing = Passing(Breaking(), b"REDIS0011", read, write, "redis at s")
    end = passing.finish()
    passing.stop()
    os.close(read)
    assert end.error == "redis at s: reading its snapshot failed: ValueError: the reason"
    assert [(found.level, found.message) for found in end.findings] == [("error", end.error)]


@contextmanager
def largest(size: int) -> Iterator[None]:
    """Let no file of this process grow over so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_in_memory_is_whole_or_none() -> None:
    fd = memory_file("test", b"x" * 100_000)
    with open(fd, "rb") as file:
        assert file.read() == b"x" * 100_000
    with largest(10), pytest.raises(OSError, match="too large"):
        memory_file("test", b"x" * 20)
