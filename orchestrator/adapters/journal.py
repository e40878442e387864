"""A run's journal, `holds/<run>.jsonl`: created by the owner, appended by the sentinel, read by who comes after.

The first line names the owner, the next ones are registered actions, done marks and the sentinel's last word. The
file is locked (flock) by owner and sentinel together through one open file description: a free lock means that both
are dead, whatever PID namespace they lived in.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.adapters.sentinel import append, boot_id, pid_namespace, start_of
from orchestrator.model.errors import DataDamaged, DiskFull
from orchestrator.model.execution import Action, KillExec, KillProcess, PutBack, RemoveInside, RemovePath, Tell

_KINDS: dict[str, Callable[..., Action]] = {
    "process": KillProcess,
    "exec": KillExec,
    "remove": RemovePath,
    "remove_inside": RemoveInside,
    "put_back": PutBack,
    "tell": Tell,
}
SUFFIX = ".jsonl"
_UNFINISHED = ".new"
_SIGNING = 60.0  # seconds after which an empty journal is nobody's


@dataclass(frozen=True)
class Owner:
    """A process, named so that it can be told from every other: PID, start time in clock ticks, boot, PID namespace."""

    pid: int
    start: int
    boot: str
    pid_namespace: int

    @classmethod
    def me(cls) -> Owner:
        """Return this process."""
        start = start_of(os.getpid())
        assert start is not None  # noqa: S101 - we are alive
        return cls(os.getpid(), start, boot_id(), pid_namespace())

    def is_known_dead(self) -> bool:
        """Whether it is certain that this process is gone; one of another PID namespace is not certain."""
        if self.boot != boot_id():
            return True
        return self.pid_namespace == pid_namespace() and start_of(self.pid) != self.start


@dataclass(frozen=True)
class Journal:
    """What a journal says.

    pending: registered and neither done nor undone by the sentinel · removable: see `create`.
    """

    owner: Owner
    pending: Mapping[str, Action]
    undone: bool
    removable: tuple[str, ...] = ()


def create(folder: str, run: str, removable: tuple[str, ...]) -> tuple[int, str]:
    """Create, lock and sign a run's journal; return its descriptor and path. Raises DiskFull.

    It appears under its name only when it is locked and complete, so that nobody ever sees a journal without an owner.
    """
    path = os.path.join(folder, run + SUFFIX)
    fd = -1
    try:
        fd = os.open(path + _UNFINISHED, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        append(fd, {"run": run, "owner": asdict(Owner.me()), "removable": list(removable)})
        os.rename(path + _UNFINISHED, path)
        _sync_folder(folder)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        raise DiskFull(
            f"journal {path} cannot be written: {error.strerror}", hint="free space on the disk of the state folder"
        ) from error
    return fd, path


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def parse(raw: bytes) -> Journal:
    """Read a journal; a torn last line is the mark of a crash and is left out. Raises DataDamaged otherwise."""
    lines = raw.split(b"\n")[:-1]
    pending: dict[str, Action] = {}
    undone = False
    try:
        head = json.loads(lines[0])
        owner, removable = Owner(**head["owner"]), tuple(head["removable"])
        for record in map(json.loads, lines[1:]):
            if "action" in record:
                pending[record["id"]] = to_action(record["action"])
            elif "done" in record:
                pending.pop(record["done"], None)
            else:
                undone = record["undone"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataDamaged(f"the journal cannot be read: {error!r}") from error
    return Journal(owner, pending, undone, removable)


def to_action(record: Mapping[str, Any]) -> Action:
    """Turn a journal's record back into an action. Raises KeyError, TypeError."""
    return _KINDS[record["kind"]](**record)


def remove_unfinished(folder: str) -> None:
    """Remove journals whose owner died before it had signed them: nothing was registered there."""
    for name in os.listdir(folder):
        if not name.endswith(SUFFIX + _UNFINISHED):
            continue
        path = os.path.join(folder, name)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if _is_abandoned(fd):
                os.unlink(path)
        finally:
            os.close(fd)


def _is_abandoned(fd: int) -> bool:
    """Whether nobody holds it; an empty one may be in the moment between its creation and its lock."""
    found = os.fstat(fd)
    return (found.st_size > 0 or time.time() - found.st_mtime > _SIGNING) and lock(fd)


def lock(fd: int) -> bool:
    """Take a journal's lock if owner and sentinel are both gone."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
