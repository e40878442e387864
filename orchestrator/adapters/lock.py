"""The run lock: one run per policy on this host."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.adapters.state import StateFolder
from orchestrator.model.errors import RunLocked

RETRY = 0.1  # seconds between two tries: flock itself knows no deadline


class RunLock:
    """flock on `run.lock`. The kernel releases it when we die; its descriptor is never inherited by children."""

    def __init__(self, state: StateFolder, command: str, interrupts: Interrupts = PROCESS) -> None:
        self._path = state.lock
        self._command = command
        self._interrupts = interrupts

    @contextmanager
    def acquire(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the lock for the block; wait up to `wait` seconds for it. Raises RunLocked, Interrupted."""
        until = time.monotonic() + wait
        fd = self._take_named(until)
        try:
            self._sign(fd)
            yield
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def _take_named(self, until: float) -> int:
        """Return the locked file that bears the name: one that was unlinked meanwhile keeps nobody else out."""
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._take(fd, until)
                if _same_file(fd, self._path):
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _take(self, fd: int, until: float) -> None:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise self._locked(fd) from None
                self._interrupts.wait((), RETRY)
            else:
                return

    def _sign(self, fd: int) -> None:
        holder = {
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self._command,
        }
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(holder).encode(), 0)

    def _locked(self, fd: int) -> RunLocked:
        try:
            holder = json.loads(os.pread(fd, 4096, 0))
            who = f"{holder['command']!r}, process {holder['pid']}, since {holder['since']}"
        except (ValueError, KeyError, TypeError):
            who = "a run that has just begun"
        return RunLocked(
            f"another run holds the lock {self._path}: {who}", hint="wait for it to end, or use --wait to queue"
        )


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
