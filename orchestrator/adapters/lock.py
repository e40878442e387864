"""The run lock: one run per policy on this host, and one per host name and repository.

The second keeps two policy files apart that write under one host name into one repository: each would forget what the
other is committing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from orchestrator.adapters.interrupts import PROCESS, Interrupts
from orchestrator.adapters.state import StateFolder
from orchestrator.model.errors import RunLocked

RETRY = 0.1  # seconds between two tries: flock itself knows no deadline


class RunLock:
    """flock on `run.lock` and on `shared` files (`shared_locks`), always in this order.

    The kernel releases them when we die; their descriptors are never inherited by children.
    """

    def __init__(
        self, state: StateFolder, command: str, interrupts: Interrupts = PROCESS, *, shared: Sequence[str] = ()
    ) -> None:
        self._paths = (state.lock, *sorted(shared))
        self._command = command
        self._interrupts = interrupts

    @contextmanager
    def acquire(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the locks for the block; wait up to `wait` seconds for them. Raises RunLocked, Interrupted."""
        until = time.monotonic() + wait
        with ExitStack() as held:
            for path in self._paths:
                held.enter_context(self._hold(path, until))
            yield

    @contextmanager
    def _hold(self, path: str, until: float) -> Iterator[None]:
        fd = self._take_named(path, until)
        try:
            self._sign(fd)
            yield
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def _take_named(self, path: str, until: float) -> int:
        """Return the locked file that bears the name: one that was unlinked meanwhile keeps nobody else out."""
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._take(fd, path, until)
                if _same_file(fd, path):
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _take(self, fd: int, path: str, until: float) -> None:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise _locked(fd, path) from None
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


def _locked(fd: int, path: str) -> RunLocked:
    try:
        holder = json.loads(os.pread(fd, 4096, 0))
        who = f"{holder['command']!r}, process {holder['pid']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "a run that has just begun"
    return RunLocked(f"another run holds the lock {path}: {who}", hint="wait for it to end, or use --wait to queue")


def shared_locks(folder: str, host: str, places: Sequence[str]) -> tuple[str, ...]:
    """Return a lock file for each repository that `host` writes to. places: real paths, or URLs without secrets."""
    named = (hashlib.sha256(f"{host}\0{place}".encode()).hexdigest()[:24] for place in places)
    return tuple(os.path.join(folder, f"{name}.lock") for name in named)


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
